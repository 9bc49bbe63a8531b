// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Defects N1 to N9 of a library of this kind, each as the behaviour that a user must see instead.

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "device/fake_system.hpp"
#include "fsys/device.h"
#include "support/catch.hpp"

using namespace libfsys;
using namespace libfsys::test;
using device::FlushOutcome;

namespace {

// Two disks and two namespaces, with a file on each.
struct Machine {
    FakeSystem system{"nvme"};
    Machine() {
        system.nodes["nvme0n1"] = nvme_node(makedev(259, 0), true);
        system.nodes["nvme0n7"] = nvme_node(makedev(259, 4), false);
        system.file("/part", "ext4", makedev(259, 1));
        system.file("/seven", "ext4", makedev(259, 4));
        system.file("/sata", "ext4", makedev(8, 0));
    }
    FakeNode &one() { return system.nodes["nvme0n1"]; }
    FakeNode &seven() { return system.nodes["nvme0n7"]; }
};

}  // namespace

TEST_CASE("N1: the flush of a real NVMe name is really sent", "[n1]") {
    Machine m;
    CHECK(flush_file(m.system, "/part", FSYS_FLUSH_IOCTL).code == 0);
    CHECK(m.one().ioctl_flushes.size() == 1);
    CHECK(probe_file(m.system, "/part").passthrough == FSYS_ANSWER_YES);
}

TEST_CASE("N2: copy limits at bytes 74 to 79 are not taken for atomic units", "[n2]") {
    Machine m;
    put16(m.one().name_space, 74, 0xffff);  // MSSRL
    put16(m.one().name_space, 76, 0xffff);  // MCL
    const fsys_probe_report report = probe_file(m.system, "/part");
    CHECK(device_of(report, "nvme0n1").atomic_power_fail == 512);
    CHECK(device_of(report, "nvme0n1").atomic_normal == 512);
}

TEST_CASE("N3: NSFEAT decides whose atomic unit counts, and boundaries are told", "[n3]") {
    Machine m;
    put16(m.one().controller, 528, 3);  // AWUPF: 4 blocks
    put16(m.one().name_space, 36, 31);  // NAWUPF: 32 blocks
    put16(m.one().name_space, 44, 63);  // NABSPF: 64 blocks
    fsys_probe_report report = probe_file(m.system, "/part");
    CHECK(device_of(report, "nvme0n1").atomic_power_fail == 2048);
    CHECK(device_of(report, "nvme0n1").atomic_boundary == 0);
    m.one().name_space[24] = 2;
    m.system.set("/sys/devices/pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n1/diskseq", "20");
    report = probe_file(m.system, "/part");
    CHECK(device_of(report, "nvme0n1").atomic_power_fail == 16384);
    CHECK(device_of(report, "nvme0n1").atomic_boundary == 32768);
}

TEST_CASE("N4: a positive NVMe status is a failed flush, by either way", "[n4]") {
    Machine m;
    m.one().ioctl_flush_answer = 16385;
    CHECK(flush_file(m.system, "/part", FSYS_FLUSH_IOCTL).code == -EIO);
    FakeNode generic;
    generic.type = S_IFCHR;
    generic.number = makedev(242, 0);
    generic.uring_flush_answer = 640;
    m.system.nodes["ng0n1"] = generic;
    const FlushOutcome out = flush_file(m.system, "/part", FSYS_FLUSH_URING);
    CHECK(out.code == -EIO);
    CHECK(out.nvme_status == 640);
    m.one().identify_answer = 16385;
    m.system.set("/sys/devices/pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n1/diskseq", "21");
    CHECK(device_of(probe_file(m.system, "/part"), "nvme0n1").identified == 0);
}

