// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Announcing sealed segments, for whoever ships files. A request is for one segment: the oldest
// sealed one above a number; who wants them all asks again with the number that came. So nothing is
// kept for a slow shipper, and none is missed by it.
//
// Requests come from any thread; segments are sealed with the baton held. watch_mutex_ is a leaf but
// for segments_mutex_, which is taken inside it: a segment that is sealed between a request's look
// at the list and its being queued would otherwise wait for the next.

#include <algorithm>
#include <cerrno>

#include "journal/journal.hpp"

namespace libfsys::journal {

// The oldest sealed segment above `after`; 0 when there is none yet, kStale when there never was a
// sealed segment `after`, or it was withdrawn.
std::int64_t Journal::sealed_above(std::uint64_t after) {
    const std::lock_guard lock(segments_mutex_);
    if (live_segments_.empty() || after >= live_segments_.back().number) {
        return kStale;
    }
    // Numbers rise by one, so the place is known; sealed ones come first.
    const std::uint64_t first = live_segments_.front().number;
    const Live &live = live_segments_[after < first ? 0 : after + 1 - first];
    return live.sealed ? static_cast<std::int64_t>(live.number) : 0;
}

int Journal::submit_sealed(std::uint64_t after, std::uint64_t cookie, CompletionSink *sink) {
    if (sink == nullptr) {
        return -EINVAL;
    }
    std::int64_t result;
    {
        const std::lock_guard lock(watch_mutex_);
        if (const int code = blocked_code(); code < 0) {
            return code;
        }
        result = sealed_above(after);
        if (result == 0) {
            watches_.push_back({after, cookie, sink});
            return 0;
        }
    }
    if (result < 0) {
        return static_cast<int>(result);
    }
    const Completion done{cookie, result};
    sink->complete(&done, 1);
    return 0;
}

// After a segment was sealed. `kept`: the last one that a truncation left as it was; who was told
// of a later one is told that it is void.
void Journal::announce_sealed(std::uint64_t kept) {
    end_watches([&](const Watch &watch) -> std::int64_t {
        return watch.after > kept ? kStale : sealed_above(watch.after);
    });
}

// Ends those for which `result` is not 0.
template <class F>
void Journal::end_watches(F &&result) {
    const std::lock_guard lock(watch_mutex_);
    const auto kept = std::remove_if(watches_.begin(), watches_.end(), [&](const Watch &watch) {
        const Completion done{watch.cookie, result(watch)};
        if (done.result != 0) {
            watch.sink->complete(&done, 1);
        }
        return done.result != 0;
    });
    watches_.erase(kept, watches_.end());
}

void Journal::end_all_watches(int code) {
    end_watches([&](const Watch &) -> std::int64_t { return code; });
}

bool Journal::withdraw_watch(std::uint64_t cookie) {
    const std::lock_guard lock(watch_mutex_);
    return std::erase_if(watches_,
                         [cookie](const Watch &watch) { return watch.cookie == cookie; }) != 0;
}

}  // namespace libfsys::journal
