// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Structs of the C library as the dataclasses of fsys._types. Under the GIL.

#include "records.hpp"

#include <iterator>

namespace binding {
namespace {

using namespace py::literals;

constexpr const char *kBackends[] = {"default", "io_uring", "threads"};
constexpr const char *kReasons[] = {"none",    "asked",    "enosys", "sysctl", "seccomp",
                                    "memlock", "fd_limit", "old",    "other"};
constexpr const char *kLanes[] = {"none", "inline", "ring", "pool"};
constexpr const char *kOps[] = {"nop", "read", "write", "readv", "writev", "sync", "allocate"};
constexpr const char *kDurability[] = {"default", "none", "data", "full", "device"};
constexpr const char *kSteps[] = {"none",     "directory", "inspect", "create",         "write",
                                  "metadata", "sync",      "rename",  "sync_directory", "sync_device"};
constexpr const char *kMethods[] = {"none", "reflink", "kernel", "bytes"};
constexpr const char *kDevices[] = {"unknown", "partition", "mapper", "md",     "loop",
                                    "nvme",    "scsi",      "virtio", "memory", "other"};
constexpr const char *kVerdicts[] = {"fresh", "clean", "torn", "damaged", "io_error"};
constexpr const char *kRules[] = {"none",      "end",       "unproved",  "group",   "frame",
                                  "watermark", "successor", "structure", "trimmed", "writer"};
constexpr const char *kStates[] = {"?", "record", "pad", "trimmed", "end", "torn", "damaged"};
constexpr const char *kTypes[] = {"other", "file", "directory", "symlink"};
constexpr const char *kFlushReasons[] = {"done",       "no_commit", "no_device", "not_nvme",
                                         "permission", "no_node",   "no_way",    "refused",
                                         "error",      "multipath"};

template <size_t N>
const char *name_of(const char *const (&names)[N], uint32_t value) {
    return value < N ? names[value] : "?";
}

py::object build(const char *type, const py::dict &fields) {
    return python_class("fsys._types", type)(**fields);
}

// File names and model names are bytes to the kernel.
py::str text_of(const char *bytes) {
    PyObject *text = PyUnicode_DecodeFSDefault(bytes);
    if (text == nullptr) {
        throw py::error_already_set();
    }
    return py::reinterpret_steal<py::str>(text);
}

}  // namespace

py::object handle_info(fsys *handle) {
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    checked(fsys_info(handle, &info), py::none());
    return build("HandleInfo",
                 py::dict("backend"_a = name_of(kBackends, info.backend),
                          "backend_reason"_a = name_of(kReasons, info.backend_reason),
                          "backend_errno"_a = info.backend_errno,
                          "driver_running"_a = info.driver_running != 0,
                          "ring_flags"_a = info.ring_flags,
                          "ring_features"_a = info.ring_features,
                          "sq_entries"_a = info.sq_entries, "cq_entries"_a = info.cq_entries,
                          "registered_files"_a = info.registered_files,
                          "registered_buffers"_a = info.registered_buffers != 0,
                          "max_ops"_a = info.max_ops, "max_files"_a = info.max_files,
                          "pool_threads"_a = info.pool_threads, "poisoned"_a = info.poisoned != 0,
                          "memory_bytes"_a = info.memory_bytes,
                          "reason"_a = text_of(info.reason_text)));
}

py::object counters(fsys *handle) {
    fsys_counters all{};
    all.struct_size = sizeof all;
    checked(fsys_stats(handle, &all), py::none());
    py::dict ops;
    py::dict latency;
    for (uint32_t lane = 0; lane < FSYS_STATS_LANES; ++lane) {
        py::dict one;
        for (uint32_t op = 0; op < std::size(kOps); ++op) {
            if (all.ops[lane][op] != 0) {
                one[kOps[op]] = all.ops[lane][op];
            }
        }
        ops[kLanes[lane]] = one;
        if (lane != FSYS_LANE_NONE) {
            py::list buckets;
            for (uint32_t bucket = 0; bucket < FSYS_STATS_BUCKETS; ++bucket) {
                if (const uint64_t count = all.latency[lane - 1][bucket]) {
                    buckets.append(py::make_tuple(fsys_bucket_bound_ns(bucket), count));
                }
            }
            latency[kLanes[lane]] = buckets;
        }
    }
    py::dict fields("ops"_a = ops, "latency_ns"_a = latency);
    const auto add = [&](const char *name, uint64_t value) { fields[name] = value; };
    add("failed", all.failed);
    add("bytes_read", all.bytes_read);
    add("bytes_written", all.bytes_written);
    add("enters", all.enters);
    add("entries", all.entries);
    add("doorbells", all.doorbells);
    add("pool_wakes", all.pool_wakes);
    add("futex_waits", all.futex_waits);
    add("futex_wakes", all.futex_wakes);
    add("event_signals", all.event_signals);
    add("nowait_hits", all.nowait_hits);
    add("nowait_misses", all.nowait_misses);
    add("batch_enters", all.batch_enters);
    add("iowq_punts", all.iowq_punts);
    add("short_ios", all.short_ios);
    add("retries", all.retries);
    add("splits", all.splits);
    add("cancels", all.cancels);
    add("slot_waits", all.slot_waits);
    add("in_flight", all.in_flight);
    return build("Counters", fields);
}

py::object file_info(fsys_file *file, const py::object &name) {
    fsys_file_details info{};
    info.struct_size = sizeof info;
    checked(fsys_file_info(file, &info), name);
    return build("FileInfo",
                 py::dict("size"_a = info.size, "readable"_a = (info.flags & FSYS_FILE_READ) != 0,
                          "writable"_a = (info.flags & FSYS_FILE_WRITE) != 0,
                          "direct"_a = (info.flags & FSYS_FILE_DIRECT) != 0,
                          "direct_mem_align"_a = info.direct_mem_align,
                          "direct_offset_align"_a = info.direct_offset_align,
                          "read_lane"_a = name_of(kLanes, info.read_lane),
                          "write_lane"_a = name_of(kLanes, info.write_lane),
                          "sync_lane"_a = name_of(kLanes, info.sync_lane),
                          "registered"_a = info.registered != 0,
                          "file_system"_a = text_of(info.file_system)));
}

py::object journal_report(const fsys_journal_report &report) {
    return build(
        "JournalReport",
        py::dict("verdict"_a = name_of(kVerdicts, report.verdict),
                 "first_lsn"_a = report.first_lsn, "end_lsn"_a = report.end_lsn,
                 "cut_from"_a = report.cut_from, "cut_to"_a = report.cut_to,
                 "damage_lsn"_a = report.damage_lsn, "proof_lsn"_a = report.proof_lsn,
                 "epoch"_a = report.epoch, "records"_a = report.records,
                 "scanned_bytes"_a = report.scanned_bytes,
                 "kept_name"_a = text_of(report.kept_name), "text"_a = text_of(report.text),
                 "rule"_a = name_of(kRules, report.rule), "writer"_a = report.writer != 0,
                 "proof_durable_lsn"_a = report.proof_durable_lsn,
                 "written_lsn"_a = report.written_lsn));
}

py::object journal_stats(const fsys_journal_stats &stats) {
    py::dict fields("direct"_a = stats.direct != 0, "poisoned"_a = stats.poisoned != 0);
    const auto add = [&](const char *name, uint64_t value) { fields[name] = value; };
    add("first_lsn", stats.first_lsn);
    add("epoch", stats.epoch);
    add("segments", stats.segments);
    add("spares", stats.spares);
    add("bytes_on_disk", stats.bytes_on_disk);
    add("syncs", stats.syncs);
    add("sync_ns", stats.sync_ns);
    add("flushed_bytes", stats.flushed_bytes);
    add("frames", stats.frames);
    add("commits", stats.commits);
    add("led", stats.led);
    add("gathers", stats.gathers);
    add("gather_misses", stats.gather_misses);
    add("rotations", stats.rotations);
    add("recycled", stats.recycled);
    add("space_waits", stats.space_waits);
    add("open_tickets", stats.open_tickets);
    add("oldest_ticket_ns", stats.oldest_ticket_ns);
    add("async_pending", stats.async_pending);
    add("pins_dropped", stats.pins_dropped);
    return build("JournalStats", fields);
}

py::object journal_frontiers(const fsys_journal_frontiers &frontiers) {
    return python_class("fsys._types", "Frontiers")(frontiers.reserved, frontiers.published,
                                                    frontiers.written, frontiers.durable,
                                                    frontiers.unknown_lo, frontiers.unknown_hi);
}

namespace {

py::tuple kept_names(uint32_t bits) {
    py::list names;
    for (const auto &[bit, name] :
         {std::pair{FSYS_KEEP_MODE, "mode"}, std::pair{FSYS_KEEP_OWNER, "owner"},
          std::pair{FSYS_KEEP_XATTRS, "xattrs"}, std::pair{FSYS_KEEP_ACL, "acl"},
          std::pair{FSYS_KEEP_TIMES, "times"}}) {
        if ((bits & bit) != 0) {
            names.append(name);
        }
    }
    return py::tuple(names);
}

}  // namespace

py::object file_report(const fsys_file_report &report) {
    return build("FileReport",
                 py::dict("step"_a = name_of(kSteps, report.step),
                          "visible"_a = report.visible != 0,
                          "durability"_a = name_of(kDurability, report.durability),
                          "not_kept"_a = kept_names(report.not_kept),
                          "method"_a = name_of(kMethods, report.method), "bytes"_a = report.bytes,
                          "other_links"_a = report.other_links));
}

namespace {

// Yes, no, or nobody says.
py::object answer(uint32_t value) {
    if (value == FSYS_ANSWER_UNKNOWN) {
        return py::none();
    }
    return py::bool_(value == FSYS_ANSWER_YES);
}

py::object probe_device(const fsys_probe_device &d) {
    return build(
        "ProbeDevice",
        py::dict("name"_a = text_of(d.name), "label"_a = text_of(d.label),
                 "kind"_a = name_of(kDevices, d.kind), "scheduler"_a = text_of(d.scheduler),
                 "above"_a = d.above, "bytes"_a = d.bytes, "logical_block"_a = d.logical_block,
                 "physical_block"_a = d.physical_block,
                 "volatile_cache"_a = answer(d.volatile_cache), "fua"_a = answer(d.fua),
                 "rotational"_a = answer(d.rotational),
                 "power_loss_protection"_a = answer(d.power_loss_protection),
                 "atomic_unit_max"_a = d.atomic_unit_max,
                 "atomic_power_fail"_a = d.atomic_power_fail,
                 "identified"_a = d.identified != 0, "evidence"_a = text_of(d.evidence)));
}

}  // namespace

py::object probe_report(const fsys_probe_report &r) {
    py::list devices;
    for (uint32_t i = 0; i < r.device_count && i < FSYS_PROBE_DEVICES; ++i) {
        devices.append(probe_device(r.devices[i]));
    }
    return build(
        "ProbeReport",
        py::dict("file_system"_a = text_of(r.file_system), "complete"_a = answer(r.complete),
                 "logical_block"_a = r.logical_block, "physical_block"_a = r.physical_block,
                 "volatile_cache"_a = answer(r.volatile_cache),
                 "flush_reaches"_a = answer(r.flush_reaches), "fua"_a = answer(r.fua),
                 "rotational"_a = answer(r.rotational),
                 "power_loss_protection"_a = answer(r.power_loss_protection),
                 "direct"_a = answer(r.direct), "direct_mem_align"_a = r.direct_mem_align,
                 "direct_offset_align"_a = r.direct_offset_align, "atomic"_a = answer(r.atomic),
                 "atomic_min"_a = r.atomic_min, "atomic_max"_a = r.atomic_max,
                 "passthrough"_a = answer(r.passthrough), "sync_text"_a = text_of(r.sync_text),
                 "datasync_text"_a = text_of(r.datasync_text),
                 "flush_text"_a = text_of(r.flush_text), "power_text"_a = text_of(r.power_text),
                 "devices"_a = devices));
}

py::object journal_segment(const fsys_journal_segment &segment) {
    return build("Segment",
                 py::dict("name"_a = text_of(segment.name), "number"_a = segment.number,
                          "epoch"_a = segment.epoch, "first_lsn"_a = segment.first_lsn,
                          "end_lsn"_a = segment.end_lsn, "file_bytes"_a = segment.file_bytes,
                          "sealed"_a = segment.sealed != 0));
}

py::object journal_pin(const fsys_journal_pinned &pin) {
    return python_class("fsys._types", "Pin")(py::str(pin.name), pin.lsn, pin.max_bytes);
}

py::object journal_finding(const fsys_journal_finding &finding) {
    return build("JournalFinding",
                 py::dict("state"_a = name_of(kStates, finding.state),
                          "rule"_a = name_of(kRules, finding.rule),
                          "writer"_a = finding.writer != 0, "start"_a = finding.start,
                          "end"_a = finding.end, "length"_a = finding.length,
                          "epoch"_a = finding.epoch, "file_offset"_a = finding.file_offset,
                          "proof_lsn"_a = finding.proof_lsn,
                          "proof_durable_lsn"_a = finding.proof_durable_lsn,
                          "segment_name"_a = text_of(finding.segment_name),
                          "text"_a = text_of(finding.text)));
}

py::object batch_result(const fsys_batch_item &item, const py::object &path) {
    const py::object error = item.result < 0 ? make_error(item.result, path) : py::none();
    return build("BatchResult",
                 py::dict("path"_a = path, "error"_a = error,
                          "step"_a = name_of(kSteps, item.step), "visible"_a = item.visible != 0,
                          "not_kept"_a = kept_names(item.not_kept),
                          "other_links"_a = item.other_links));
}

py::object flush_report(const fsys_flush_report &report) {
    const char *const way = report.way == FSYS_FLUSH_IOCTL ? "ioctl"
        : report.way == FSYS_FLUSH_URING                   ? "uring"
        : report.way == FSYS_FLUSH_BLOCK                   ? "block"
                                                           : "none";
    return build("FlushReport",
                 py::dict("way"_a = way, "reason"_a = name_of(kFlushReasons, report.reason),
                          "committed"_a = report.committed != 0, "devices"_a = report.devices,
                          "flushed"_a = report.flushed, "nvme_status"_a = report.nvme_status,
                          "nsid"_a = report.nsid, "paths"_a = report.paths,
                          "partition"_a = report.partition != 0,
                          "device"_a = text_of(report.device), "text"_a = text_of(report.text)));
}

py::object scan_entry(const fsys_scan_entry &entry, bool as_bytes) {
    // Never released: static destructors run after the interpreter has ended.
    static const py::handle type = python_class("fsys._types", "ScanEntry").release();
    const py::object path =
        as_bytes ? py::object(py::bytes(entry.path)) : py::object(text_of(entry.path));
    const py::object error = entry.error < 0 ? make_error(entry.error, path) : py::none();
    return type(path, name_of(kTypes, entry.type), entry.size, entry.inode, entry.modified_ns,
                entry.mode, entry.depth, entry.links, error);
}

}  // namespace binding
