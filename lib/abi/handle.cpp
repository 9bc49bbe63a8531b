// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opening, looking up and closing engines. Any thread. The static table owns the instances.

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "abi/guard.hpp"
#include "abi/handles.hpp"

namespace libfsys {

constinit HandleEntry g_handles[kMostHandles];

namespace {


// A place whose state is now RESERVED, or 0.
std::uint32_t reserve_place() {
    for (std::uint32_t place = 1; place < kMostHandles; ++place) {
        std::uint64_t word = g_handles[place].word.load(std::memory_order_relaxed);
        if ((word & HandleEntry::kStateMask) == HandleEntry::kFree &&
            g_handles[place].word.compare_exchange_strong(word, word | HandleEntry::kReserved)) {
            return place;
        }
    }
    return 0;
}

void set_state(HandleEntry &entry, std::uint64_t state, std::uint64_t next = 0) {
    const std::uint64_t generation = (entry.word.load() >> 2) + next;
    entry.word.store(generation << 2 | state, std::memory_order_seq_cst);
}

template <class T>
bool in_range(T value, T low, T high) {
    return value == 0 || (value >= low && value <= high);
}

template <class T>
T or_default(T value, T standard) {
    return value == 0 ? standard : value;
}

// Options to a config with every default applied. `detail` says what is wrong.
int configure(const fsys_options &o, EngineConfig &config, Detail &detail) {
    if (o.flags != 0) {
        return detail.say(FSYS_E_BAD_FLAG, "fsys_options.flags must be 0, is 0x%x", o.flags);
    }
    if (o.backend > FSYS_BACKEND_THREADS) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown backend %u", o.backend);
    }
    if (o.driver > FSYS_DRIVER_CALLER) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown driver %u", o.driver);
    }
    if (!in_range(o.max_ops, 1u, 32768u)) {
        return detail.say(-EINVAL, "max_ops is %u, allowed are 1 to 32768", o.max_ops);
    }
    if (!in_range(o.max_files, 1u, 1u << 20)) {
        return detail.say(-EINVAL, "max_files is %u, allowed are 1 to 1048576", o.max_files);
    }
    if (!in_range(o.pool_threads, 1u, 64u)) {
        return detail.say(-EINVAL, "pool_threads is %u, allowed are 1 to 64", o.pool_threads);
    }
    if (o.registered_files != UINT32_MAX && o.registered_files > 1u << 20) {
        return detail.say(-EINVAL, "registered_files is %u, allowed are 1 to 1048576 or UINT32_MAX",
                          o.registered_files);
    }
    if (o.close_timeout_ns > static_cast<std::uint64_t>(INT64_MAX) ||
        o.submit_timeout_ns > static_cast<std::uint64_t>(INT64_MAX)) {
        return detail.say(-EINVAL, "a timeout is above INT64_MAX ns");
    }
    if (o.arena_bytes > std::uint64_t{1} << 40) {
        return detail.say(-EINVAL, "arena_bytes is above 1 TiB");
    }
    std::uint32_t backend = o.backend;
    if (backend == FSYS_BACKEND_DEFAULT) {
        const char *env = ::secure_getenv("FSYS_BACKEND");
        if (env != nullptr && std::strcmp(env, "threads") == 0) {
            backend = FSYS_BACKEND_THREADS;
        } else if (env != nullptr && std::strcmp(env, "io_uring") == 0) {
            backend = FSYS_BACKEND_IO_URING;
        }
    }
    config.uring_required = backend == FSYS_BACKEND_IO_URING;
    if (backend == FSYS_BACKEND_THREADS) {
        config.uring = false;
        config.verdict.reason = FSYS_REASON_ASKED;
        std::strcpy(config.verdict.text, "the thread backend was asked for");
    } else {
        config.verdict = probe_uring();
        config.uring = config.verdict.reason == FSYS_REASON_NONE;
        if (!config.uring && config.uring_required) {
            return detail.say(FSYS_E_URING_SETUP, "%s", config.verdict.text);
        }
    }
    config.caller_driven = o.driver == FSYS_DRIVER_CALLER;
    config.max_ops = or_default(o.max_ops, config.max_ops);
    config.max_files = or_default(o.max_files, config.max_files);
    config.pool_threads = or_default(o.pool_threads, config.uring ? 4u : 8u);
    config.file_places =
        o.registered_files == UINT32_MAX ? 0 : or_default(o.registered_files, config.file_places);
    const auto ns = [](std::uint64_t value, std::int64_t standard) {
        return value == 0 ? standard : static_cast<std::int64_t>(value);
    };
    config.close_timeout_ns = ns(o.close_timeout_ns, config.close_timeout_ns);
    config.submit_timeout_ns = ns(o.submit_timeout_ns, config.submit_timeout_ns);
    config.arena_bytes = or_default(o.arena_bytes, config.arena_bytes);
    return 0;
}

