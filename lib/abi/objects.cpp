// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Journals, readers, replacements and scans as objects of an engine: places, closing, and the two
// services of the engine that journals use. Any thread. The table owns the objects.

#include "abi/objects.hpp"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "abi/handles.hpp"

namespace libfsys {
namespace {

std::uint32_t slot_of(const journal::Completion &completion) {
    return Engine::slot_of(completion.cookie);
}

}  // namespace

ObjectTable::ObjectTable(Engine &engine, std::uint64_t seed)
    : engine_(engine), seed_(seed & 0x3fffffff), runner_(engine), sink_(engine) {
    engine.external = this;
}

Object *ObjectTable::allocate() {
    const std::lock_guard lock(mutex_);
    for (std::uint32_t i = 0; i < touched_; ++i) {
        if (!taken_[i]) {
            taken_[i] = true;
            return owned_[i].get();
        }
    }
    if (touched_ == kMost) {
        return nullptr;
    }
    auto object = std::make_unique<Object>();
    object->index = touched_;
    object->word.store(seed_ << 2 | Object::kFree, std::memory_order_relaxed);
    places_[touched_].store(object.get(), std::memory_order_release);
    owned_[touched_] = std::move(object);
    taken_[touched_] = true;
    return owned_[touched_++].get();
}

void ObjectTable::give_back(Object &object) {
    const std::lock_guard lock(mutex_);
    taken_[object.index] = false;
}

std::uint64_t ObjectTable::open(Object &object, std::uint64_t kind) {
    object.kind = kind;
    const std::uint64_t generation =
        ((object.word.load(std::memory_order_relaxed) >> 2) + 1) & 0x3fffffff;
    object.word.store(generation << 2 | Object::kOpen, std::memory_order_seq_cst);
    return generation;
}

int ObjectTable::close(Object &object, std::uint64_t generation) {
    return close(object, generation, now_ns() + engine_.config.close_timeout_ns);
}

int ObjectTable::close(Object &object, std::uint64_t generation, std::int64_t deadline_ns) {
    std::uint64_t word = generation << 2 | Object::kOpen;
    if (!object.word.compare_exchange_strong(word, generation << 2 | Object::kClosing)) {
        return FSYS_E_CLOSED;
    }
    heavy_barrier();
    long pause_ns = 20'000;
    for (;;) {
        // Again in each round: a call that was inside may have reserved, or gone to sleep, since.
        if (object.journal != nullptr) {
            object.journal->abandon_tickets();
        } else if (object.reader != nullptr) {
            object.reader->interrupt();
        }
        if (object.users.sum() == 0) {
            break;
        }
        if (now_ns() >= deadline_ns) {
            return -ETIMEDOUT;  // the place stays taken: a thread is still inside
        }
        const timespec pause{0, pause_ns};
        ::nanosleep(&pause, nullptr);
        pause_ns = std::min(pause_ns * 2, 2'000'000l);
    }
    const int code = object.journal != nullptr       ? object.journal->close()
                     : object.replacement != nullptr ? object.replacement->abort()
                                                     : 0;
    if (object.parent != nullptr) {
        object.parent->readers.fetch_sub(1, std::memory_order_release);
        object.parent = nullptr;
    }
    object.journal.reset();
    object.reader.reset();
    object.replacement.reset();
    object.scan.reset();
    object.busy.store(false, std::memory_order_relaxed);
    object.word.store(generation << 2 | Object::kFree, std::memory_order_seq_cst);
    give_back(object);
    return code;
}

bool ObjectTable::close_all(int &ret_code) {
    const std::int64_t deadline = now_ns() + engine_.config.close_timeout_ns;
    std::uint32_t touched;
    {
        const std::lock_guard lock(mutex_);
        touched = touched_;
    }
    bool clean = true;
    // Readers first, which are only woken; a journal may take its time with the last flush.
    for (const std::uint64_t kind : {kKindReader, kKindScan, kKindReplacement, kKindJournal}) {
        for (std::uint32_t i = 0; i < touched; ++i) {
            Object &object = *owned_[i];
            const std::uint64_t word = object.word.load(std::memory_order_seq_cst);
            if ((word & Object::kStateMask) != Object::kOpen || object.kind != kind) {
                continue;
            }
            const int code = close(object, word >> 2, deadline);
            if (code == -ETIMEDOUT && !object.is_open() && object.users.sum() != 0) {
                clean = false;
            } else if (code < 0 && code != FSYS_E_CLOSED && ret_code == 0) {
                ret_code = code;
            }
        }
    }
    // Another thread may be in the middle of closing one.
    for (std::uint32_t i = 0; i < touched; ++i) {
        while ((owned_[i]->word.load(std::memory_order_seq_cst) & Object::kStateMask) ==
               Object::kClosing) {
            if (now_ns() >= deadline) {
                return false;
            }
            const timespec pause{0, 100'000};
            ::nanosleep(&pause, nullptr);
        }
    }
    return clean;
}

void ObjectTable::close_in_child() {
    // Without the mutex, which a thread of the parent may have held.
    for (auto &place : places_) {
        Object *object = place.load(std::memory_order_acquire);
        if (object == nullptr || !object->is_open()) {
            continue;
        }
        if (object->journal != nullptr) {
            object->journal->close_in_child();
        } else if (object->replacement != nullptr) {
            object->replacement->close_in_child();
        } else if (object->scan != nullptr) {
            object->scan->close_in_child();
        }
    }
}

template <class F>
bool ObjectTable::any_journal(F &&each) {
    bool found = false;
    for (auto &place : places_) {
        Object *object = place.load(std::memory_order_acquire);
        if (object == nullptr || found) {
            break;  // places are filled in order and never emptied
        }
        const unsigned shard = current_shard();
        object->users.add(shard, 1);
        found = object->is_open() && object->kind == kKindJournal && each(*object->journal);
        object->users.add(shard, -1);
    }
    return found;
}

bool ObjectTable::revoke(fsys_op op) {
    return any_journal([op](journal::Journal &journal) { return journal.revoke(op); });
}

int ObjectTable::drive() {
    // Cleared before the look: who is accepted after it sets it again.
    if (!driven_.exchange(false, std::memory_order_seq_cst)) {
        return 0;
    }
    int ended = 0;
    bool left = false;
    any_journal([&](journal::Journal &journal) {
        if (journal.async_pending()) {
            ended += journal.drive();
            left = journal.async_pending() || left;
        }
        return false;
    });
    if (left) {
        driven_.store(true, std::memory_order_seq_cst);
    }
    return ended;
}

void ObjectTable::PoolRunner::run(journal::Task *task) { engine_.pool.push(*task); }

void ObjectTable::OpSink::complete(const journal::Completion *group, std::size_t count) {
    // The slots were last written by the submitter, on another CPU: fetched ahead, the misses of a
    // group overlap.
    constexpr std::size_t kAhead = 8;
    const auto fetch = [&](std::size_t i) {
        const char *slot = reinterpret_cast<const char *>(&engine_.ops[slot_of(group[i])]);
        __builtin_prefetch(slot, 1);
        __builtin_prefetch(slot + kCacheLine, 1);
    };
    for (std::size_t i = 0; i < std::min(count, kAhead); ++i) {
        fetch(i);
    }
    {
        Publisher out(engine_);
        for (std::size_t i = 0; i < count; ++i) {
            if (i + kAhead < count) {
                fetch(i + kAhead);
            }
            engine_.end_external(slot_of(group[i]), group[i].result, FSYS_LANE_POOL, out);
        }
    }
    engine_.tell_driver();
}

}  // namespace libfsys
