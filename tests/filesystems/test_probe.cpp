// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The probe and the device flush on real loop devices: what the made-up trees of tests/device say
// is compared with a kernel.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "crash/loop_disk.hpp"
#include "filesystems/support.hpp"
#include "fsys/device.h"

using namespace filesystems;
using Catch::Matchers::ContainsSubstring;

namespace {

fsys_probe_report probe(const std::string &path) {
    fsys_probe_report report{};
    report.struct_size = sizeof report;
    REQUIRE(fsys_probe(path.c_str(), 0, &report) == 0);
    return report;
}

}  // namespace

TEST_CASE("probe: a loop device over a file leads to what holds the file", "[loop-probe]") {
    const char *type = GENERATE("ext4", "xfs");
    const std::string image = std::filesystem::absolute("probe.img").string();
    ::unlink(image.c_str());
    const crash::LoopDisk disk(type, std::string(type) == "xfs" ? 320 << 20 : 16 << 20, image);
    if (!disk.missing().empty()) {
        FSYS_SKIP(disk.missing());
    }
    Engine engine(FSYS_BACKEND_DEFAULT);
    fsys_file *file = engine.file(disk / "data");
    const auto bytes = block(4096, 1);
    REQUIRE(fsys_write(file, bytes.data(), 4096, 0, FSYS_DURABLE) == 4096);
    const fsys_probe_report report = probe(disk / "data");
    const fsys_probe_report below = probe(image);
    CHECK(std::string(report.file_system) == type);
    REQUIRE(report.device_count == below.device_count + 1);
    CHECK(report.devices[0].kind == FSYS_DEVICE_LOOP);
    CHECK(report.devices[0].label == image);
    CHECK(report.complete == below.complete);
    for (std::uint32_t i = 0; i < below.device_count; ++i) {
        CHECK(std::string(report.devices[i + 1].name) == below.devices[i].name);
    }
    CHECK(report.logical_block == 512);
    CHECK(report.volatile_cache == below.volatile_cache);
    // statx since Linux 6.1; the alignment is what an open with O_DIRECT then takes.
    if (report.direct == FSYS_ANSWER_YES) {
        CHECK(report.direct_offset_align >= 512);
    }
    fsys_flush_report flush{};
    flush.struct_size = sizeof flush;
    const int code = fsys_device_flush_file(file, 0, &flush);
    INFO(flush.text);
    CHECK(flush.committed == 1);
    CHECK((code == 0 ? flush.flushed == flush.devices : flush.reason != FSYS_FLUSH_DONE));
    ::unlink(image.c_str());
}

TEST_CASE("probe: a loop device over memory is not complete, since its file has no name",
          "[loop-probe]") {
    const crash::LoopDisk disk("ext4", 16 << 20);
    if (!disk.missing().empty()) {
        FSYS_SKIP(disk.missing());
    }
    const fsys_probe_report report = probe(disk.path());
    CHECK(report.device_count == 1);
    CHECK(report.devices[0].kind == FSYS_DEVICE_LOOP);
    CHECK(report.complete == FSYS_ANSWER_NO);
    CHECK(report.power_loss_protection == FSYS_ANSWER_UNKNOWN);
    fsys_flush_report flush{};
    flush.struct_size = sizeof flush;
    CHECK(fsys_device_flush(disk.path().c_str(), 0, &flush) == -ENODEV);
    CHECK(flush.committed == 1);
    CHECK_THAT(flush.text, ContainsSubstring("could not be followed"));
}
