// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Collects what asynchronous syncs report.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "journal/journal.hpp"

namespace journal_test {

struct Sink final : libfsys::journal::CompletionSink {
    std::mutex mutex;
    std::map<std::uint64_t, std::vector<std::int64_t>> results;
    void complete(const libfsys::journal::Completion *group, std::size_t count) override {
        const std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < count; ++i) {
            results[group[i].cookie].push_back(group[i].result);
        }
    }
    std::size_t count() {
        const std::lock_guard lock(mutex);
        return results.size();
    }
};

}  // namespace journal_test
