// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The init of the virtual machine: asks the library about emulated NVMe disks and has it flush
// them. Prints one line per check and powers off. run.py makes the disks, found here by the serial
// number of their controller and their namespace id, and counts the flushes that reach the device.
// One thread, and one child without privileges.

#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "device/nvme.hpp"
#include "device/system.hpp"
#include "fsys/device.h"

using libfsys::device::Opened;
using libfsys::device::real_system;
using libfsys::device::System;

namespace {

void check(bool ok, const char *what, const std::string &found = "") {
    std::printf("%s %s%s%s\n", ok ? "ok" : "FAILED", what, ok || found.empty() ? "" : ": ",
                ok ? "" : found.c_str());
    std::fflush(stdout);
}

bool kernel_is_at_least(int major, int minor) {
    utsname name{};
    ::uname(&name);
    int a = 0;
    int b = 0;
    std::sscanf(name.release, "%d.%d", &a, &b);
    return a > major || (a == major && b >= minor);
}

void put(const std::string &path, const char *text) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    const bool ok = fd >= 0 && ::write(fd, text, std::strlen(text)) > 0;
    ::close(fd);
    check(ok, ("writing to " + path).c_str(), std::strerror(errno));
}

// The block device of a namespace, "" until it is there.
std::string find_disk(const std::string &serial, const std::string &nsid) {
    std::vector<std::string> names;
    real_system().list("/sys/block", names);
    for (const std::string &name : names) {
        std::string its_serial;
        std::string its_nsid;
        const std::string directory = "/sys/block/" + name;
        real_system().read(directory + "/device/serial", its_serial);
        real_system().read(directory + "/nsid", its_nsid);
        if (its_serial == serial && its_nsid == nsid &&
            ::access(("/dev/" + name).c_str(), F_OK) == 0) {
            return name;
        }
    }
    return "";
}

