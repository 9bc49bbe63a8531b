// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The made-up machine: trees are written to a scratch directory, so that the real readers of sysfs
// run; nodes answer from their record. One thread.

#include "device/fake_system.hpp"

#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "device/probe.hpp"
#include "support/catch.hpp"

namespace libfsys::test {
namespace {

std::string scratch() {
    // Some hundred small files for each test: memory where there is some.
    std::string name = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/fsys-device-XXXXXX"
                                                       : "./device-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    return std::filesystem::canonical(name).string();
}

constexpr FileSystem kKinds[] = {
    {EXT4_SUPER_MAGIC, "ext4", false, FileSystem::Store::disk},
    {BTRFS_SUPER_MAGIC, "btrfs", true, FileSystem::Store::disk},
    {TMPFS_MAGIC, "tmpfs", false, FileSystem::Store::memory},
    {NFS_SUPER_MAGIC, "nfs", false, FileSystem::Store::server},
    {OVERLAYFS_SUPER_MAGIC, "overlay", false, FileSystem::Store::opaque},
};

}  // namespace

FakeSystem::FakeSystem(std::initializer_list<const char *> trees) : FakeSystem(Root{scratch()}) {
    const char *directory = std::getenv("FSYS_TREES");
    REQUIRE(directory != nullptr);
    for (const char *tree : trees) {
        load(std::string(directory) + "/" + tree + ".tree");
    }
    set("/proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555");
    set("/proc/self/status", "Name:\ttest\nCapEff:\t000001ffffffffff\n");
}

FakeSystem::FakeSystem(const Root &root) : System(root.path), root_(root.path) {}

FakeSystem::~FakeSystem() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
}

void FakeSystem::load(const std::string &path) {
    std::ifstream in(path);
    INFO(path);
    REQUIRE(in.good());
    std::string directory;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        if (line[0] == '[') {
            directory = line.substr(1, line.size() - 2);
            std::filesystem::create_directories(root_ + directory);
            continue;
        }
        const std::size_t link = line.find(" -> ");
        const std::size_t text = line.find(" = ");
        INFO(line);
        REQUIRE((link != std::string::npos || text != std::string::npos));
        if (link != std::string::npos) {
            std::filesystem::create_symlink(line.substr(link + 4),
                                            root_ + directory + "/" + line.substr(0, link));
        } else {
            std::string value = line.substr(text + 3);
            std::replace(value.begin(), value.end(), '|', '\n');
            set(directory + "/" + line.substr(0, text), value);
        }
    }
}

void FakeSystem::file(const std::string &path, const char *file_system, dev_t device, ino_t inode) {
    device::FileFacts facts;
    facts.mode = S_IFREG | 0644;
    facts.device = device;
    facts.inode = inode;
    for (const FileSystem &kind : kKinds) {
        if (std::string(kind.name) == file_system) {
            facts.file_system = &kind;
        }
    }
    files[path] = facts;
}

void FakeSystem::set(const std::string &path, const std::string &text) {
    const std::filesystem::path whole = root_ + path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text << "\n";
}

void FakeSystem::remove(const std::string &path) { std::filesystem::remove_all(root_ + path); }

int FakeSystem::admit(const std::string &key) {
    open_[next_] = key;
    return next_++;
}

int FakeSystem::open_name(const std::string &path) {
    return files.count(path) != 0 ? admit(path) : -ENOENT;
}

int FakeSystem::reopen(int fd) { return admit(open_.at(fd)); }

int FakeSystem::open_node(const std::string &name, bool write) {
    const auto found = nodes.find(name);
    if (found == nodes.end()) {
        return -ENOENT;
    }
    const FakeNode &node = found->second;
    REQUIRE((node.type == S_IFCHR || !write));  // udev reads a block device anew after a writer
    const int code = write && node.open_write_code != 0 ? node.open_write_code : node.open_code;
    return code != 0 ? code : admit("dev:" + name);
}

void FakeSystem::close(int fd) { REQUIRE(open_.erase(fd) == 1); }

FakeNode *FakeSystem::node_of(int fd) {
    const std::string &key = open_.at(fd);
    return key.rfind("dev:", 0) == 0 ? &nodes.at(key.substr(4)) : nullptr;
}

