// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From a file to its disks over recorded trees, and what the answers of several devices sum up to.

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <string>

#include "device/fake_system.hpp"
#include "support/catch.hpp"

using namespace libfsys;
using namespace libfsys::test;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr std::uint32_t kUnknown = FSYS_ANSWER_UNKNOWN;
constexpr std::uint32_t kNo = FSYS_ANSWER_NO;
constexpr std::uint32_t kYes = FSYS_ANSWER_YES;

std::string chain_text(const fsys_probe_report &report) {
    std::string out;
    for (std::uint32_t i = 0; i < report.device_count; ++i) {
        out += (i == 0 ? "" : " ") + std::string(report.devices[i].name);
    }
    return out;
}

}  // namespace

TEST_CASE("a partition of a virtio disk", "[chain]") {
    FakeSystem system{"virtio"};
    system.file("/data", "ext4", makedev(254, 1));
    const fsys_probe_report report = probe_file(system, "/data");
    CHECK(chain_text(report) == "vda1 vda");
    CHECK(std::string(report.file_system) == "ext4");
    CHECK(report.complete == kYes);
    CHECK(report.major_number == 254);
    CHECK(report.minor_number == 1);
    CHECK(report.logical_block == 512);
    CHECK(report.physical_block == 4096);
    CHECK(report.volatile_cache == kYes);
    CHECK(report.flush_reaches == kYes);
    CHECK(report.fua == kNo);
    CHECK(report.rotational == kYes);
    CHECK(report.power_loss_protection == kUnknown);
    CHECK(report.passthrough == kNo);
    CHECK(report.direct == kUnknown);
    CHECK(report.atomic == kUnknown);
    CHECK(device_of(report, "vda1").kind == FSYS_DEVICE_PARTITION);
    CHECK(device_of(report, "vda1").above == -1);
    CHECK(device_of(report, "vda1").bytes == 536868864ull * 512);
    const fsys_probe_device &disk = device_of(report, "vda");
    CHECK(disk.kind == FSYS_DEVICE_VIRTIO);
    CHECK(disk.above == 0);
    CHECK(std::string(disk.scheduler) == "mq-deadline");
    CHECK(disk.diskseq == 9);
    CHECK_THAT(report.sync_text, ContainsSubstring("flush the volatile cache of vda"));
    CHECK_THAT(report.power_text, ContainsSubstring("up to its host"));
}

TEST_CASE("LVM on dm-crypt on a mirror of two NVMe partitions", "[chain]") {
    FakeSystem system{"mapper"};
    system.nodes["nvme0n1"] = nvme_node(makedev(259, 0), false);
    system.nodes["nvme1n1"] = nvme_node(makedev(259, 2), true);
    system.file("/data", "ext4", makedev(253, 1));
    fsys_probe_report report = probe_file(system, "/data");
    CHECK(chain_text(report) == "dm-1 dm-0 md127 nvme0n1p1 nvme0n1 nvme1n1p1 nvme1n1");
    CHECK(report.complete == kYes);
    CHECK(std::string(device_of(report, "dm-1").label) == "vg-data (LVM)");
    CHECK(std::string(device_of(report, "dm-0").label) == "crypt (CRYPT)");
    CHECK(device_of(report, "md127").kind == FSYS_DEVICE_MD);
    CHECK(std::string(device_of(report, "md127").label) == "raid1");
    // The file system sees the block size of the top device, not the disks'.
    CHECK(report.logical_block == 4096);
    // One half has no volatile cache, the other has: the file has.
    CHECK(device_of(report, "nvme0n1").power_loss_protection == kYes);
    CHECK(device_of(report, "nvme1n1").power_loss_protection == kNo);
    CHECK(report.volatile_cache == kYes);
    CHECK(report.power_loss_protection == kNo);
    CHECK(report.flush_reaches == kYes);
    CHECK(report.fua == kYes);
    CHECK(report.passthrough == kYes);

    SECTION("a layer that drops flushes is found out") {
        system.set("/sys/devices/virtual/block/dm-0/queue/write_cache", "write through");
        report = probe_file(system, "/data");
        CHECK(report.volatile_cache == kYes);
        CHECK(report.flush_reaches == kNo);
        CHECK_THAT(report.sync_text, ContainsSubstring("does NOT reach"));
    }
    SECTION("both halves safe") {
        system.nodes["nvme1n1"] = nvme_node(makedev(259, 2), false);
        system.set("/sys/devices/pci0000:00/0000:00:04.0/nvme/nvme1/nvme1n1/diskseq", "13");
        system.set("/sys/devices/pci0000:00/0000:00:04.0/nvme/nvme1/nvme1n1/queue/write_cache",
                   "write through");
        report = probe_file(system, "/data");
        CHECK(report.power_loss_protection == kYes);
        CHECK(report.volatile_cache == kNo);
        CHECK(report.flush_reaches == kYes);
        CHECK_THAT(report.sync_text, ContainsSubstring("sends no flush"));
    }
    SECTION("a disk that cannot be asked makes the sum unknown, not good") {
        system.nodes.erase("nvme1n1");
        system.set("/sys/devices/pci0000:00/0000:00:04.0/nvme/nvme1/nvme1n1/diskseq", "14");
        report = probe_file(system, "/data");
        CHECK(report.power_loss_protection == kUnknown);
        CHECK(report.passthrough == kNo);
        CHECK(device_of(report, "nvme1n1").identified == 0);
        CHECK_THAT(report.power_text, ContainsSubstring("no node"));
    }
    SECTION("a missing half of the chain is no") {
        system.remove("/sys/devices/virtual/block/md127/slaves/nvme1n1p1");
        system.set("/sys/devices/virtual/block/md127/slaves/nvme1n1p1/other", "");
        report = probe_file(system, "/data");
        CHECK(report.complete == kNo);
        CHECK(report.power_loss_protection == kUnknown);
        CHECK(report.volatile_cache == kUnknown);
    }
}