std::string wait_for_disk(const char *serial, const char *nsid) {
    std::string name;
    for (int i = 0; i < 200 && name.empty(); ++i) {
        name = find_disk(serial, nsid);
        ::usleep(name.empty() ? 50'000 : 0);
    }
    check(!name.empty(), "a disk appears", std::string(serial) + " namespace " + nsid);
    return name;
}

fsys_probe_report probe(const std::string &path) {
    fsys_probe_report report{};
    report.struct_size = sizeof report;
    const int code = fsys_probe(path.c_str(), 0, &report);
    check(code == 0, ("probing " + path).c_str(), fsys_strerror(code));
    return report;
}

fsys_flush_report flush(const std::string &path, std::uint32_t ways, int *ret_code) {
    fsys_flush_report report{};
    report.struct_size = sizeof report;
    *ret_code = fsys_device_flush(path.c_str(), ways, &report);
    return report;
}

std::string describe(int code, const fsys_flush_report &report) {
    return std::string(fsys_error_name(code)) + ", reason " + std::to_string(report.reason) +
           ", status " + std::to_string(report.nvme_status) + ", way " +
           std::to_string(report.way) + ": " + report.text;
}

void on_a_file_system(const std::string &disk) {
    const std::string partition = "/dev/" + disk + "p1";
    check(::mount(partition.c_str(), "/mnt", "ext4", 0, "") == 0, "mounting ext4 on a partition",
          std::strerror(errno));
    const int fd = ::open("/mnt/file", O_RDWR | O_CREAT, 0644);
    check(fd >= 0 && ::write(fd, "bytes", 5) == 5, "writing a file", std::strerror(errno));

    const fsys_probe_report r = probe("/mnt/file");
    check(std::string(r.file_system) == "ext4", "file system", r.file_system);
    check(r.device_count == 2, "two devices underneath", std::to_string(r.device_count));
    check(r.devices[0].kind == FSYS_DEVICE_PARTITION, "a partition first", r.devices[0].name);
    const fsys_probe_device &d = r.devices[1];
    check(d.kind == FSYS_DEVICE_NVME && disk == d.name, "then its NVMe namespace", d.name);
    check(d.nsid == 1 && d.paths == 1, "namespace 1, one controller",
          std::to_string(d.nsid) + ", " + std::to_string(d.paths));
    check(d.identified == 1, "Identify is answered", d.evidence);
    check(d.atomic_power_fail == 512 && d.atomic_normal == 512, "AWUPF 0 is one block of 512 bytes",
          std::to_string(d.atomic_power_fail));
    check(r.complete == FSYS_ANSWER_YES, "the chain is complete");
    check(r.volatile_cache == FSYS_ANSWER_YES, "a volatile cache");
    check(r.flush_reaches == FSYS_ANSWER_YES, "flushes get through");
    check(r.fua == FSYS_ANSWER_YES, "FUA");
    check(r.rotational == FSYS_ANSWER_NO, "does not rotate");
    check(r.power_loss_protection == FSYS_ANSWER_NO, "no power-loss protection: VWC", r.power_text);
    check(r.direct == FSYS_ANSWER_YES && r.direct_offset_align == 512, "O_DIRECT in units of 512",
          std::to_string(r.direct_offset_align));
    check(r.passthrough == FSYS_ANSWER_YES, "passthrough for root", r.flush_text);
    check(std::strstr(r.flush_text, "NVMe Flush") != nullptr, "the flush is described",
          r.flush_text);

    for (const std::uint32_t way : {FSYS_FLUSH_IOCTL, FSYS_FLUSH_URING, FSYS_FLUSH_BLOCK}) {
        int code = 0;
        const fsys_flush_report f = flush("/mnt/file", way, &code);
        check(code == 0 && f.way == way && f.flushed == 1 && f.committed == 1,
              "flush of a file on a partition", describe(code, f));
        check(f.partition == 1 && (f.way == FSYS_FLUSH_BLOCK || f.nsid == 1),
              "the whole namespace is flushed", describe(code, f));
    }
    ::close(fd);
    check(::umount("/mnt") == 0, "unmounting", std::strerror(errno));
}

// With the block layer's flushes turned off, what arrives is what was sent by passthrough.
unsigned counted(const std::string &disk) {
    const std::string path = "/dev/" + disk;
    put("/sys/block/" + disk + "/queue/write_cache", "write through");
    const fsys_probe_report r = probe(path);
    check(r.volatile_cache == FSYS_ANSWER_NO, "write through: the kernel sends no flush");
    check(r.power_loss_protection == FSYS_ANSWER_NO, "but the drive is asked about its cache",
          r.power_text);
    unsigned sent = 0;
    int code = 0;
    for (int i = 0; i < 7; ++i, ++sent) {
        const fsys_flush_report f = flush(path, FSYS_FLUSH_IOCTL, &code);
        check(code == 0 && f.way == FSYS_FLUSH_IOCTL && f.nsid == 2, "flush by ioctl",
              describe(code, f));
    }
    for (int i = 0; i < 5; ++i, ++sent) {
        const fsys_flush_report f = flush(path, FSYS_FLUSH_URING, &code);
        check(code == 0 && f.way == FSYS_FLUSH_URING && f.nsid == 2, "flush by io_uring",
              describe(code, f));
    }
    for (int i = 0; i < 3; ++i) {  // asks the block layer, which sends nothing now
        const fsys_flush_report f = flush(path, FSYS_FLUSH_BLOCK, &code);
        check(code == 0 && f.way == FSYS_FLUSH_BLOCK, "flush by the block layer",
              describe(code, f));
    }
    return sent;
}

void failing(const std::string &disk) {
    const std::string path = "/dev/" + disk;
    const std::string cache = "/sys/block/" + disk + "/queue/write_cache";
    // The emulator flushes below only when something was written since.
    const auto dirty = [&path] {
        void *buffer = nullptr;
        check(::posix_memalign(&buffer, 4096, 4096) == 0, "memory");
        std::memset(buffer, 0x5a, 4096);
        const int fd = ::open(path.c_str(), O_WRONLY | O_DIRECT);
        check(fd >= 0 && ::pwrite(fd, buffer, 4096, 0) == 4096, "writing to the failing disk",
              std::strerror(errno));
        ::close(fd);
        std::free(buffer);
    };
    int code = 0;
    put(cache, "write through");
    for (const std::uint32_t way : {FSYS_FLUSH_IOCTL, FSYS_FLUSH_URING}) {
        dirty();
        const fsys_flush_report f = flush(path, way, &code);
        check(code == -EIO && f.reason == FSYS_FLUSH_REFUSED && f.way == way && f.flushed == 0,
              "a flush that the disk refuses is a failure", describe(code, f));
        check((f.nvme_status & 0x7ff) == 0x280, "its status is kept", describe(code, f));
        check(std::strstr(f.text, "write fault") != nullptr, "and is a sentence", f.text);
    }
    // The last write of a block device's closer may fail too; the commit comes first and says so.
    put(cache, "write back");
    dirty();
    const fsys_flush_report f = flush(path, FSYS_FLUSH_IOCTL, &code);
    check(code < 0 && f.reason == FSYS_FLUSH_NO_COMMIT && f.committed == 0 && f.way == 0,
          "no device flush after a failed commit", describe(code, f));
}

// Atomic writes of the block device itself. AWUPF 0 promises one block; Linux tells since 6.11.
void atomic(const std::string &disk) {
    const std::string path = "/dev/" + disk;
    const bool promised = kernel_is_at_least(6, 11);
    const fsys_probe_report r = probe(path);
    check(r.atomic == (promised ? FSYS_ANSWER_YES : FSYS_ANSWER_UNKNOWN), "the promise of statx",
          std::to_string(r.atomic));
    check(r.atomic_max == (promised ? 512u : 0u), "one block", std::to_string(r.atomic_max));
    fsys *engine = nullptr;
    check(fsys_open(nullptr, &engine) == 0, "an engine");
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.flags = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_DIRECT;
    fsys_file *file = nullptr;
    check(fsys_file_open(engine, path.c_str(), &options, &file) == 0, "the device, O_DIRECT");
    void *buffer = nullptr;
    check(fsys_buffer_alloc(engine, 4096, &buffer) == 0, "memory");
    std::memset(buffer, 0xa5, 4096);
    const std::int64_t expected = promised ? 512 : FSYS_E_NOT_ATOMIC;
    const std::int64_t one = fsys_write(file, buffer, 512, 4096, FSYS_ATOMIC | FSYS_DURABLE);
    check(one == expected, "an atomic write of one block", std::to_string(one));
    fsys_op op = 0;
    const int code = fsys_submit_write(file, buffer, 512, 8192, FSYS_ATOMIC, 0, &op);
    check(code == (promised ? 0 : FSYS_E_NOT_ATOMIC), "submitted", fsys_strerror(code));
    if (code == 0) {
        fsys_result result{};
        const int waited = fsys_wait(engine, op, 10'000'000'000, &result);
        check(waited == 0 && result.result == 512, "an atomic write by io_uring",
              std::to_string(waited) + ", " + std::to_string(result.result) + ", lane " +
                  std::to_string(result.lane));
    }
    const std::int64_t two = fsys_write(file, buffer, 1024, 8192, FSYS_ATOMIC);
    check(two == FSYS_E_NOT_ATOMIC, "two blocks are not promised", std::to_string(two));
    if (promised) {
        std::memset(buffer, 0, 4096);
        const std::int64_t back = fsys_read(file, buffer, 1024, 8192, 0);
        const auto *bytes = static_cast<const unsigned char *>(buffer);
        check(back == 1024 && bytes[511] == 0xa5 && bytes[512] == 0, "what was written is there");
    }
    check(fsys_close(engine) == 0, "closing");
}

// Commands that the library never sends, through its own lower half: how errors come back.
void statuses(const std::string &disk) {
    System &system = real_system();
    const Opened block(system, system.open_node(disk, false));
    nvme_passthru_cmd command{};
    command.opcode = 0x7d;
    command.nsid = 2;
    const int by_ioctl = system.ioctl(block.fd(), NVME_IOCTL_IO_CMD, &command);
    check((by_ioctl & 0x7ff) == 0x001 && by_ioctl > 0, "ioctl: an invalid opcode is a status",
          std::to_string(by_ioctl));
    const Opened generic(system, system.open_node("ng" + disk.substr(4), true));
    nvme_uring_cmd ring{};
    ring.opcode = 0x7d;
    ring.nsid = 2;
    const int by_ring = system.uring_command(generic.fd(), ring);
    check((by_ring & 0x7ff) == 0x001 && by_ring > 0, "io_uring: the same", std::to_string(by_ring));
    check(
        libfsys::device::status_text(static_cast<std::uint32_t>(by_ring)).find("invalid opcode") !=
            std::string::npos,
        "as a sentence", libfsys::device::status_text(static_cast<std::uint32_t>(by_ring)));
    ring.opcode = 0;
    check(system.uring_command(block.fd(), ring) < 0, "the block device takes no URING_CMD");
}

void multipath(const std::string &disk) {
    const std::string path = "/dev/" + disk;
    const fsys_probe_report r = probe(path);
    check(r.devices[0].paths == 2 && r.devices[0].nsid == 9, "two controllers lead to namespace 9",
          std::to_string(r.devices[0].paths));
    check(r.devices[0].identified == 1, "Identify through the head", r.devices[0].evidence);
    int code = 0;
    for (const std::uint32_t way : {FSYS_FLUSH_IOCTL, FSYS_FLUSH_URING}) {
        const fsys_flush_report f = flush(path, way, &code);
        check(code == FSYS_E_UNKNOWN && f.reason == FSYS_FLUSH_MULTIPATH && f.paths == 2 &&
                  f.flushed == 1,
              "one of two volatile caches flushed is not a success", describe(code, f));
    }
}

int unprivileged(const std::string &disk, unsigned *sent) {
    const std::string path = "/dev/" + disk;
    const std::string generic = "/dev/ng" + disk.substr(4);
    const bool effects = kernel_is_at_least(6, 2);
    ::chmod(path.c_str(), 0600);
    ::chmod(generic.c_str(), 0600);
    int to_parent[2];
    int to_child[2];
    if (::pipe(to_parent) != 0 || ::pipe(to_child) != 0) {
        return 1;
    }
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) {
            ::_exit(1);
        }
        const fsys_probe_report closed = probe(path);
        check(closed.volatile_cache != FSYS_ANSWER_UNKNOWN, "sysfs is open to all");
        check(closed.power_loss_protection == FSYS_ANSWER_NO, "a remembered answer needs no node");
        check(closed.passthrough == FSYS_ANSWER_NO, "no passthrough without the node",
              closed.flush_text);
        char go = 0;
        check(::write(to_parent[1], "1", 1) == 1 && ::read(to_child[0], &go, 1) == 1, "handshake");
        const fsys_probe_report open = probe(path);
        check(open.passthrough == FSYS_ANSWER_UNKNOWN, "with a readable node the kernel decides",
              open.flush_text);
        unsigned done = 0;
        for (const std::uint32_t way : {FSYS_FLUSH_IOCTL, FSYS_FLUSH_URING}) {
            int code = 0;
            const fsys_flush_report f = flush(path, way, &code);
            // This controller's log says that Flush changes contents, which takes a node that is
            // open for writing; the library opens no block device so.
            if (effects && way == FSYS_FLUSH_URING) {
                check(code == 0 && f.flushed == 1, "Linux 6.2: allowed through the generic device",
                      describe(code, f));
                done += 1;
            } else {
                check(code == -EACCES && f.reason == FSYS_FLUSH_PERMISSION && f.committed == 1,
                      "permission denied", describe(code, f));
            }
        }
        ::_exit(static_cast<int>(100 + done));
    }
    char ready = 0;
    check(::read(to_parent[0], &ready, 1) == 1, "handshake");
    ::chmod(path.c_str(), 0644);
    ::chmod(generic.c_str(), 0666);
    check(::write(to_child[1], "1", 1) == 1, "handshake");
    int status = 0;
    ::waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) >= 100, "the unprivileged child ended well");
    *sent += static_cast<unsigned>(WEXITSTATUS(status) - 100);
    return 0;
}

