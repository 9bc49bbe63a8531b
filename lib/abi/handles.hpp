// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The process's table of open engines. Public handles are ids: kind, place and generation packed
// into a pointer's bits, looked up here on every call and never dereferenced, so that a handle that
// was closed, or is being closed, is an error and not a crash. The table is static (.bss): its
// entries outlive every engine and cost nothing until touched.
#pragma once

#include <atomic>
#include <cstdint>

#include "abi/objects.hpp"
#include "engine/engine.hpp"
#include "file/arena.hpp"

namespace libfsys {

static_assert(sizeof(void *) == 8, "handles pack 64 bits");

inline constexpr std::uint32_t kMostHandles = 1024;  // place 0 is never used
inline constexpr std::uint64_t kKindEngine = 1;
inline constexpr std::uint64_t kKindFile = 2;
inline constexpr std::uint64_t kKindJournal = 3;
inline constexpr std::uint64_t kKindReader = 4;
inline constexpr std::uint64_t kKindReplacement = 5;
inline constexpr std::uint64_t kKindScan = 6;

struct Instance {
    explicit Instance(const EngineConfig &config)
        : engine(config), arena(engine), objects(engine, config.seed) {}
    Engine engine;
    Arena arena;
    ObjectTable objects;
};

struct HandleEntry {
    // generation << 2 | state
    enum : std::uint64_t { kFree = 0, kOpen = 1, kClosing = 2, kReserved = 3, kStateMask = 3 };
    std::atomic<std::uint64_t> word{kFree};
    std::atomic<Instance *> instance{nullptr};
    // Calls inside the library. A caller adds itself, then looks at the word; the closer changes the
    // word, then waits for the sum to be 0.
    Presence<kShards> callers;
};

extern HandleEntry g_handles[kMostHandles];

// For tests: an engine with the seams of `config` in use, behind a public handle. 0 or a code.
int open_engine_for_test(EngineConfig config, fsys **ret_handle);

// fsys *: | generation 50 | place 10 | kind 4 |
inline fsys *engine_id(std::uint32_t place, std::uint64_t generation) {
    return reinterpret_cast<fsys *>(generation << 14 | std::uint64_t{place} << 4 | kKindEngine);
}
// fsys_file *: | generation 30 | file 20 | place 10 | kind 4 |
inline fsys_file *file_id(std::uint32_t place, std::uint32_t file, std::uint64_t generation) {
    return reinterpret_cast<fsys_file *>(generation << 34 | std::uint64_t{file} << 14 |
                                         std::uint64_t{place} << 4 | kKindFile);
}

// fsys_journal *, fsys_journal_reader *, fsys_replacement *, fsys_scan *:
// | generation 30 | object 20 | place 10 | kind 4 |
inline std::uint64_t object_id(std::uint32_t place, std::uint32_t object, std::uint64_t generation,
                               std::uint64_t kind) {
    return generation << 34 | std::uint64_t{object} << 14 | std::uint64_t{place} << 4 | kind;
}

// One call of the ABI: checks the handle (and file), keeps both from being closed until it is gone.
class Call {
public:
    explicit Call(const fsys *handle) { enter_engine(reinterpret_cast<std::uint64_t>(handle)); }
    explicit Call(const fsys_file *file) { enter_file(reinterpret_cast<std::uint64_t>(file)); }
    // Either kind, by the id itself.
    explicit Call(const void *object) {
        const auto id = reinterpret_cast<std::uint64_t>(object);
        (id & 15) == kKindFile ? enter_file(id) : enter_engine(id);
    }
    // The engine in a place, whichever it is: the id of an object in it is checked next.
    struct Place {
        std::uint32_t place;
    };
    explicit Call(Place where) {
        if (where.place != 0 && enter(where.place, 0, true)) {
            code_ = 0;
        }
    }
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;
    ~Call() {
        if (target_ != nullptr) {
            instance_->engine.release_user(*target_, shard_);
        }
        if (entry_ != nullptr) {
            entry_->callers.add(shard_, -1);
        }
    }

