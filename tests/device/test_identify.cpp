// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Identify pages under the NSFEAT rules, NVMe statuses as sentences, and the memory of answers.

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "device/fake_system.hpp"
#include "device/nvme.hpp"
#include "support/catch.hpp"

using namespace libfsys;
using namespace libfsys::test;
using Catch::Matchers::ContainsSubstring;
using device::decode_identify;
using device::IdentifyPage;
using device::Identity;

namespace {

struct Pages {
    IdentifyPage controller{};
    IdentifyPage name_space{};
    Pages() { name_space[128 + 2] = 9; }
    Identity decode() const { return decode_identify(controller, name_space); }
};

constexpr unsigned kAwun = 526;
constexpr unsigned kAwupf = 528;
constexpr unsigned kNsfeat = 24;
constexpr unsigned kFlbas = 26;
constexpr unsigned kNawun = 34;
constexpr unsigned kNawupf = 36;
constexpr unsigned kNabo = 42;
constexpr unsigned kNabspf = 44;

}  // namespace

TEST_CASE("atomic units count blocks from zero", "[identify]") {
    Pages pages;
    CHECK(pages.decode().known);
    CHECK(pages.decode().atomic_power_fail == 512);
    put16(pages.controller, kAwupf, 7);
    put16(pages.controller, kAwun, 255);
    CHECK(pages.decode().atomic_power_fail == 4096);
    CHECK(pages.decode().atomic_normal == 131072);
    CHECK(pages.decode().boundary == 0);
    CHECK_FALSE(pages.decode().per_namespace);
}

TEST_CASE("the namespace's own units count only with NSFEAT bit 1", "[identify]") {
    Pages pages;
    put16(pages.controller, kAwupf, 0);
    put16(pages.name_space, kNawupf, 31);
    put16(pages.name_space, kNawun, 63);
    put16(pages.name_space, kNabspf, 127);
    put16(pages.name_space, kNabo, 8);
    SECTION("without it they are reserved") {
        pages.name_space[kNsfeat] = 0xfd;
        const Identity id = pages.decode();
        CHECK(id.atomic_power_fail == 512);
        CHECK(id.atomic_normal == 512);
        CHECK(id.boundary == 0);
        CHECK(id.boundary_offset == 0);
        CHECK_FALSE(id.per_namespace);
    }
    SECTION("with it they count, boundary and its offset too") {
        pages.name_space[kNsfeat] = 0x02;
        const Identity id = pages.decode();
        CHECK(id.atomic_power_fail == 16384);
        CHECK(id.atomic_normal == 32768);
        CHECK(id.boundary == 65536);
        CHECK(id.boundary_offset == 4096);
        CHECK(id.per_namespace);
    }
    SECTION("with it, 0 means as the controller") {
        pages.name_space[kNsfeat] = 0x02;
        put16(pages.name_space, kNawupf, 0);
        put16(pages.name_space, kNawun, 0);
        put16(pages.name_space, kNabspf, 0);
        put16(pages.controller, kAwupf, 15);
        const Identity id = pages.decode();
        CHECK(id.atomic_power_fail == 8192);
        CHECK(id.boundary == 0);
        CHECK_FALSE(id.per_namespace);
    }
}

TEST_CASE("the block size is that of the format in use", "[identify]") {
    Pages pages;
    pages.name_space[25] = 1;
    pages.name_space[128 + 4 + 2] = 12;
    pages.name_space[kFlbas] = 0x11;  // format 1; bit 4 is about metadata
    put16(pages.controller, kAwupf, 1);
    CHECK(pages.decode().block == 4096);
    CHECK(pages.decode().atomic_power_fail == 8192);
    SECTION("the high bits of the index count only with more than 16 formats") {
        pages.name_space[kFlbas] = 0x21;
        CHECK(pages.decode().block == 4096);
        pages.name_space[25] = 20;
        pages.name_space[128 + 17 * 4 + 2] = 9;
        CHECK(pages.decode().block == 512);
    }
    SECTION("an impossible page is unknown") {
        pages.name_space[128 + 4 + 2] = 0;
        CHECK_FALSE(pages.decode().known);
        pages.name_space[128 + 4 + 2] = 12;
        pages.name_space[kFlbas] = 5;
        CHECK_FALSE(pages.decode().known);
    }
}

TEST_CASE("VWC bit 0 alone says whether there is a volatile cache", "[identify]") {
    Pages pages;
    pages.controller[525] = 0x06;  // bits 2:1 are about Flush with nsid 0xffffffff
    CHECK_FALSE(pages.decode().volatile_cache);
    pages.controller[525] = 0x01;
    CHECK(pages.decode().volatile_cache);
}

TEST_CASE("statuses are sentences", "[identify]") {
    CHECK_THAT(device::status_text(640), ContainsSubstring("write fault"));
    CHECK_THAT(device::status_text(640), ContainsSubstring("media error"));
    CHECK_THAT(device::status_text(16385), ContainsSubstring("invalid opcode"));
    CHECK_THAT(device::status_text(16385), ContainsSubstring("do not retry"));
    CHECK_THAT(device::status_text(16512), ContainsSubstring("LBA out of range"));
    CHECK_THAT(device::status_text(0x7c1), ContainsSubstring("vendor specific, code 0xc1"));
}

TEST_CASE("answers are remembered as long as the device is provably the same", "[cache]") {
    FakeSystem system{"nvme"};
    system.nodes["nvme0n1"] = nvme_node(makedev(259, 0), true);
    FakeNode &node = system.nodes["nvme0n1"];
    system.file("/data", "ext4", makedev(259, 1));
    const std::string disk = "/sys/devices/pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n1/";
    CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_NO);
    CHECK(node.identifies == 2);
    CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_NO);
    CHECK(node.identifies == 2);
    node.controller[525] = 0;

    SECTION("another disk under the same number is asked") {
        system.set(disk + "diskseq", "99");
        CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_YES);
        CHECK(node.identifies == 4);
    }
    SECTION("another boot, of a process that was frozen and thawed, too") {
        system.set("/proc/sys/kernel/random/boot_id", "99999999-0000-0000-0000-000000000000");
        CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_YES);
    }
    SECTION("without a sequence number nothing is remembered") {
        system.remove(disk + "diskseq");
        CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_YES);
        node.controller[525] = 1;
        CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_NO);
    }
    SECTION("a failure is not remembered") {
        system.set(disk + "diskseq", "100");
        node.identify_answer = -EACCES;
        CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_UNKNOWN);
        node.identify_answer = 0;
        CHECK(probe_file(system, "/data").power_loss_protection == FSYS_ANSWER_YES);
    }
    SECTION("what an administrator changes is seen at once") {
        CHECK(probe_file(system, "/data").volatile_cache == FSYS_ANSWER_YES);
        system.set(disk + "queue/write_cache", "write through");
        CHECK(probe_file(system, "/data").volatile_cache == FSYS_ANSWER_NO);
    }
}
