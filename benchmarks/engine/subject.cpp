// SPDX-License-Identifier: Apache-2.0 OR MIT
// Handles, files and lane counts of libfsys. Engines are opened by the thread that will drive them
// (caller-driven) or by the main thread.
#include "subject.hpp"

#include <fmt/format.h>

namespace bench {

std::int64_t check(std::int64_t code, const char *call) {
    if (code < 0) [[unlikely]]
        throw Failure(fmt::format("{}: {} ({})", call, fsys_error_name(static_cast<int>(code)),
                                  fsys_strerror(static_cast<int>(code))));
    return code;
}

void LaneTally::add(const fsys_counters &counters) {
    for (std::size_t lane = 0; lane < FSYS_STATS_LANES; ++lane) {
        for (std::size_t op = 0; op < FSYS_STATS_OPS; ++op)
            ops_[lane].fetch_add(counters.ops[lane][op]);
    }
    enters_.fetch_add(counters.enters);
    entries_.fetch_add(counters.entries);
    doorbells_.fetch_add(counters.doorbells);
    batches_.fetch_add(counters.batch_enters);
}

std::string LaneTally::text() const {
    static constexpr std::array<const char *, FSYS_STATS_LANES> names{"none", "inline", "ring",
                                                                      "pool"};
    std::uint64_t all = 0;
    for (const auto &ops : ops_)
        all += ops.load();
    std::string text;
    for (std::size_t lane = 0; lane < names.size(); ++lane) {
        const double share =
            all == 0 ? 0
                     : 100.0 * static_cast<double>(ops_[lane].load()) / static_cast<double>(all);
        if (share >= 0.5)
            text += fmt::format("{}{} {:.0f}%", text.empty() ? "" : " ", names[lane], share);
    }
    const auto per = [](std::uint64_t a, std::uint64_t b) {
        return static_cast<double>(a) / static_cast<double>(b);
    };
    if (enters_.load() != 0)
        text += fmt::format(", {:.1f}/enter", per(entries_.load(), enters_.load()));
    if (batches_.load() != 0)
        text += fmt::format(", {:.1f}/own batch", per(all, batches_.load()));
    if (all != 0 && doorbells_.load() != 0)
        text += fmt::format(", bells {:.3f}/op", per(doorbells_.load(), all));
    return text;
}

Engine::Engine(const EngineOptions &wanted, std::shared_ptr<LaneTally> tally)
    : tally_(std::move(tally)) {
    char reason[256] = "";
    fsys_options options{};
    options.struct_size = sizeof options;
    options.driver = wanted.driver;
    options.max_ops = wanted.max_ops;
    options.max_files = wanted.max_files;
    options.arena_bytes = wanted.arena_bytes;
    options.error_text = reason;
    options.error_text_size = sizeof reason;
    const int code = fsys_open(&options, &handle_);
    if (code != 0)
        throw Failure(fmt::format("fsys_open: {} ({})", fsys_error_name(code), reason));
}

Engine::~Engine() {
    if (tally_)
        tally_->add(counters());
    fsys_close(handle_);
}

fsys_counters Engine::counters() const {
    fsys_counters counters{};
    counters.struct_size = sizeof counters;
    fsys_stats(handle_, &counters);
    return counters;
}

fsys_handle_info Engine::info() const {
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    fsys_info(handle_, &info);
    return info;
}

std::string Engine::lanes() const {
    LaneTally tally;
    tally.add(counters());
    return tally.text();
}

SubjectFile::SubjectFile(std::shared_ptr<Engine> engine, const Target &target)
    : engine_(std::move(engine)), target_(target) {
    char reason[256] = "";
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = FSYS_FILE_READ | (target.direction == Direction::write ? FSYS_FILE_WRITE : 0U) |
                    (target.direct ? FSYS_FILE_DIRECT : 0U);
    options.error_text = reason;
    options.error_text_size = sizeof reason;
    const int code = fsys_file_open(engine_->get(), target.path.c_str(), &options, &file_);
    if (code != 0)
        throw Failure(fmt::format("fsys_file_open: {} ({})", fsys_error_name(code), reason));
}

SubjectFile::~SubjectFile() { fsys_file_close(file_); }

}  // namespace bench
