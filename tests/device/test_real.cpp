// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The calls of fsys/device.h on this machine: whatever it is, the answers agree with what plain
// system calls say, and no argument makes them crash.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "fsys/device.h"
#include "support/catch.hpp"

namespace {

struct Scratch {
    char path[32] = "real-XXXXXX";
    int fd = ::mkstemp(path);
    ~Scratch() {
        ::close(fd);
        ::unlink(path);
    }
};

fsys_probe_report blank() {
    fsys_probe_report report{};
    report.struct_size = sizeof report;
    return report;
}

bool is_answer(std::uint32_t value) { return value <= FSYS_ANSWER_YES; }

}  // namespace

TEST_CASE("probing a file of this machine", "[real]") {
    const Scratch file;
    REQUIRE(file.fd >= 0);
    fsys_probe_report by_path = blank();
    fsys_probe_report by_fd = blank();
    REQUIRE(fsys_probe(file.path, 0, &by_path) == 0);
    REQUIRE(fsys_probe_fd(file.fd, 0, &by_fd) == 0);
    CHECK(std::memcmp(&by_path, &by_fd, sizeof by_path) == 0);
    struct stat st {};
    REQUIRE(::fstat(file.fd, &st) == 0);
    CHECK(by_path.major_number == major(st.st_dev));
    CHECK(by_path.minor_number == minor(st.st_dev));
    for (const std::uint32_t value :
         {by_path.complete, by_path.volatile_cache, by_path.flush_reaches, by_path.fua,
          by_path.rotational, by_path.power_loss_protection, by_path.direct, by_path.atomic,
          by_path.passthrough}) {
        CHECK(is_answer(value));
    }
    CHECK(std::strlen(by_path.boot_id) == 36);
    CHECK(std::strlen(by_path.sync_text) > 10);
    CHECK(std::strlen(by_path.datasync_text) > 10);
    CHECK(std::strlen(by_path.flush_text) > 10);
    CHECK(std::strlen(by_path.power_text) > 5);
    if (by_path.complete == FSYS_ANSWER_YES && major(st.st_dev) != 0) {
        REQUIRE(by_path.device_count > 0);
        CHECK(by_path.devices[0].major_number == major(st.st_dev));
        CHECK(by_path.logical_block >= 512);
    }
    if (by_path.direct == FSYS_ANSWER_YES) {
        const int fd = ::open(file.path, O_RDWR | O_DIRECT);
        CHECK(fd >= 0);
        ::close(fd);
    }
    CHECK(by_path.struct_size == sizeof by_path);
}

TEST_CASE("probing a file of an engine", "[real]") {
    const Scratch file;
    fsys *engine = nullptr;
    REQUIRE(fsys_open(nullptr, &engine) == 0);
    fsys_file *opened = nullptr;
    REQUIRE(fsys_file_from_fd(engine, file.fd, nullptr, &opened) == 0);
    fsys_probe_report report = blank();
    fsys_probe_report expected = blank();
    CHECK(fsys_probe_file(opened, 0, &report) == 0);
    REQUIRE(fsys_probe(file.path, 0, &expected) == 0);
    CHECK(std::memcmp(&report, &expected, sizeof report) == 0);
    // Whether the device can be flushed is up to this machine; that the commit is made is not.
    fsys_flush_report flush{};
    flush.struct_size = sizeof flush;
    const int code = fsys_device_flush_file(opened, 0, &flush);
    CHECK(flush.committed == 1);
    INFO(flush.text);
    CHECK((code == 0) == (flush.reason == FSYS_FLUSH_DONE));
    CHECK((code == 0 ? flush.flushed == flush.devices : std::strlen(flush.text) > 10));
    fsys_file_close(opened);
    CHECK(fsys_probe_file(opened, 0, &report) == FSYS_E_CLOSED);
    CHECK(fsys_device_flush_file(opened, 0, &flush) == FSYS_E_CLOSED);
    CHECK(fsys_close(engine) == 0);
}

TEST_CASE("tmpfs and special files", "[real]") {
    fsys_flush_report flush{};
    flush.struct_size = sizeof flush;
    CHECK(fsys_device_flush("/dev/null", 0, &flush) == -EINVAL);
    CHECK(flush.reason == FSYS_FLUSH_NO_COMMIT);
    fsys_probe_report report = blank();
    CHECK(fsys_probe("/dev/null", 0, &report) == 0);
    if (::access("/dev/shm", W_OK) != 0) {
        FSYS_SKIP("/dev/shm cannot be written to");
    }
    REQUIRE(fsys_probe("/dev/shm", 0, &report) == 0);
    if (std::string(report.file_system) == "tmpfs") {
        CHECK(report.power_loss_protection == FSYS_ANSWER_NO);
        CHECK(fsys_device_flush("/dev/shm", 0, &flush) == -ENODEV);
        CHECK(flush.committed == 1);
        CHECK(flush.reason == FSYS_FLUSH_NO_DEVICE);
    }
}

TEST_CASE("arguments that are refused", "[real]") {
    fsys_probe_report report = blank();
    CHECK(fsys_probe(nullptr, 0, &report) == -EINVAL);
    CHECK(fsys_probe(".", 0, nullptr) == -EINVAL);
    CHECK(fsys_probe(".", 1, &report) == FSYS_E_BAD_FLAG);
    CHECK(fsys_probe("absent/file", 0, &report) == -ENOENT);
    CHECK(fsys_probe_fd(-1, 0, &report) == -EBADF);
    CHECK(fsys_probe_file(nullptr, 0, &report) == FSYS_E_CLOSED);
    report.struct_size = 8;
    CHECK(fsys_probe(".", 0, &report) == FSYS_E_BAD_STRUCT);
    fsys_flush_report flush{};
    CHECK(fsys_device_flush(".", 0, &flush) == FSYS_E_BAD_STRUCT);
    flush.struct_size = sizeof flush;
    CHECK(fsys_device_flush(".", 8, &flush) == FSYS_E_BAD_FLAG);
    CHECK(fsys_device_flush(nullptr, 0, &flush) == -EINVAL);
    CHECK(fsys_device_flush("absent", 0, &flush) == -ENOENT);
    CHECK(fsys_device_flush_fd(-1, 0, nullptr) == -EBADF);
    CHECK(fsys_device_flush_file(nullptr, 0, nullptr) == FSYS_E_CLOSED);
}
