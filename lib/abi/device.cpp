// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points of fsys/device.h. Any thread; they own nothing beyond the call.

#include "fsys/device.h"

#include <sys/stat.h>

#include <cerrno>
#include <memory>

#include "abi/guard.hpp"
#include "abi/handles.hpp"
#include "device/flush.hpp"
#include "device/probe.hpp"

using namespace libfsys;

namespace {

int probe_into(int fd, fsys_probe_report *ret_report) {
    // Too large for the stack of a small thread.
    const auto report = std::make_unique<fsys_probe_report>();
    const int code = device::probe(device::real_system(), fd, *report);
    return code != 0 ? code : write_struct(*report, ret_report);
}

int check_probe(std::uint32_t flags, const fsys_probe_report *report) {
    if (flags != 0) {
        return FSYS_E_BAD_FLAG;
    }
    return report == nullptr ? -EINVAL : check_size(report);
}

int report_flush(const device::FlushOutcome &outcome, bool committed,
                 fsys_flush_report *ret_report) {
    if (ret_report != nullptr) {
        fsys_flush_report report{};
        report.way = outcome.way;
        report.reason = outcome.reason;
        report.committed = committed ? 1 : 0;
        report.devices = outcome.devices;
        report.flushed = outcome.flushed;
        report.nvme_status = outcome.nvme_status;
        report.nsid = outcome.nsid;
        report.paths = outcome.paths;
        report.partition = outcome.partition ? 1 : 0;
        copy_text(outcome.device, report.device);
        copy_text(outcome.text, report.text);
        write_struct(report, ret_report);
    }
    return outcome.code;
}

int not_committed(int code, const char *step, fsys_flush_report *ret_report) {
    device::FlushOutcome outcome;
    outcome.code = code;
    outcome.reason = FSYS_FLUSH_NO_COMMIT;
    outcome.text = std::string(step) + ": " + fsys_strerror(code) + "; no device was flushed";
    return report_flush(outcome, false, ret_report);
}

// The file system's own commit has returned `commit`.
int flush_after(int commit, int fd, std::uint32_t ways, fsys_flush_report *ret_report) {
    return commit != 0 ? not_committed(commit, "the file system's commit failed", ret_report)
                       : report_flush(device::flush_disks(fd, ways), true, ret_report);
}

int check_flush(std::uint32_t ways, const fsys_flush_report *report) {
    constexpr std::uint32_t kWays = FSYS_FLUSH_IOCTL | FSYS_FLUSH_URING | FSYS_FLUSH_BLOCK;
    return (ways & ~kWays) != 0 ? FSYS_E_BAD_FLAG : check_size(report);
}

}  // namespace

int fsys_probe(const char *path, uint32_t flags, fsys_probe_report *ret_report) noexcept {
    return guarded([&]() -> int {
        const int code = check_probe(flags, ret_report);
        if (code != 0) {
            return code;
        }
        if (path == nullptr) {
            return -EINVAL;
        }
        device::System &system = device::real_system();
        const device::Opened file(system, system.open_name(path));
        return file.fd() < 0 ? file.fd() : probe_into(file.fd(), ret_report);
    });
}

int fsys_probe_fd(int fd, uint32_t flags, fsys_probe_report *ret_report) noexcept {
    return guarded([&]() -> int {
        const int code = check_probe(flags, ret_report);
        return code != 0 ? code : probe_into(fd, ret_report);
    });
}

int fsys_probe_file(fsys_file *file, uint32_t flags, fsys_probe_report *ret_report) noexcept {
    return guarded([&]() -> int {
        const Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        const int code = check_probe(flags, ret_report);
        return code != 0 ? code : probe_into(call.target()->fd, ret_report);
    });
}

int fsys_device_flush(const char *path, uint32_t ways, fsys_flush_report *ret_report) noexcept {
    return guarded([&]() -> int {
        const int code = check_flush(ways, ret_report);
        if (code != 0) {
            return code;
        }
        if (path == nullptr) {
            return -EINVAL;
        }
        // Named first: opening a tape or a terminal is not harmless.
        device::System &system = device::real_system();
        const device::Opened name(system, system.open_name(path));
        device::FileFacts facts;
        const int found = name.fd() < 0 ? name.fd() : system.inspect(name.fd(), facts);
        if (found != 0) {
            return not_committed(found, "finding the file", ret_report);
        }
        if (!S_ISREG(facts.mode) && !S_ISDIR(facts.mode) && !S_ISBLK(facts.mode)) {
            return not_committed(-EINVAL, "neither file, directory nor block device", ret_report);
        }
        const device::Opened file(system, system.reopen(name.fd()));
        return file.fd() < 0 ? not_committed(file.fd(), "opening the file", ret_report)
                             : flush_after(system.fsync(file.fd()), file.fd(), ways, ret_report);
    });
}

int fsys_device_flush_fd(int fd, uint32_t ways, fsys_flush_report *ret_report) noexcept {
    return guarded([&]() -> int {
        const int code = check_flush(ways, ret_report);
        return code != 0 ? code
                         : flush_after(device::real_system().fsync(fd), fd, ways, ret_report);
    });
}

int fsys_device_flush_file(fsys_file *file, uint32_t ways, fsys_flush_report *ret_report) noexcept {
    return guarded([&]() -> int {
        const int code = check_flush(ways, ret_report);
        if (code != 0) {
            return code;
        }
        const int commit = fsys_sync(file, 0);
        const Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        return flush_after(commit, call.target()->fd, ways, ret_report);
    });
}
