// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What lies underneath a path, for `fsys probe`: the report of fsys_probe() as a page and as JSON.
// No state.
#include "probe.hpp"

#include "terminal.hpp"
#include "units.hpp"

#include <algorithm>

namespace cli {

namespace {

const char *answer(std::uint32_t value)
{
    return value == FSYS_ANSWER_YES ? "yes" : value == FSYS_ANSWER_NO ? "no" : "unknown";
}

const char *kind_name(std::uint32_t kind)
{
    switch (kind) {
    case FSYS_DEVICE_PARTITION: return "partition";
    case FSYS_DEVICE_MAPPER: return "device-mapper";
    case FSYS_DEVICE_MD: return "md";
    case FSYS_DEVICE_LOOP: return "loop";
    case FSYS_DEVICE_NVME: return "nvme";
    case FSYS_DEVICE_SCSI: return "scsi";
    case FSYS_DEVICE_VIRTIO: return "virtio";
    case FSYS_DEVICE_MEMORY: return "memory";
    case FSYS_DEVICE_OTHER: return "other";
    default: return "unknown";
    }
}

std::string bytes_or_unknown(std::uint64_t bytes)
{
    return bytes != 0 ? human_bytes(bytes) : "unknown";
}

std::string atomic_text(const fsys_probe_report &report)
{
    if (report.atomic != FSYS_ANSWER_YES) {
        return report.atomic == FSYS_ANSWER_NO ? "not possible on this file"
                                               : "unknown: kernel or file system do not tell";
    }
    return fmt::format("{} to {}{}", human_bytes(report.atomic_min), human_bytes(report.atomic_max),
                       report.atomic_max_fast != 0
                           ? fmt::format(", up to {} by the device alone",
                                         human_bytes(report.atomic_max_fast))
                           : "");
}

std::uint32_t listed(const fsys_probe_report &report)
{
    return std::min(report.device_count, FSYS_PROBE_DEVICES);
}

int depth_of(const fsys_probe_report &report, std::int32_t index)
{
    int depth = 0;
    while (depth < 32 && (index = report.devices[index].above) >= 0) {
        ++depth;
    }
    return depth;
}

nlohmann::json device_json(const fsys_probe_device &d)
{
    return {{"name", d.name},
            {"kind", kind_name(d.kind)},
            {"label", d.label},
            {"number", fmt::format("{}:{}", d.major_number, d.minor_number)},
            {"above", d.above},
            {"bytes", d.bytes},
            {"diskseq", d.diskseq},
            {"scheduler", d.scheduler},
            {"logical_block", d.logical_block},
            {"physical_block", d.physical_block},
            {"volatile_cache", answer(d.volatile_cache)},
            {"fua", answer(d.fua)},
            {"rotational", answer(d.rotational)},
            {"power_loss_protection", answer(d.power_loss_protection)},
            {"evidence", d.evidence},
            {"atomic_unit_max", d.atomic_unit_max},
            {"atomic_power_fail", d.atomic_power_fail},
            {"atomic_normal", d.atomic_normal},
            {"atomic_boundary", d.atomic_boundary},
            {"atomic_boundary_offset", d.atomic_boundary_offset},
            {"nsid", d.nsid},
            {"paths", d.paths},
            {"identified", d.identified != 0}};
}

std::string device_lines(const fsys_probe_report &report, std::uint32_t at)
{
    const fsys_probe_device &d = report.devices[at];
    const std::string indent(2 + 2 * static_cast<std::size_t>(
                                         depth_of(report, static_cast<std::int32_t>(at))), ' ');
    std::string out = fmt::format("{:<20}{}{}, {}{}\n", indent + d.name, kind_name(d.kind),
                                  d.label[0] != '\0' ? fmt::format(" \"{}\"", printable(d.label)) : "",
                                  bytes_or_unknown(d.bytes),
                                  d.nsid != 0 ? fmt::format(", namespace {}, {}", d.nsid,
                                                            plural(d.paths, "path", "paths"))
                                              : "");
    const auto detail = [&out](const std::string &text) {
        out += fmt::format("{:<22}{}\n", "", text);
    };
    detail(fmt::format("blocks {} logical, {} physical; volatile cache {}, FUA {}, rotational {}{}",
                       bytes_or_unknown(d.logical_block), bytes_or_unknown(d.physical_block),
                       answer(d.volatile_cache), answer(d.fua), answer(d.rotational),
                       d.scheduler[0] != '\0' ? fmt::format(", scheduler {}", d.scheduler) : ""));
    if (d.kind == FSYS_DEVICE_NVME) {
        detail(d.evidence);
        if (d.identified != 0) {
            detail(fmt::format("atomic over a power cut {}, otherwise {}{}",
                               human_bytes(d.atomic_power_fail), human_bytes(d.atomic_normal),
                               d.atomic_boundary != 0 ? fmt::format(", not across multiples of {}",
                                                                    human_bytes(d.atomic_boundary))
                                                      : ""));
        }
    }
    return out;
}

}  // namespace

fsys_probe_report probe_storage(const std::string &path)
{
    fsys_probe_report report{};
    report.struct_size = sizeof report;
    if (const int code = fsys_probe(path.c_str(), 0, &report); code != 0) {
        throw Failure("cannot probe", path, code);
    }
    return report;
}

std::string storage_text(const fsys_probe_report &report, const std::string &path, bool colours)
{
    std::string out = "\n" + bold(fmt::format("Storage of '{}'", printable(path)), colours) + "\n";
    const auto line = [&out](const char *label, const std::string &text) {
        out += fmt::format("  {:<20}{}\n", label, text);
    };
    line("file system", report.file_system[0] != '\0' ? report.file_system : "none: a block device");
    line("power-loss protect.", answer(report.power_loss_protection) +
                                    fmt::format(" ({})", report.power_text));
    line("volatile cache", answer(report.volatile_cache));
    line("flushes reach it", answer(report.flush_reaches));
    line("FUA", answer(report.fua));
    line("rotational", answer(report.rotational));
    line("O_DIRECT", report.direct == FSYS_ANSWER_YES
                         ? fmt::format("memory {}, offset and length {}",
                                       human_bytes(report.direct_mem_align),
                                       human_bytes(report.direct_offset_align))
                         : std::string(report.direct == FSYS_ANSWER_NO ? "not possible on this file"
                                                                       : "unknown"));
    line("atomic writes", atomic_text(report));
    line("NVMe passthrough", answer(report.passthrough));
    line("sync", report.sync_text);
    line("sync of data", report.datasync_text);
    line("device flush", report.flush_text);
    line("devices", report.device_count == 0
                        ? "none known"
                        : report.complete == FSYS_ANSWER_YES ? "" : "not all could be found");
    for (std::uint32_t at = 0; at < listed(report); ++at) {
        out += device_lines(report, at);
    }
    if (report.device_count > listed(report)) {
        line("", fmt::format("and {} more", report.device_count - listed(report)));
    }
    return out;
}

nlohmann::json storage_json(const fsys_probe_report &report, const std::string &path)
{
    nlohmann::json devices = nlohmann::json::array();
    for (std::uint32_t at = 0; at < listed(report); ++at) {
        devices.push_back(device_json(report.devices[at]));
    }
    return {{"path", path},
            {"file_system", report.file_system},
            {"boot_id", report.boot_id},
            {"number", fmt::format("{}:{}", report.major_number, report.minor_number)},
            {"device_count", report.device_count},
            {"complete", answer(report.complete)},
            {"logical_block", report.logical_block},
            {"physical_block", report.physical_block},
            {"volatile_cache", answer(report.volatile_cache)},
            {"flush_reaches", answer(report.flush_reaches)},
            {"fua", answer(report.fua)},
            {"rotational", answer(report.rotational)},
            {"power_loss_protection", answer(report.power_loss_protection)},
            {"direct", answer(report.direct)},
            {"direct_mem_align", report.direct_mem_align},
            {"direct_offset_align", report.direct_offset_align},
            {"atomic", answer(report.atomic)},
            {"atomic_min", report.atomic_min},
            {"atomic_max", report.atomic_max},
            {"atomic_max_fast", report.atomic_max_fast},
            {"atomic_segments", report.atomic_segments},
            {"passthrough", answer(report.passthrough)},
            {"sync_text", report.sync_text},
            {"datasync_text", report.datasync_text},
            {"flush_text", report.flush_text},
            {"power_text", report.power_text},
            {"devices", devices}};
}

}  // namespace cli