    // 0, or why the call cannot be made.
    int code() const { return code_; }
    Engine &engine() const { return instance_->engine; }
    Arena &arena() const { return instance_->arena; }
    ObjectTable &objects() const { return instance_->objects; }
    Target *target() const { return target_; }
    std::uint64_t target_generation() const { return generation_; }
    HandleEntry &entry() const { return *entry_; }
    unsigned shard() const { return shard_; }

    // Another file of the same engine, for array submits: a user reference or nullptr.
    Target *acquire(const fsys_file *file) const;
    // The op that was accepted keeps the user reference.
    void hand_over_target() { target_ = nullptr; }
    // For close_file(), which waits for all users: this call is not one.
    void drop_target() {
        instance_->engine.release_user(*target_, shard_);
        target_ = nullptr;
    }

private:
    void enter_engine(std::uint64_t id);
    void enter_file(std::uint64_t id);
    bool enter(std::uint32_t place, std::uint64_t generation, bool any_generation);

    HandleEntry *entry_ = nullptr;
    Instance *instance_ = nullptr;
    Target *target_ = nullptr;
    std::uint64_t generation_ = 0;
    unsigned shard_ = 0;
    int code_ = FSYS_E_CLOSED;
};

// A blocking transfer of one piece of a plain file (see Door), by a thread that owns its cell among
// the handle's callers, as nearly all do. The file is pinned there instead of being counted as used,
// so that the call touches its door alone. Where that cannot be, for whatever reason, ok() is false,
// and Call gives the reason or does it.
class Visit {
public:
    [[gnu::always_inline]] Visit(const fsys_file *file, bool read) {
        const auto id = reinterpret_cast<std::uint64_t>(file);
        HandleEntry &entry = g_handles[id >> 4 & (kMostHandles - 1)];  // place 0 is never open
        shard_ = current_shard();
        Presence<kShards>::Cell *cell = entry.callers.own_cell(shard_);
        // Pinned already: a signal handler is here in the middle of a call.
        if ((id & 15) != kKindFile || cell == nullptr ||
            cell->pinned.load(std::memory_order_relaxed) != nullptr) {
            return;
        }
        cell->add_owned(1);
        if ((entry.word.load(std::memory_order_seq_cst) & HandleEntry::kStateMask) ==
            HandleEntry::kOpen) {
            Engine &engine = entry.instance.load(std::memory_order_acquire)->engine;
            index_ = static_cast<std::uint32_t>(id >> 14 & 0xfffff);
            door_ = engine.targets.door(index_);
            if (!engine.forked() && engine.is_plain() && door_ != nullptr) {
                cell->pin(door_);
                seen_ = Door(door_->load(std::memory_order_seq_cst));
                if (seen_.lets(read, id >> 34)) {
                    cell_ = cell;
                    engine_ = &engine;
                    return;
                }
                cell->pin(nullptr);
                engine.pin_left(index_);
            }
        }
        cell->add_owned(-1);
    }
    Visit(const Visit &) = delete;
    Visit &operator=(const Visit &) = delete;
    [[gnu::always_inline]] ~Visit() {
        if (cell_ != nullptr) {
            cell_->pin(nullptr);
            if (door_->load(std::memory_order_seq_cst) != seen_.word()) {
                engine_->pin_left(index_);
            }
            cell_->add_owned(-1);
        }
    }

