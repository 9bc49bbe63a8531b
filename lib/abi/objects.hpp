// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The journals, readers, replacements and scans of one engine, looked up by id like its files: a place
// with a generation, users counted, so that double close, a close that races with a call, and ids of
// anything else are errors and not crashes. Entries stay while the engine lives.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/engine.hpp"
#include "engine/presence.hpp"
#include "file/replace.hpp"
#include "file/scan.hpp"
#include "journal/journal.hpp"
#include "journal/reader.hpp"

namespace libfsys {

struct Object {
    // generation << 2 | state
    enum : std::uint64_t { kFree = 0, kOpen = 1, kClosing = 2, kStateMask = 3 };
    std::atomic<std::uint64_t> word{kFree};
    Presence<4> users;
    std::uint64_t kind = 0;
    std::uint32_t index = 0;
    std::unique_ptr<journal::Journal> journal;
    std::unique_ptr<journal::Reader> reader;
    std::unique_ptr<files::Replacement> replacement;
    std::unique_ptr<files::Scan> scan;
    std::atomic<bool> busy{false};      // a thread is inside the reader, replacement or scan
    Object *parent = nullptr;           // journal that the reader was made from
    std::atomic<unsigned> readers{0};   // made from the journal and open

    bool is_open() const {
        return (word.load(std::memory_order_seq_cst) & kStateMask) == kOpen;
    }
};

class ObjectTable final : ExternalWork {
public:
    ObjectTable(Engine &engine, std::uint64_t seed);

    // A place that is not yet open, or nullptr when all are taken. Throws std::bad_alloc.
    Object *allocate();
    void give_back(Object &object);
    // FREE -> OPEN. Returns the generation.
    std::uint64_t open(Object &object, std::uint64_t kind);
    // Adds a user if this generation is open and of this kind. The add comes first: see
    // presence.hpp.
    Object *acquire(std::uint32_t index, std::uint64_t generation, std::uint64_t kind,
                    unsigned shard) {
        Object *object =
            index < kMost ? places_[index].load(std::memory_order_acquire) : nullptr;
        if (object == nullptr) {
            return nullptr;
        }
        object->users.add(shard, 1);
        if (object->word.load(std::memory_order_seq_cst) ==
                (generation << 2 | Object::kOpen) &&
            object->kind == kind) {
            return object;
        }
        object->users.add(shard, -1);
        return nullptr;
    }

    // Closes one, which the caller must not use itself.
    int close(Object &object, std::uint64_t generation);
    // For an engine that admits no call any more. False when a call is stuck inside one of them.
    bool close_all(int &ret_code);
    void close_in_child();

    // What journals need of the engine.
    journal::Runner *runner() { return &runner_; }
    journal::CompletionSink *sink() { return &sink_; }
    // A caller-driven handle: an asynchronous sync was accepted, which its driver thread will lead.
    void await_driver() { driven_.store(true, std::memory_order_seq_cst); }

private:
    static constexpr std::uint32_t kMost = 1024;

    // Each run is a task of the pool.
    class PoolRunner final : public journal::Runner {
    public:
        explicit PoolRunner(Engine &engine) : engine_(engine) {}
        void run(journal::Task *task) override;

    private:
        Engine &engine_;
    };
    // Ends the ops whose tokens are `cookie`.
    class OpSink final : public journal::CompletionSink {
    public:
        explicit OpSink(Engine &engine) : engine_(engine) {}
        void complete(const journal::Completion *group, std::size_t count) override;

    private:
        Engine &engine_;
    };

    int close(Object &object, std::uint64_t generation, std::int64_t deadline_ns);
    int drive() override;
    bool waiting() const override { return driven_.load(std::memory_order_relaxed); }
    bool revoke(fsys_op op) override;
    // Runs `each(journal)` on those that are open, as a user of theirs, until it returns true.
    template <class F>
    bool any_journal(F &&each);

    Engine &engine_;
    const std::uint64_t seed_;
    PoolRunner runner_;
    OpSink sink_;
    std::atomic<bool> driven_{false};  // perhaps a journal has syncs that nobody leads
    std::mutex mutex_;  // allocate and give_back
    std::uint32_t touched_ = 0;
    std::array<std::unique_ptr<Object>, kMost> owned_;
    std::array<std::atomic<Object *>, kMost> places_{};
    std::array<bool, kMost> taken_{};
};

}  // namespace libfsys
