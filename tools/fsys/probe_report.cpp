// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The facts of `fsys probe` as a page to read and as JSON. No state.
#include "probe.hpp"

#include "ring_names.hpp"
#include "terminal.hpp"
#include "units.hpp"

#include <unistd.h>

#include <string_view>

namespace cli {

namespace {

const char *lane_meaning(std::uint32_t lane)
{
    switch (lane) {
    case FSYS_LANE_INLINE: return "a plain syscall on the calling thread";
    case FSYS_LANE_RING: return "io_uring";
    case FSYS_LANE_POOL: return "a plain syscall on a pool thread";
    default: return "not executed";
    }
}

const char *reason_name(std::uint32_t reason)
{
    switch (reason) {
    case FSYS_REASON_NONE: return "none";
    case FSYS_REASON_ASKED: return "asked";
    case FSYS_REASON_ENOSYS: return "enosys";
    case FSYS_REASON_SYSCTL: return "sysctl";
    case FSYS_REASON_SECCOMP: return "seccomp";
    case FSYS_REASON_MEMLOCK: return "memlock";
    case FSYS_REASON_FD_LIMIT: return "fd_limit";
    case FSYS_REASON_OLD: return "old";
    default: return "other";
    }
}

template <std::size_t N>
nlohmann::json names(const std::array<RingBit, N> &bits, std::uint32_t word)
{
    nlohmann::json out = nlohmann::json::array();
    for (const RingBit &bit : granted(bits, word)) {
        out.push_back(bit.name);
    }
    return out;
}

nlohmann::json file_json(const fsys_file_details &details)
{
    return {{"read_lane", lane_name(details.read_lane)},
            {"write_lane", lane_name(details.write_lane)},
            {"sync_lane", lane_name(details.sync_lane)},
            {"registered", details.registered != 0}};
}

// Words, wrapped at `width` and indented.
std::string wrapped(const std::vector<std::string> &words, std::size_t indent, std::size_t width)
{
    std::string out;
    std::size_t column = indent;
    for (const std::string &word : words) {
        if (column + word.size() + 1 > width && column > indent) {
            out += "\n" + std::string(indent, ' ');
            column = indent;
        }
        if (column > indent) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
    }
    return out;
}

class Page {
public:
    void title(const std::string &text) { out_ += "\n" + bold(text, on_) + "\n"; }
    void line(std::string_view label, const std::string &text)
    {
        out_ += fmt::format("  {:<20}{}\n", label, text);
    }
    void raw(const std::string &text) { out_ += text; }
    bool coloured() const { return on_; }
    std::string take() { return out_.substr(out_.starts_with('\n') ? 1 : 0); }

private:
    bool on_ = colours(STDOUT_FILENO);
    std::string out_;
};

void ring_section(Page &page, const fsys_handle_info &info)
{
    page.title("Ring");
    page.line("submission queue", fmt::format("{} entries", human_count(info.sq_entries)));
    page.line("completion queue", fmt::format("{} entries", human_count(info.cq_entries)));
    page.line("registered files", info.registered_files != 0
                                      ? fmt::format("{} places", human_count(info.registered_files))
                                      : std::string("none"));
    page.line("registered buffers",
              info.registered_buffers != 0 ? "the buffer arena" : "none");
    const std::vector<RingBit> flags = granted(kSetupBits, info.ring_flags);
    for (std::size_t at = 0; at < flags.size(); ++at) {
        page.line(at == 0 ? "flags granted" : "",
                  fmt::format("{:<16}{}", flags[at].name, dim(flags[at].meaning, page.coloured())));
    }
    if (const std::uint32_t rest = unnamed(kSetupBits, info.ring_flags); rest != 0) {
        page.line("", fmt::format("{:#x} newer than this program", rest));
    }
    std::vector<std::string> words;
    for (const RingBit &bit : granted(kFeatureBits, info.ring_features)) {
        words.emplace_back(bit.name);
    }
    if (const std::uint32_t rest = unnamed(kFeatureBits, info.ring_features); rest != 0) {
        words.push_back(fmt::format("{:#x}", rest));
    }
    page.line("features", wrapped(words, 22, 96));
}

void trial_section(Page &page, const ProbeFacts &facts)
{
    page.title("Who executes what (4 KiB, measured just now)");
    page.raw(dim(fmt::format("  {:<10}{:<19}{:<14}{:<9}{:>10}\n", "file", "operation", "asked for",
                             "lane", "best"),
                 page.coloured()));
    const Trial *previous = nullptr;
    for (const Trial &trial : facts.trials) {
        const bool same_file = previous != nullptr && previous->direct == trial.direct;
        page.raw(fmt::format("  {:<10}{:<19}{:<14}{:<9}{:>10}{}\n",
                             same_file ? "" : trial.direct ? "O_DIRECT" : "buffered",
                             trial.operation, trial.asked, lane_name(trial.lane),
                             human_ns(static_cast<double>(trial.nanoseconds)),
                             trial.asked.starts_with("batch") ? " per op" : ""));
        previous = &trial;
    }
    page.raw("\n");
    for (const std::uint32_t lane : {FSYS_LANE_INLINE, FSYS_LANE_RING, FSYS_LANE_POOL}) {
        page.line(lane_name(lane), lane_meaning(lane));
    }
    page.line("left alone", "submitted, completion taken from the queue");
    page.line("waited for", "submitted with FSYS_WAIT_SOON, then fsys_wait()");
}

}  // namespace

std::string probe_text(const ProbeFacts &facts)
{
    Page page;
    const fsys_handle_info &info = facts.running;
    const bool uring = info.backend == FSYS_BACKEND_IO_URING;

    page.title("System");
    page.line("kernel", fmt::format("{} ({}, {})", facts.kernel, facts.machine,
                                    plural(static_cast<std::uint64_t>(facts.processors),
                                           "processor", "processors")));
    page.line("library", fmt::format("libfsys {}", fsys_version_string()));

    page.title("Engine");
    page.line("backend", uring ? green("io_uring", page.coloured())
                               : yellow("threads", page.coloured()));
    const std::string reason = info.reason_text;
    page.line("why", !reason.empty() ? reason : uring ? "io_uring works here" : "?");
    page.line("op slots", human_count(info.max_ops));
    page.line("files", fmt::format("{} at most", human_count(info.max_files)));
    page.line("pool threads", fmt::format("{} at most", info.pool_threads));
    page.line("memory", fmt::format("{} at most, buffers apart", human_bytes(info.memory_bytes)));
    page.line("idle",
              fmt::format("{}, {}", plural(facts.idle_threads, "thread", "threads"),
                          facts.idle.driver_running != 0 ? "ring running" : "no ring"));
    page.line("after use",
              fmt::format("{}, {}", plural(facts.running_threads, "thread", "threads"),
                          info.driver_running != 0 ? "ring running" : "no ring"));

    if (info.driver_running != 0 && uring) {
        ring_section(page, info);
    }

    page.title(fmt::format("Files in '{}'", printable(facts.directory)));
    page.line("file system", facts.buffered.file_system);
    const auto lanes = [](const fsys_file_details &details) {
        return fmt::format("read {}, write {}, sync {}{}", lane_name(details.read_lane),
                           lane_name(details.write_lane), lane_name(details.sync_lane),
                           details.registered != 0 ? "; in the ring's file table" : "");
    };
    page.line("buffered", lanes(facts.buffered));
    if (facts.direct_code == 0) {
        page.line("O_DIRECT", lanes(facts.direct));
        page.line("alignment", fmt::format("memory {}, offset and length {}",
                                           human_bytes(facts.direct.direct_mem_align),
                                           human_bytes(facts.direct.direct_offset_align)));
    } else {
        page.line("O_DIRECT", fmt::format("none: {}", code_text(facts.direct_code)));
    }

    page.raw(storage_text(facts.storage, facts.path, page.coloured()));

    trial_section(page, facts);

    page.title("Counters of this run");
    page.raw(counters_text(facts.counters));
    return page.take();
}

nlohmann::json probe_json(const ProbeFacts &facts)
{
    const fsys_handle_info &info = facts.running;
    nlohmann::json trials = nlohmann::json::array();
    for (const Trial &trial : facts.trials) {
        trials.push_back({{"operation", trial.operation},
                          {"asked", trial.asked},
                          {"direct", trial.direct},
                          {"lane", lane_name(trial.lane)},
                          {"best_ns", trial.nanoseconds}});
    }
    nlohmann::json direct{{"available", facts.direct_code == 0}};
    if (facts.direct_code == 0) {
        direct.update(file_json(facts.direct));
        direct["memory_alignment"] = facts.direct.direct_mem_align;
        direct["offset_alignment"] = facts.direct.direct_offset_align;
    } else {
        direct["code"] = facts.direct_code;
        direct["name"] = fsys_error_name(facts.direct_code);
    }
    return {
        {"command", "probe"},
        {"ok", true},
        {"kernel", facts.kernel},
        {"machine", facts.machine},
        {"processors", facts.processors},
        {"library", fsys_version_string()},
        {"engine",
         {{"backend", backend_name(info.backend)},
          {"reason", reason_name(info.backend_reason)},
          {"reason_text", info.reason_text},
          {"errno", info.backend_errno},
          {"max_ops", info.max_ops},
          {"max_files", info.max_files},
          {"pool_threads", info.pool_threads},
          {"memory_bytes", info.memory_bytes},
          {"idle_threads", facts.idle_threads},
          {"idle_ring", facts.idle.driver_running != 0},
          {"running_threads", facts.running_threads}}},
        {"ring",
         {{"running", info.driver_running != 0},
          {"flags", info.ring_flags},
          {"flag_names", names(kSetupBits, info.ring_flags)},
          {"features", info.ring_features},
          {"feature_names", names(kFeatureBits, info.ring_features)},
          {"sq_entries", info.sq_entries},
          {"cq_entries", info.cq_entries},
          {"registered_files", info.registered_files},
          {"registered_buffers", info.registered_buffers != 0}}},
        {"directory", facts.directory},
        {"file_system", facts.buffered.file_system},
        {"storage", storage_json(facts.storage, facts.path)},
        {"buffered", file_json(facts.buffered)},
        {"direct", direct},
        {"trials", trials},
        {"stats", counters_json(facts.counters)},
    };
}

}  // namespace cli
