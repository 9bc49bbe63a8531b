// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// lossfs loses what it must and keeps what it must: the rig that the other tests believe.

#include <sys/stat.h>
#include <sys/uio.h>

#include <fstream>
#include <iterator>

#include "lossfs/lossfs.hpp"
#include "support/catch.hpp"

namespace {

// A file opened by its name, closed at the end of the scope.
class File {
public:
    File(const std::string &path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
        INFO(path << ": " << std::strerror(errno));
        REQUIRE(fd_ >= 0);
    }
    File(const File &) = delete;
    File &operator=(const File &) = delete;
    ~File() { ::close(fd_); }
    operator int() const { return fd_; }

private:
    int fd_;
};

std::string slurp(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

bool there(const std::string &path) { return ::access(path.c_str(), F_OK) == 0; }

void put(int fd, const std::string &text, off_t at, int rwf = 0) {
    const iovec piece{const_cast<char *>(text.data()), text.size()};
    REQUIRE(::pwritev2(fd, &piece, 1, at, rwf) == static_cast<ssize_t>(text.size()));
}

}  // namespace

TEST_CASE("lossfs forgets unsynced bytes, sizes and names, and nothing else", "[lossfs]") {
    lossfs::LossFs fs;
    if (!fs.missing().empty()) {
        FSYS_SKIP(fs.missing());
    }
    {
        const File dir(fs.path(), O_RDONLY | O_DIRECTORY);
        const File a(fs / "a", O_RDWR | O_CREAT);
        put(a, "kept", 0);
        REQUIRE(::fdatasync(a) == 0);
        REQUIRE(::fsync(dir) == 0);
        put(a, "lost", 0);
        put(a, "longer", 4);
        const File b(fs / "b", O_RDWR | O_CREAT);
        put(b, "bytes without a name", 0);
        REQUIRE(::fsync(b) == 0);
        REQUIRE(slurp(fs / "a") == "lostlonger");
        fs.power_off();
        REQUIRE(::pwrite(a, "x", 1, 0) == -1);
        REQUIRE(errno == EIO);
        REQUIRE(::fsync(a) == -1);
    }
    fs.power_on();
    REQUIRE(slurp(fs / "a") == "kept");
    REQUIRE_FALSE(there(fs / "b"));
    {
        const File dir(fs.path(), O_RDONLY | O_DIRECTORY);
        const File a(fs / "a", O_RDWR);
        put(a, "KE", 0, RWF_DSYNC);
        REQUIRE(::rename((fs / "a").c_str(), (fs / "c").c_str()) == 0);
        REQUIRE(::mkdir((fs / "d").c_str(), 0755) == 0);
        REQUIRE(::fsync(dir) == 0);
        REQUIRE(::unlink((fs / "c").c_str()) == 0);
        REQUIRE_FALSE(there(fs / "c"));
        fs.power_off();
    }
    fs.power_on();
    REQUIRE_FALSE(there(fs / "a"));
    REQUIRE(slurp(fs / "c") == "KEpt");
    REQUIRE(there(fs / "d"));
}

TEST_CASE("lossfs fails and fills up on command", "[lossfs]") {
    lossfs::LossFs fs;
    if (!fs.missing().empty()) {
        FSYS_SKIP(fs.missing());
    }
    const std::string old(4096, 'o');
    {
        const File dir(fs.path(), O_RDONLY | O_DIRECTORY);
        const File a(fs / "a", O_RDWR | O_CREAT);
        put(a, old, 0);
        REQUIRE(::fsync(a) == 0);
        REQUIRE(::fsync(dir) == 0);
        put(a, std::string(4096, 'n'), 0);
        fs.fail("fsync", EIO);
        REQUIRE(::fsync(a) == -1);
        REQUIRE(errno == EIO);
        REQUIRE(::fsync(a) == 0);  // the lie that a journal must not believe
        REQUIRE(fs.calls("fsync") == 3);
        REQUIRE(slurp(fs / "a") == std::string(4096, 'n'));  // from the cache, while the disk ...
        {
            const File direct(fs / "a", O_RDONLY | O_DIRECT);
            alignas(4096) static char block[4096];
            REQUIRE(::pread(direct, block, sizeof block, 0) == sizeof block);
            REQUIRE(std::string(block, sizeof block) == old);
        }
        fs.fail("write", ENODATA, 1);
        put(a, "1", 10);
        REQUIRE(::pwrite(a, "2", 1, 11) == -1);
        REQUIRE(errno == ENODATA);
        fs.set_space(100);
        REQUIRE(::ftruncate(a, 4186) == 0);
        REQUIRE(::pwrite(a, std::string(50, 'x').data(), 50, 4186) == -1);
        REQUIRE(errno == ENOSPC);
        fs.power_off();
    }
    fs.power_on();
    REQUIRE(slurp(fs / "a") == old);
    // The third change from here is not made.
    fs.power_off_after(2);
    REQUIRE(::mkdir((fs / "1").c_str(), 0755) == 0);
    REQUIRE(::mkdir((fs / "2").c_str(), 0755) == 0);
    REQUIRE(::mkdir((fs / "3").c_str(), 0755) == -1);
    REQUIRE(errno == EIO);
}

TEST_CASE("lossfs with a seed keeps any part, the same one each time", "[lossfs]") {
    lossfs::LossFs fs;
    if (!fs.missing().empty()) {
        FSYS_SKIP(fs.missing());
    }
    std::string first;
    unsigned partly = 0;
    unsigned named = 0;
    for (std::uint64_t round = 0; round < 24; ++round) {
        {
            const File dir(fs.path(), O_RDONLY | O_DIRECTORY);
            const File a(fs / "a", O_RDWR | O_CREAT);
            put(a, std::string(8192, 'o'), 0);
            REQUIRE(::fsync(a) == 0);
            REQUIRE(::fsync(dir) == 0);
            put(a, std::string(8192, 'n'), 0);
            REQUIRE(::mkdir((fs / "d").c_str(), 0755) == 0);
            fs.power_off();
        }
        fs.power_on(round / 2);
        const std::string now = slurp(fs / "a");
        REQUIRE(now.size() == 8192);
        if (round % 2 == 0) {
            first = now;
        } else {
            REQUIRE(now == first);
        }
        partly += now.find('o') != std::string::npos && now.find('n') != std::string::npos;
        if (there(fs / "d")) {
            ++named;
            REQUIRE(::rmdir((fs / "d").c_str()) == 0);
        }
    }
    REQUIRE(partly > 12);
    REQUIRE(named > 2);
    REQUIRE(named < 22);
}
