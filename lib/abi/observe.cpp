// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that tell: facts, counters, causes, versions. Any thread; they start nothing.

#include <cerrno>

#include "abi/guard.hpp"
#include "abi/handles.hpp"

using namespace libfsys;

int fsys_info(fsys *handle, fsys_handle_info *ret_info) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_info == nullptr) {
            return -EINVAL;
        }
        fsys_handle_info info{};
        call.engine().describe(info);
        return write_struct(info, ret_info);
    });
}

int fsys_stats(fsys *handle, fsys_counters *ret_counters) noexcept {
    return guarded([&]() -> int {
        const Call call(handle);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_counters == nullptr) {
            return -EINVAL;
        }
        fsys_counters counters{};
        call.engine().stats.collect(counters);
        counters.in_flight = call.engine().in_flight();
        return write_struct(counters, ret_counters);
    });
}

uint64_t fsys_bucket_bound_ns(uint32_t bucket) noexcept {
    return bucket < FSYS_STATS_BUCKETS ? latency_bound(bucket) : UINT64_MAX;
}

int fsys_cause(const void *object, char *ret_text, size_t size) noexcept {
    return guarded([&]() -> int {
        if ((reinterpret_cast<std::uint64_t>(object) & 15) == kKindJournal) {
            const ObjectCall call(object, kKindJournal);
            if (call.code() != 0) {
                return call.code();
            }
            const std::string text = call->cause();
            if (ret_text != nullptr && size != 0) {
                ret_text[text.copy(ret_text, size - 1)] = '\0';
            }
            return static_cast<int>(text.size());
        }
        const Call call(object);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_text == nullptr) {
            size = 0;
        }
        return call.target() != nullptr ? call.engine().file_cause(*call.target(), ret_text, size)
                                        : call.engine().cause(ret_text, size);
    });
}

uint32_t fsys_version(void) noexcept { return FSYS_VERSION; }

#define FSYS_TEXT_(x) #x
#define FSYS_TEXT(x) FSYS_TEXT_(x)

const char *fsys_version_string(void) noexcept {
    return FSYS_TEXT(FSYS_VERSION_MAJOR) "." FSYS_TEXT(FSYS_VERSION_MINOR) "." FSYS_TEXT(
        FSYS_VERSION_PATCH);
}