    bool ok() const { return cell_ != nullptr; }
    int fd() const { return seen_.fd(); }
    Target &target() const { return *engine_->targets.at(index_); }
    Engine &engine() const { return *engine_; }
    unsigned shard() const { return shard_; }

private:
    Presence<kShards>::Cell *cell_ = nullptr;
    Engine *engine_ = nullptr;
    const std::atomic<std::uint64_t> *door_ = nullptr;
    Door seen_{0};
    std::uint32_t index_ = 0;
    unsigned shard_ = 0;
};

// The same for a journal, reader, replacement or scan: keeps it, and its engine, from being closed.
class ObjectCall {
public:
    ObjectCall(const void *object, std::uint64_t kind)
        : ObjectCall(reinterpret_cast<std::uint64_t>(object), kind) {}
    ObjectCall(const ObjectCall &) = delete;
    ObjectCall &operator=(const ObjectCall &) = delete;
    ~ObjectCall() { drop_use(); }

    int code() const { return code_; }
    const Call &engine_call() const { return call_; }
    Engine &engine() const { return call_.engine(); }
    Object &object() const { return *object_; }
    journal::Journal *operator->() const { return object_->journal.get(); }
    std::uint64_t generation() const { return generation_; }
    // For closing, which waits for all users: this call is not one.
    void drop_use() {
        if (object_ != nullptr) {
            object_->users.add(call_.shard(), -1);
            object_ = nullptr;
        }
    }

private:
    ObjectCall(std::uint64_t id, std::uint64_t kind)
        : call_(Call::Place{(id & 15) == kind
                                ? static_cast<std::uint32_t>(id >> 4 & (kMostHandles - 1))
                                : 0}),
          generation_(id >> 34),
          code_(call_.code()) {
        if (code_ == 0) {
            object_ = call_.objects().acquire(static_cast<std::uint32_t>(id >> 14 & 0xfffff),
                                              generation_, kind, call_.shard());
            code_ = object_ != nullptr ? 0 : FSYS_E_CLOSED;
        }
    }

    const Call call_;
    Object *object_ = nullptr;
    std::uint64_t generation_;
    int code_;
};

// An object that only one thread at a time may be inside of.
class Turn {
public:
    explicit Turn(Object &object) : object_(object) {
        // Acquire: what the thread before did to the object is seen.
        mine_ = !object_.busy.exchange(true, std::memory_order_acquire);
    }
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;
    ~Turn() {
        if (mine_) {
            object_.busy.store(false, std::memory_order_release);
        }
    }
    explicit operator bool() const { return mine_; }
    // Nobody gets another turn: the object is closed next.
    void keep() { mine_ = false; }

private:
    Object &object_;
    bool mine_;
};

// In line: every frame less is a mispredicted return less after the system call.
inline bool Call::enter(std::uint32_t place, std::uint64_t generation, bool any_generation) {
    HandleEntry &entry = g_handles[place];
    shard_ = current_shard();
    entry.callers.add(shard_, 1);
    const std::uint64_t word = entry.word.load(std::memory_order_seq_cst);
    if ((word & HandleEntry::kStateMask) != HandleEntry::kOpen ||
        (!any_generation && word >> 2 != generation)) {
        entry.callers.add(shard_, -1);
        return false;
    }
    entry_ = &entry;
    instance_ = entry.instance.load(std::memory_order_acquire);
    if (instance_->engine.forked()) {
        code_ = FSYS_E_FORKED;
        return false;
    }
    return true;
}

inline void Call::enter_engine(std::uint64_t id) {
    const auto place = static_cast<std::uint32_t>(id >> 4 & (kMostHandles - 1));
    if ((id & 15) == kKindEngine && place != 0 && enter(place, id >> 14, false)) {
        code_ = 0;
    }
}

inline void Call::enter_file(std::uint64_t id) {
    const auto place = static_cast<std::uint32_t>(id >> 4 & (kMostHandles - 1));
    if ((id & 15) != kKindFile || place == 0 || !enter(place, 0, true)) {
        return;
    }
    generation_ = id >> 34;
    Target *target = instance_->engine.targets.at(static_cast<std::uint32_t>(id >> 14 & 0xfffff));
    if (target != nullptr && instance_->engine.acquire_user(*target, generation_, shard_)) {
        target_ = target;
        code_ = 0;
    }
}

}  // namespace libfsys