int open_engine(EngineConfig &config, const char *root, Detail &detail, fsys **ret_handle) {
    prepare_asymmetric_barrier();
    const std::uint32_t place = reserve_place();
    if (place == 0) {
        return detail.say(-EMFILE, "%u handles are open in this process", kMostHandles - 1);
    }
    HandleEntry &entry = g_handles[place];
    const std::uint64_t generation = (entry.word.load() >> 2) + 1;
    config.handle_index = place;
    config.callers = &entry.callers;
    // Spread, so that ids of an earlier handle in this place do not match: 2^21 files or ops apart.
    config.seed = 1 + ((generation * 0x9e3779b97f4a7c15u) >> 40);
    try {
        auto instance = std::make_unique<Instance>(config);
        if (root != nullptr) {
            const int fd = instance->engine.sys.open(AT_FDCWD, root, O_PATH | O_DIRECTORY, 0);
            if (fd < 0) {
                set_state(entry, HandleEntry::kFree);
                return detail.say(fd, "opening the root directory '%s': %s", root,
                                  std::strerror(-fd));
            }
            instance->engine.root_fd = fd;
        }
        entry.instance.store(instance.release(), std::memory_order_seq_cst);
    } catch (...) {
        set_state(entry, HandleEntry::kFree);
        throw;
    }
    set_state(entry, HandleEntry::kOpen, 1);
    *ret_handle = engine_id(place, generation);
    return 0;
}

}  // namespace

int open_engine_for_test(EngineConfig config, fsys **ret_handle) {
    Detail detail(nullptr, 0);
    return open_engine(config, nullptr, detail, ret_handle);
}

Target *Call::acquire(const fsys_file *file) const {
    const auto id = reinterpret_cast<std::uint64_t>(file);
    if ((id & 15) != kKindFile || &g_handles[id >> 4 & (kMostHandles - 1)] != entry_) {
        return nullptr;
    }
    Target *target = instance_->engine.targets.at(static_cast<std::uint32_t>(id >> 14 & 0xfffff));
    return target != nullptr && instance_->engine.acquire_user(*target, id >> 34, shard_) ? target
                                                                                          : nullptr;
}

namespace {

int close_engine(fsys *handle) {
    HandleEntry *entry = nullptr;
    Instance *instance = nullptr;
    {
        const Call call(handle);
        if (call.code() == FSYS_E_FORKED) {
            // The parent's memory stays (its pages are shared); the descriptors are this process's.
            HandleEntry &here = call.entry();
            std::uint64_t word = here.word.load();
            if (here.word.compare_exchange_strong(word, (word & ~std::uint64_t{3}) |
                                                            HandleEntry::kReserved)) {
                call.objects().close_in_child();
                call.engine().close_in_child();
            }
            return FSYS_E_FORKED;
        }
        if (call.code() != 0) {
            return call.code();
        }
        if (call.engine().config.caller_driven && !call.engine().is_driver_thread()) {
            return FSYS_E_WRONG_THREAD;
        }
        entry = &call.entry();
        std::uint64_t word = entry->word.load();
        const std::uint64_t open = (word & ~std::uint64_t{3}) | HandleEntry::kOpen;
        word = open;
        if (!entry->word.compare_exchange_strong(word, (open & ~std::uint64_t{3}) |
                                                           HandleEntry::kClosing)) {
            return FSYS_E_CLOSED;
        }
        instance = entry->instance.load();
    }
    heavy_barrier();
    // First: their last flushes and asynchronous syncs use the pool and the op slots.
    int journals = 0;
    const bool closed = instance->objects.close_all(journals);
    const bool clean =
        instance->engine.shut_down([entry] { return entry->callers.sum() == 0; }) && closed;
    if (!clean) {
        // The place stays taken: a thread may still be inside. Memory that the kernel may write to
        // is kept.
        return -ETIMEDOUT;
    }
    delete instance;
    entry->instance.store(nullptr);
    set_state(*entry, HandleEntry::kFree);
    return journals;
}

}  // namespace
}  // namespace libfsys

using namespace libfsys;

int fsys_open(const fsys_options *options, fsys **ret_handle) noexcept {
    return guarded([&]() -> int {
        fsys_options o{};
        const int code = read_struct(options, o);
        if (code != 0) {
            return code;
        }
        Detail detail(o.error_text, o.error_text_size);
        if (ret_handle == nullptr) {
            return detail.say(-EINVAL, "there is no place for the handle");
        }
        EngineConfig config;
        const int configured = configure(o, config, detail);
        if (configured != 0) {
            return configured;
        }
        try {
            return open_engine(config, o.root, detail, ret_handle);
        } catch (const std::bad_alloc &) {
            return detail.say(-ENOMEM, "no memory for the handle's tables");
        }
    });
}

int fsys_close(fsys *handle) noexcept {
    return guarded([&] { return close_engine(handle); });
}