TEST_CASE("N5: the namespace is the file's own, chosen anew for each file", "[n5]") {
    Machine m;
    CHECK(flush_file(m.system, "/part", FSYS_FLUSH_IOCTL).nsid == 1);
    CHECK(flush_file(m.system, "/seven", FSYS_FLUSH_IOCTL).nsid == 42);
    CHECK(m.one().ioctl_flushes == std::vector<std::uint32_t>{1});
    CHECK(m.seven().ioctl_flushes == std::vector<std::uint32_t>{42});
    // Unknown is not 1.
    m.system.remove("/sys/devices/pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n7/nsid");
    CHECK(flush_file(m.system, "/seven", FSYS_FLUSH_IOCTL).code == -EOPNOTSUPP);
    CHECK(m.seven().ioctl_flushes.size() == 1);
}

TEST_CASE("N5: the device flush comes after the file system's commit, never without", "[n5]") {
    // The real call on a descriptor that cannot be synced: the commit fails and is told.
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    fsys_flush_report report{};
    report.struct_size = sizeof report;
    CHECK(fsys_device_flush_fd(ends[0], 0, &report) == -EINVAL);
    CHECK(report.committed == 0);
    CHECK(report.reason == FSYS_FLUSH_NO_COMMIT);
    CHECK(report.devices == 0);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("N6: power-loss protection rests on the device's word, not on a vendor's name", "[n6]") {
    Machine m;
    CHECK(probe_file(m.system, "/part").power_loss_protection == FSYS_ANSWER_NO);
    CHECK(probe_file(m.system, "/seven").power_loss_protection == FSYS_ANSWER_YES);
    const fsys_probe_report sata = probe_file(m.system, "/sata");
    CHECK(sata.power_loss_protection == FSYS_ANSWER_UNKNOWN);
    CHECK(std::string(sata.power_text) != "");
    CHECK(std::string(device_of(sata, "sda").label) == "EXAMPLE HD");
}

TEST_CASE("N7: the answers are the file's, not the first file's or the working directory's",
          "[n7]") {
    Machine m;
    const fsys_probe_report part = probe_file(m.system, "/part");
    const fsys_probe_report seven = probe_file(m.system, "/seven");
    const fsys_probe_report sata = probe_file(m.system, "/sata");
    CHECK(part.volatile_cache == FSYS_ANSWER_YES);
    CHECK(seven.volatile_cache == FSYS_ANSWER_NO);
    CHECK(part.rotational == FSYS_ANSWER_NO);
    CHECK(sata.rotational == FSYS_ANSWER_YES);
    CHECK(device_of(part, "nvme0n1").atomic_unit_max == 16384);
    CHECK(device_of(sata, "sda").atomic_unit_max == 0);
}

TEST_CASE("N8: layers are looked through, and blocks are the device's, not the file system's",
          "[n8]") {
    FakeSystem system{"mapper"};
    system.nodes["nvme0n1"] = nvme_node(makedev(259, 0), false);
    system.nodes["nvme1n1"] = nvme_node(makedev(259, 2), false);
    system.file("/data", "ext4", makedev(253, 1));
    const fsys_probe_report report = probe_file(system, "/data");
    CHECK(device_of(report, "dm-1").kind == FSYS_DEVICE_MAPPER);
    CHECK(device_of(report, "nvme0n1").kind == FSYS_DEVICE_NVME);
    CHECK(device_of(report, "nvme0n1").logical_block == 512);
    Machine m;
    CHECK(probe_file(m.system, "/part").logical_block == 512);
    CHECK(probe_file(m.system, "/seven").logical_block == 4096);
}

TEST_CASE("N9: a kind that is not known is told as unknown, never as a slow or a fast one",
          "[n9]") {
    FakeSystem system{"virtio"};
    system.remove("/sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/device");
    system.remove("/sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/queue");
    system.file("/data", "ext4", makedev(254, 1));
    const fsys_probe_report report = probe_file(system, "/data");
    CHECK(device_of(report, "vda").kind == FSYS_DEVICE_UNKNOWN);
    CHECK(report.rotational == FSYS_ANSWER_UNKNOWN);
    CHECK(report.volatile_cache == FSYS_ANSWER_UNKNOWN);
    CHECK(report.fua == FSYS_ANSWER_UNKNOWN);
    CHECK(report.logical_block == 0);
}