TEST_CASE("a loop device leads to the disk of its file", "[chain]") {
    FakeSystem system{"virtio", "loop"};
    system.file("/mnt/x", "ext4", makedev(7, 0));
    system.file("/srv/image", "ext4", makedev(254, 1), 77);
    FakeNode loop;
    loop.number = makedev(7, 0);
    loop.loop.lo_device = makedev(254, 1);
    loop.loop.lo_inode = 77;
    system.nodes["loop0"] = loop;
    fsys_probe_report report = probe_file(system, "/mnt/x");
    CHECK(chain_text(report) == "loop0 vda1 vda");
    CHECK(std::string(device_of(report, "loop0").label) == "/srv/image");
    CHECK(device_of(report, "vda").above == 1);
    CHECK(report.complete == kYes);
    CHECK(report.flush_reaches == kYes);

    SECTION("a path that leads to another file here is not believed") {
        system.nodes["loop0"].loop.lo_inode = 78;
        report = probe_file(system, "/mnt/x");
        CHECK(chain_text(report) == "loop0");
        CHECK(report.complete == kNo);
        CHECK(report.volatile_cache == kUnknown);
    }
    SECTION("nor is one that cannot be checked") {
        system.nodes["loop0"].open_code = -EACCES;
        CHECK(probe_file(system, "/mnt/x").complete == kNo);
    }
    SECTION("a file in memory below") {
        system.file("/srv/image", "tmpfs", makedev(0, 40), 77);
        system.nodes["loop0"].loop.lo_device = makedev(0, 40);
        report = probe_file(system, "/mnt/x");
        CHECK(report.power_loss_protection == kNo);
    }
}

TEST_CASE("btrfs over two devices", "[chain]") {
    FakeSystem system{"nvme", "btrfs"};
    system.nodes["nvme0n1"] = nvme_node(makedev(259, 0), false);
    system.file("/data", "btrfs", makedev(0, 55));
    fsys_probe_report report = probe_file(system, "/data");
    CHECK(chain_text(report) == "nvme0n1p1 nvme0n1 sda");
    CHECK(report.complete == kYes);
    CHECK(report.rotational == kYes);
    CHECK(report.fua == kNo);
    CHECK(device_of(report, "sda").kind == FSYS_DEVICE_SCSI);
    CHECK(device_of(report, "sda").above == -1);
    CHECK(report.power_loss_protection == kUnknown);

    SECTION("a missing device is told") {
        system.btrfs_devices = 3;
        CHECK(probe_file(system, "/data").complete == kNo);
    }
    SECTION("a kernel that does not answer leaves it open") {
        system.btrfs_answer = -EPERM;
        report = probe_file(system, "/data");
        CHECK(report.complete == kNo);
        CHECK(report.device_count == 0);
        CHECK(report.volatile_cache == kUnknown);
    }
}

TEST_CASE("a multipath head counts its controllers", "[chain]") {
    FakeSystem system{"multipath"};
    system.nodes["nvme0n1"] = nvme_node(makedev(259, 2), true);
    system.file("/data", "ext4", makedev(259, 2));
    const fsys_probe_report report = probe_file(system, "/data");
    CHECK(chain_text(report) == "nvme0n1");
    CHECK(report.devices[0].kind == FSYS_DEVICE_NVME);
    CHECK(report.devices[0].paths == 2);
    CHECK(report.devices[0].nsid == 1);
    CHECK(report.devices[0].identified == 1);
    CHECK_THAT(report.flush_text, ContainsSubstring("several controllers"));
}

TEST_CASE("file systems without a disk of their own", "[chain]") {
    FakeSystem system{"virtio"};
    const auto [name, complete, power, words] =
        GENERATE(table<const char *, std::uint32_t, std::uint32_t, const char *>(
            {{"tmpfs", kYes, kNo, "in memory"},
             {"nfs", kUnknown, kUnknown, "server"},
             {"overlay", kUnknown, kUnknown, "passes it on"}}));
    system.file("/data", name, makedev(0, 30));
    const fsys_probe_report report = probe_file(system, "/data");
    CHECK(report.device_count == 0);
    CHECK(report.complete == complete);
    CHECK(report.power_loss_protection == power);
    CHECK(report.volatile_cache == kUnknown);
    CHECK_THAT(report.sync_text, ContainsSubstring(words));
    CHECK_THAT(report.flush_text, ContainsSubstring("fails"));
}

TEST_CASE("an unknown device number is a lost chain", "[chain]") {
    FakeSystem system{"virtio"};
    system.file("/data", "ext4", makedev(8, 1));
    const fsys_probe_report report = probe_file(system, "/data");
    CHECK(report.device_count == 0);
    CHECK(report.complete == kNo);
    CHECK(report.flush_reaches == kUnknown);
}

TEST_CASE("devices that lie on one another end the walk", "[chain]") {
    FakeSystem system{"mapper"};
    system.remove("/sys/devices/virtual/block/md127/slaves");
    system.set("/sys/devices/virtual/block/md127/slaves/dm-1/dev", "253:1");
    system.file("/data", "ext4", makedev(253, 1));
    const fsys_probe_report report = probe_file(system, "/data");
    CHECK(chain_text(report) == "dm-1 dm-0 md127");
}
