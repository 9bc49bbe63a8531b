// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The simulated disk's calls on whole files: names, metadata, copies. One thread at a time.

#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sim/sim_disk.hpp"

namespace sim {

int Disk::at_path(const std::string &path) {
    Spot spot;
    if (look(AT_FDCWD, path.c_str(), spot) < 0) {
        return -1;
    }
    return spot.leaf.empty() ? spot.parent : spot.node;
}

const std::vector<std::uint8_t> *Disk::find(const std::string &path) {
    const int node = at_path(path);
    return node < 0 || nodes_[node].directory ? nullptr : &nodes_[node].now;
}

bool Disk::exists(const std::string &path) { return at_path(path) >= 0; }

mode_t Disk::mode(const std::string &path) {
    const int node = at_path(path);
    return node < 0 ? 0 : nodes_[node].meta_now.mode;
}

int Disk::open_beneath(int dir, const char *path, int flags, mode_t mode) {
    return open(dir, path, flags, mode);
}

int Disk::stat_at(int dir, const char *path, struct stat *out) {
    Spot spot;
    if (const int code = enter(false, "stat", dir, path, spot); code < 0) {
        return code;
    }
    if (spot.node < 0) {
        return -ENOENT;
    }
    fill(spot.node, out);
    return 0;
}

int Disk::read_link(int, const char *, std::string &) { return -EINVAL; }

int Disk::rename_with(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    struct stat st {};
    if (flags != RENAME_NOREPLACE) {
        return -EINVAL;
    }
    const int there = stat_at(to_dir, to, &st);
    return there == 0 ? -EEXIST : there != -ENOENT ? there : rename(from_dir, from, to_dir, to);
}

int Disk::link(int from_dir, const char *from, int to_dir, const char *to) {
    Spot old;
    Spot fresh;
    int code = enter(true, "link", from_dir, from, old);
    code = code < 0 ? code : look(to_dir, to, fresh);
    if (code < 0) {
        return code;
    }
    if (old.node < 0) {
        return -ENOENT;
    }
    if (fresh.node >= 0) {
        return -EEXIST;
    }
    add_name(fresh, old.node);
    return 0;
}

int Disk::rmdir(int dir, const char *path) {
    Spot spot;
    if (const int code = enter(true, "rmdir", dir, path, spot); code < 0) {
        return code;
    }
    if (spot.node < 0) {
        return -ENOENT;
    }
    const Node &node = nodes_[spot.node];
    if (!node.directory || !node.names_now.empty()) {
        return node.directory ? -ENOTEMPTY : -ENOTDIR;
    }
    drop_name(spot);
    return 0;
}

int Disk::set_mode(int fd, mode_t mode) {
    if (const int code = enter(true, "chmod"); code < 0) {
        return code;
    }
    nodes_[file(fd)->node].meta_now.mode = mode;
    return 0;
}

int Disk::set_owner(int fd, uid_t user, gid_t group) {
    if (const int code = enter(true, "chown"); code < 0) {
        return code;
    }
    Meta &meta = nodes_[file(fd)->node].meta_now;
    meta.user = user == static_cast<uid_t>(-1) ? meta.user : user;
    meta.group = group == static_cast<gid_t>(-1) ? meta.group : group;
    meta.mode &= ~mode_t{06000};
    return 0;
}

int Disk::set_times(int fd, const timespec times[2]) {
    if (const int code = enter(true, "utimens"); code < 0) {
        return code;
    }
    std::copy(times, times + 2, nodes_[file(fd)->node].meta_now.times);
    return 0;
}

int Disk::list_attributes(int fd, std::vector<std::string> &names) {
    if (const int code = enter(false, "listxattr"); code < 0) {
        return code;
    }
    names.clear();
    for (const auto &[name, value] : nodes_[file(fd)->node].meta_now.attributes) {
        names.push_back(name);
    }
    return 0;
}

int Disk::get_attribute(int fd, const char *name, std::string &value) {
    if (const int code = enter(false, "getxattr"); code < 0) {
        return code;
    }
    const auto &attributes = nodes_[file(fd)->node].meta_now.attributes;
    const auto found = attributes.find(name);
    if (found == attributes.end()) {
        return -ENODATA;
    }
    value = found->second;
    return 0;
}

int Disk::set_attribute(int fd, const char *name, const std::string &value) {
    if (const int code = enter(true, "setxattr"); code < 0) {
        return code;
    }
    nodes_[file(fd)->node].meta_now.attributes[name] = value;
    return 0;
}

int Disk::remove_attribute(int fd, const char *name) {
    if (const int code = enter(true, "removexattr"); code < 0) {
        return code;
    }
    return nodes_[file(fd)->node].meta_now.attributes.erase(name) != 0 ? 0 : -ENODATA;
}

int Disk::clone(int, int) { return -EOPNOTSUPP; }

ssize_t Disk::copy_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                         std::size_t length) {
    const OpenFile *source = file(from);
    const Bytes &bytes = nodes_[source->node].now;
    if (from_offset >= bytes.size()) {
        return 0;
    }
    const std::size_t n = std::min<std::uint64_t>(length, bytes.size() - from_offset);
    const Bytes piece(bytes.begin() + static_cast<std::ptrdiff_t>(from_offset),
                      bytes.begin() + static_cast<std::ptrdiff_t>(from_offset + n));
    return pwrite(to, piece.data(), n, to_offset, 0);
}

std::int64_t Disk::seek(int fd, std::uint64_t offset, int whence) {
    if (const int code = enter(false, "seek"); code < 0) {
        return code;
    }
    const OpenFile *open = file(fd);
    const std::uint64_t size = nodes_[open->node].now.size();
    switch (whence) {
    case SEEK_CUR: return static_cast<std::int64_t>(open->position);
    case SEEK_DATA: return offset >= size ? -ENXIO : static_cast<std::int64_t>(offset);
    case SEEK_HOLE: return offset >= size ? -ENXIO : static_cast<std::int64_t>(size);
    default: return -EINVAL;
    }
}

int Disk::sync_file_system(int) {
    if (const int code = enter(true, "syncfs"); code < 0) {
        return code;
    }
    ++syncs_;
    for (Node &node : nodes_) {
        make_durable(node, true);
    }
    return 0;
}

int Disk::set_lifetime(int, std::uint64_t) { return enter(false, "hint"); }

int Disk::flush_device(int, std::string &text) {
    ++flushes_;
    const int code = enter(true, "flush");
    text = "the simulated disk";
    return code < 0 ? code : flush_code;
}

}  // namespace sim
