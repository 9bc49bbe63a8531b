// SPDX-License-Identifier: Apache-2.0 OR MIT
// Reads /proc/self and getrusage. Holds no state.
#include "process.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace bench {

std::uint64_t context_switches() noexcept {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_nvcsw) + static_cast<std::uint64_t>(usage.ru_nivcsw);
}

namespace {

std::uint64_t clock_ns(clockid_t clock) noexcept {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t now_ns() noexcept { return clock_ns(CLOCK_MONOTONIC); }

std::uint64_t cpu_ns() noexcept { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

std::uint64_t thread_cpu_ns() noexcept { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

namespace {

template <typename Visit>
void each_entry(const char *path, Visit visit) {
    DIR *directory = opendir(path);
    if (directory == nullptr)
        return;
    while (const dirent *entry = readdir(directory)) {
        if (entry->d_name[0] != '.')
            visit(entry->d_name);
    }
    closedir(directory);
}

}  // namespace

Footprint footprint() {
    Footprint seen;
    each_entry("/proc/self/task", [&](const char *) { ++seen.threads; });
    each_entry("/proc/self/fd", [&](const char *name) {
        char link[64];
        char target[128];
        std::snprintf(link, sizeof link, "/proc/self/fd/%.20s", name);
        const ssize_t length = readlink(link, target, sizeof target - 1);
        if (length < 0)
            return;
        target[length] = '\0';
        ++seen.descriptors;
        if (std::strstr(target, "io_uring") != nullptr)
            ++seen.rings;
    });
    if (std::FILE *rollup = std::fopen("/proc/self/smaps_rollup", "re")) {
        char line[256];
        while (std::fgets(line, sizeof line, rollup) != nullptr) {
            unsigned long long kib = 0;
            if (std::sscanf(line, "Rss: %llu", &kib) == 1)
                seen.resident_bytes = kib * 1024;
            else if (std::sscanf(line, "Shared_Dirty: %llu", &kib) == 1 ||
                     std::sscanf(line, "Private_Dirty: %llu", &kib) == 1)
                seen.dirty_bytes += kib * 1024;
        }
        std::fclose(rollup);
    }
    return seen;
}

}  // namespace bench
