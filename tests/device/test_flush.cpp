// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which way a flush takes, what each answer means, and which disks get one.

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "device/fake_system.hpp"
#include "support/catch.hpp"

using namespace libfsys;
using namespace libfsys::test;
using Catch::Matchers::ContainsSubstring;
using device::FlushOutcome;

namespace {

// A file on the partition of the NVMe disk.
struct OnNvme {
    FakeSystem system{"nvme"};
    FakeNode &disk;
    FakeNode &generic;
    OnNvme() : disk(system.nodes["nvme0n1"]), generic(system.nodes["ng0n1"]) {
        disk = nvme_node(makedev(259, 0), true);
        generic.type = S_IFCHR;
        generic.number = makedev(242, 0);
        system.file("/data", "ext4", makedev(259, 1));
    }
};

using Namespaces = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("a file on a partition: one flush of the whole namespace", "[flush]") {
    OnNvme at;
    FlushOutcome out = flush_file(at.system, "/data");
    CHECK(out.code == 0);
    CHECK(out.reason == FSYS_FLUSH_DONE);
    CHECK(out.way == FSYS_FLUSH_IOCTL);
    CHECK(out.devices == 1);
    CHECK(out.flushed == 1);
    CHECK(out.nsid == 1);
    CHECK(out.paths == 1);
    CHECK(out.partition);
    CHECK(out.device == "nvme0n1");
    CHECK(at.disk.ioctl_flushes == Namespaces{1});
    CHECK(at.generic.uring_flushes.empty());
    CHECK(at.disk.fsyncs == 0);

    out = flush_file(at.system, "/data", FSYS_FLUSH_URING);
    CHECK(out.code == 0);
    CHECK(out.way == FSYS_FLUSH_URING);
    CHECK(at.generic.uring_flushes == Namespaces{1});

    out = flush_file(at.system, "/data", FSYS_FLUSH_BLOCK);
    CHECK(out.code == 0);
    CHECK(out.way == FSYS_FLUSH_BLOCK);
    CHECK(at.disk.fsyncs == 1);
    CHECK(at.disk.ioctl_flushes.size() == 1);
}

TEST_CASE("a refused flush is a failure and nothing else is tried", "[flush]") {
    OnNvme at;
    at.disk.ioctl_flush_answer = 0x280;
    const FlushOutcome out = flush_file(at.system, "/data");
    CHECK(out.code == -EIO);
    CHECK(out.reason == FSYS_FLUSH_REFUSED);
    CHECK(out.nvme_status == 0x280);
    CHECK(out.flushed == 0);
    CHECK(at.generic.uring_flushes.empty());
    CHECK(at.disk.fsyncs == 0);
    CHECK_THAT(out.text, ContainsSubstring("write fault"));
}

TEST_CASE("ways that are not possible lead to the next", "[flush]") {
    OnNvme at;
    SECTION("the ioctl is not allowed, the ring is") {
        at.disk.ioctl_flush_answer = -EACCES;
        const FlushOutcome out = flush_file(at.system, "/data");
        CHECK(out.code == 0);
        CHECK(out.way == FSYS_FLUSH_URING);
    }
    SECTION("a generic node that may only be read") {
        at.generic.open_write_code = -EACCES;
        CHECK(flush_file(at.system, "/data", FSYS_FLUSH_URING).code == 0);
    }
    SECTION("nothing is allowed but reading the node") {
        at.disk.ioctl_flush_answer = -EACCES;
        at.generic.uring_flush_answer = -EACCES;
        const FlushOutcome out = flush_file(at.system, "/data");
        CHECK(out.code == 0);
        CHECK(out.way == FSYS_FLUSH_BLOCK);
        CHECK(at.disk.fsyncs == 1);
    }
    SECTION("nothing at all: the first reason is told") {
        at.disk.open_code = -EACCES;
        at.generic.open_code = -EACCES;
        const FlushOutcome out = flush_file(at.system, "/data");
        CHECK(out.code == -EACCES);
        CHECK(out.reason == FSYS_FLUSH_PERMISSION);
        CHECK(out.way == FSYS_FLUSH_IOCTL);
        CHECK_THAT(out.text, ContainsSubstring("permission denied"));
    }
    SECTION("no io_uring, or no URING_CMD") {
        at.generic.uring_flush_answer = GENERATE(-ENOSYS, -EPERM, -EOPNOTSUPP, -EINVAL, -ENOMEM);
        const FlushOutcome out = flush_file(at.system, "/data", FSYS_FLUSH_URING);
        CHECK(out.code == -EOPNOTSUPP);
        CHECK(out.reason == FSYS_FLUSH_NO_WAY);
    }
    SECTION("no generic device in this kernel") {
        at.system.remove("/sys/devices/pci0000:00/0000:00:03.0/nvme/nvme0/ng0n1");
        const FlushOutcome out = flush_file(at.system, "/data", FSYS_FLUSH_URING);
        CHECK(out.reason == FSYS_FLUSH_NO_WAY);
    }
}

TEST_CASE("a container without the node, or with another device's", "[flush]") {
    OnNvme at;
    SECTION("none") {
        at.system.nodes.erase("nvme0n1");
        at.system.nodes.erase("ng0n1");
        const FlushOutcome out = flush_file(at.system, "/data");
        CHECK(out.code == -ENXIO);
        CHECK(out.reason == FSYS_FLUSH_NO_NODE);
    }
    SECTION("a node of that name that is another disk is never sent a command") {
        at.disk.number = makedev(259, 9);
        at.generic.number = makedev(242, 9);
        const FlushOutcome out = flush_file(at.system, "/data");
        CHECK(out.reason == FSYS_FLUSH_NO_NODE);
        CHECK(at.disk.ioctl_flushes.empty());
        CHECK(at.generic.uring_flushes.empty());
        CHECK(at.disk.fsyncs == 0);
    }
}

TEST_CASE("a disk that is not NVMe", "[flush]") {
    FakeSystem system{"virtio"};
    FakeNode disk;
    disk.number = makedev(254, 0);
    system.nodes["vda"] = disk;
    system.file("/data", "ext4", makedev(254, 1));
    FlushOutcome out = flush_file(system, "/data", FSYS_FLUSH_IOCTL | FSYS_FLUSH_URING);
    CHECK(out.code == -EOPNOTSUPP);
    CHECK(out.reason == FSYS_FLUSH_NOT_NVME);
    CHECK(system.nodes["vda"].fsyncs == 0);
    out = flush_file(system, "/data");
    CHECK(out.code == 0);
    CHECK(out.way == FSYS_FLUSH_BLOCK);
    CHECK(system.nodes["vda"].fsyncs == 1);
    system.nodes["vda"].fsync_answer = -ENODATA;
    out = flush_file(system, "/data");
    CHECK(out.code == -ENODATA);
    CHECK(out.reason == FSYS_FLUSH_ERROR);
}

TEST_CASE("every disk underneath gets one flush", "[flush]") {
    FakeSystem system{"mapper"};
    system.nodes["nvme0n1"] = nvme_node(makedev(259, 0), false);
    system.nodes["nvme1n1"] = nvme_node(makedev(259, 2), true);
    system.file("/data", "ext4", makedev(253, 1));
    FlushOutcome out = flush_file(system, "/data");
    CHECK(out.code == 0);
    CHECK(out.devices == 2);
    CHECK(out.flushed == 2);
    CHECK(system.nodes["nvme0n1"].ioctl_flushes == Namespaces{1});
    CHECK(system.nodes["nvme1n1"].ioctl_flushes == Namespaces{1});
    SECTION("one refuses: the whole has failed, the other was flushed all the same") {
        system.nodes["nvme0n1"].ioctl_flush_answer = 0x4006;
        out = flush_file(system, "/data");
        CHECK(out.code == -EIO);
        CHECK(out.device == "nvme0n1");
        CHECK(out.flushed == 1);
        CHECK(system.nodes["nvme1n1"].ioctl_flushes.size() == 2);
    }
    SECTION("one cannot be found: unknown, not success") {
        system.remove("/sys/dev/block/259:3");
        out = flush_file(system, "/data");
        CHECK(out.code == FSYS_E_UNKNOWN);
        CHECK(out.flushed == 1);
    }
}

TEST_CASE("several controllers lead to the namespace", "[flush]") {
    FakeSystem system{"multipath"};
    system.nodes["nvme0n1"] = nvme_node(makedev(259, 2), true);
    FakeNode &disk = system.nodes["nvme0n1"];
    system.file("/data", "ext4", makedev(259, 2));
    FlushOutcome out = flush_file(system, "/data");
    CHECK(out.code == FSYS_E_UNKNOWN);
    CHECK(out.reason == FSYS_FLUSH_MULTIPATH);
    CHECK(out.paths == 2);
    CHECK(out.flushed == 1);
    CHECK(disk.ioctl_flushes == Namespaces{1});
    SECTION("without volatile caches it does not matter which") {
        disk.controller[525] = 0;
        system.set("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/diskseq", "16");
        out = flush_file(system, "/data");
        CHECK(out.code == 0);
        CHECK(out.reason == FSYS_FLUSH_DONE);
    }
    SECTION("one controller left is as good as no multipath") {
        system.remove("/sys/devices/pci0000:00/0000:00:04.0/nvme/nvme1/nvme0c1n1");
        out = flush_file(system, "/data");
        CHECK(out.code == 0);
        CHECK(out.paths == 1);
    }
}

TEST_CASE("no disk underneath", "[flush]") {
    FakeSystem system{"virtio"};
    const char *name = GENERATE("tmpfs", "nfs", "overlay");
    system.file("/data", name, makedev(0, 30));
    const FlushOutcome out = flush_file(system, "/data");
    CHECK(out.code == -ENODEV);
    CHECK(out.reason == FSYS_FLUSH_NO_DEVICE);
    CHECK(out.devices == 0);
    CHECK_THAT(out.text, ContainsSubstring(name));
}