// Nobody, and a node that may not even be opened.
void locked_out(const std::string &disk) {
    const std::string path = "/dev/" + disk;
    const pid_t child = ::fork();
    if (child == 0) {
        ::chmod(path.c_str(), 0600);
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) {
            ::_exit(1);
        }
        int code = 0;
        const fsys_flush_report f = flush(path, 0, &code);
        check(code == -EACCES && f.committed == 0, "a device that may not be opened",
              describe(code, f));
        const fsys_flush_report below = flush("/mnt/file", 0, &code);
        check(code == -EACCES && below.reason == FSYS_FLUSH_PERMISSION && below.committed == 1,
              "a file whose device may not be opened: committed, permission denied",
              describe(code, below));
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the locked-out child ended well");
}

}  // namespace

int main() {
    ::mount("proc", "/proc", "proc", 0, "");
    ::mount("sys", "/sys", "sysfs", 0, "");
    ::mount("dev", "/dev", "devtmpfs", 0, "");
    utsname name{};
    ::uname(&name);
    std::printf("guest kernel %s\n", name.release);

    const std::string files = wait_for_disk("single", "1");
    const std::string idle = wait_for_disk("single", "2");
    const std::string fails = wait_for_disk("single", "3");
    const std::string twin = wait_for_disk("pair", "9");

    on_a_file_system(files);
    unsigned sent = counted(idle);
    unprivileged(idle, &sent);
    statuses(idle);
    atomic(idle);
    failing(fails);
    multipath(twin);
    check(::mount(("/dev/" + files + "p1").c_str(), "/mnt", "ext4", 0, "") == 0, "mounting again");
    ::chmod("/mnt", 0755);
    locked_out(files);
    ::umount("/mnt");

    std::printf("sent %u flushes to namespace 2\n", sent);
    std::printf("GUEST DONE\n");
    std::fflush(stdout);
    ::sync();
    ::reboot(RB_POWER_OFF);
    return 0;
}
