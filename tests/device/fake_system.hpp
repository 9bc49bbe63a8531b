// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A machine that a test makes up: a tree of sysfs (tests/device/trees), device nodes with recorded
// Identify pages and answers to give, files on chosen file systems. One thread.
#pragma once

#include <linux/loop.h>
#include <sys/stat.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "device/flush.hpp"
#include "device/system.hpp"
#include "fsys/device.h"

namespace libfsys::test {

struct FakeNode {
    mode_t type = S_IFBLK;
    dev_t number = 0;
    int open_code = 0;
    int open_write_code = 0;  // for writing, when that is different
    device::IdentifyPage controller{};
    device::IdentifyPage name_space{};
    int identify_answer = 0;
    int ioctl_flush_answer = 0;
    int uring_flush_answer = 0;
    int fsync_answer = 0;
    loop_info64 loop{};
    // What was asked of it.
    unsigned identifies = 0;
    std::vector<std::uint32_t> ioctl_flushes;  // namespace ids
    std::vector<std::uint32_t> uring_flushes;
    unsigned fsyncs = 0;
};

class FakeSystem : public device::System {
public:
    // Trees by name ("virtio"), one on top of the other.
    FakeSystem(std::initializer_list<const char *> trees);
    ~FakeSystem() override;

    std::map<std::string, FakeNode> nodes;           // by name below /dev
    std::map<std::string, device::FileFacts> files;  // by path
    std::uint8_t btrfs_id = 0;                       // first byte of the id; the others count on
    std::uint64_t btrfs_devices = 2;
    int btrfs_answer = 0;

    // A regular file on a file system of this kind.
    void file(const std::string &path, const char *file_system, dev_t device, ino_t inode = 2);
    void set(const std::string &path, const std::string &text);
    void remove(const std::string &path);
    unsigned open_count() const { return static_cast<unsigned>(open_.size()); }

    int open_name(const std::string &path) override;
    int reopen(int fd) override;
    int open_node(const std::string &name, bool write) override;
    void close(int fd) override;
    int inspect(int fd, device::FileFacts &ret_facts) override;
    int ioctl(int fd, unsigned long request, void *argument) override;
    int uring_command(int fd, const nvme_uring_cmd &command) override;
    int fsync(int fd) override;

private:
    struct Root {
        std::string path;
    };
    explicit FakeSystem(const Root &root);
    void load(const std::string &path);
    int admit(const std::string &key);
    FakeNode *node_of(int fd);

    std::string root_;
    std::map<int, std::string> open_;
    int next_ = 1000;
};

// Identify pages of a controller and namespace with 512-byte blocks, not atomic beyond one block.
FakeNode nvme_node(dev_t number, bool volatile_cache);
void put16(device::IdentifyPage &page, std::size_t at, std::uint16_t value);

// Each closes all that it opened, or fails the test.
fsys_probe_report probe_file(FakeSystem &system, const std::string &path);
device::FlushOutcome flush_file(FakeSystem &system, const std::string &path,
                                std::uint32_t ways = 0);
// The listed device of that name.
const fsys_probe_device &device_of(const fsys_probe_report &report, const std::string &name);

}  // namespace libfsys::test