int FakeSystem::inspect(int fd, device::FileFacts &ret_facts) {
    if (const FakeNode *node = node_of(fd)) {
        ret_facts = {};
        ret_facts.mode = node->type | 0600;
        ret_facts.rdevice = node->number;
        return 0;
    }
    ret_facts = files.at(open_.at(fd));
    return 0;
}

int FakeSystem::ioctl(int fd, unsigned long request, void *argument) {
    FakeNode *node = node_of(fd);
    if (request == BTRFS_IOC_FS_INFO && node == nullptr) {
        auto &info = *static_cast<btrfs_ioctl_fs_info_args *>(argument);
        for (unsigned i = 0; i < BTRFS_FSID_SIZE; ++i) {
            info.fsid[i] = static_cast<std::uint8_t>(btrfs_id + i);
        }
        info.num_devices = btrfs_devices;
        return btrfs_answer;
    }
    REQUIRE(node != nullptr);
    if (request == LOOP_GET_STATUS64) {
        *static_cast<loop_info64 *>(argument) = node->loop;
        return 0;
    }
    auto &command = *static_cast<nvme_passthru_cmd *>(argument);
    if (request == NVME_IOCTL_ADMIN_CMD) {
        REQUIRE(command.opcode == 0x06);
        REQUIRE(command.data_len == 4096);
        ++node->identifies;
        if (node->identify_answer == 0) {
            const auto &page = command.cdw10 == 1 ? node->controller : node->name_space;
            std::memcpy(reinterpret_cast<void *>(command.addr), page.data(), page.size());
        }
        return node->identify_answer;
    }
    REQUIRE(request == NVME_IOCTL_IO_CMD);
    REQUIRE(command.opcode == 0x00);
    node->ioctl_flushes.push_back(command.nsid);
    return node->ioctl_flush_answer;
}

int FakeSystem::uring_command(int fd, const nvme_uring_cmd &command) {
    FakeNode *node = node_of(fd);
    REQUIRE(node != nullptr);
    REQUIRE(node->type == S_IFCHR);
    REQUIRE(command.opcode == 0x00);
    node->uring_flushes.push_back(command.nsid);
    return node->uring_flush_answer;
}

int FakeSystem::fsync(int fd) {
    FakeNode *node = node_of(fd);
    REQUIRE(node != nullptr);
    ++node->fsyncs;
    return node->fsync_answer;
}

void put16(device::IdentifyPage &page, std::size_t at, std::uint16_t value) {
    page[at] = static_cast<unsigned char>(value & 0xff);
    page[at + 1] = static_cast<unsigned char>(value >> 8);
}

FakeNode nvme_node(dev_t number, bool volatile_cache) {
    FakeNode node;
    node.number = number;
    node.controller[525] = volatile_cache ? 0x07 : 0x06;
    node.name_space[128 + 2] = 9;  // format 0: blocks of 512 bytes
    return node;
}

fsys_probe_report probe_file(FakeSystem &system, const std::string &path) {
    fsys_probe_report report{};
    {
        const device::Opened file(system, system.open_name(path));
        REQUIRE(file.fd() >= 0);
        REQUIRE(device::probe(system, file.fd(), report) == 0);
    }
    REQUIRE(system.open_count() == 0);
    return report;
}

device::FlushOutcome flush_file(FakeSystem &system, const std::string &path, std::uint32_t ways) {
    device::FlushOutcome outcome;
    {
        const device::Opened file(system, system.open_name(path));
        REQUIRE(file.fd() >= 0);
        outcome = device::flush_disks(system, file.fd(), ways);
    }
    REQUIRE(system.open_count() == 0);
    INFO(outcome.text);
    REQUIRE_FALSE(outcome.text.empty());
    return outcome;
}

const fsys_probe_device &device_of(const fsys_probe_report &report, const std::string &name) {
    for (std::uint32_t i = 0; i < report.device_count; ++i) {
        if (name == report.devices[i].name) {
            return report.devices[i];
        }
    }
    FAIL("no device " << name << " in the report");
    return report.devices[0];
}

}  // namespace libfsys::test
