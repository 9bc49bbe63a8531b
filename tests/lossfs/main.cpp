// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// lossfs MOUNTPOINT: a file system in memory that loses power on command. README.md has the
// commands; volume.hpp says what is lost.
//
// Two threads: one serves FUSE requests, main() reads commands; one mutex over the volume. Each
// life of the volume names its inodes anew towards the kernel, so that no page, attribute or name
// of an earlier life is served from a cache.
#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "volume.hpp"

namespace {

using namespace lossfs;

struct Known {  // to the kernel
    Node inode;
    std::uint64_t lookups = 0;
};

struct Handle {
    Node inode;
    std::uint64_t life;
    std::vector<std::string> names;  // of a directory, as of the last rewind
};

std::mutex mutex;
Volume volume;
std::unordered_map<fuse_ino_t, Known> known;
std::uint64_t next_node = FUSE_ROOT_ID + 1;

Node node_of(fuse_ino_t ino) {
    if (ino == FUSE_ROOT_ID) {
        return volume.root();
    }
    return known.at(ino).inode;
}

Handle *handle_of(const fuse_file_info *info) { return reinterpret_cast<Handle *>(info->fh); }

struct stat attributes(const Inode &inode) {
    struct stat st{};
    st.st_ino = inode.serial;
    st.st_mode = inode.mode;
    st.st_nlink = inode.links;
    st.st_uid = ::getuid();
    st.st_gid = ::getgid();
    st.st_size = static_cast<off_t>(S_ISLNK(inode.mode) ? inode.target.size() : inode.now.size());
    st.st_blksize = 4096;
    st.st_blocks = (st.st_size + 511) / 512;
    st.st_mtim = st.st_ctim = st.st_atim = inode.modified;
    return st;
}

// Names an inode to the kernel, which will forget it as often as it is told.
fuse_entry_param entry(const Node &inode) {
    if (inode->life != volume.life()) {
        inode->life = volume.life();
        inode->node = next_node++;
    }
    Known &one = known[inode->node];
    one.inode = inode;
    ++one.lookups;
    fuse_entry_param param{};
    param.ino = inode->node;
    param.attr = attributes(*inode);
    return param;  // timeouts of 0: the kernel asks each time
}

void reply_entry(fuse_req_t req, int code, const Node &inode) {
    if (code < 0) {
        fuse_reply_err(req, -code);
        return;
    }
    const fuse_entry_param param = entry(inode);
    fuse_reply_entry(req, &param);
}

void reply(fuse_req_t req, int code) { fuse_reply_err(req, code < 0 ? -code : 0); }

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    const std::lock_guard lock(mutex);
    Node inode;
    reply_entry(req, volume.look_up(node_of(parent), name, inode), inode);
}

void forget_one(fuse_ino_t ino, std::uint64_t lookups) {
    const auto found = known.find(ino);
    if (found != known.end() && (found->second.lookups -= lookups) == 0) {
        known.erase(found);
    }
}
void fs_forget(fuse_req_t req, fuse_ino_t ino, std::uint64_t lookups) {
    {
        const std::lock_guard lock(mutex);
        forget_one(ino, lookups);
    }
    fuse_reply_none(req);
}
void fs_forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data *forgets) {
    {
        const std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < count; ++i) {
            forget_one(forgets[i].ino, forgets[i].nlookup);
        }
    }
    fuse_reply_none(req);
}

void fs_getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info *) {
    const std::lock_guard lock(mutex);
    const struct stat st = attributes(*node_of(ino));
    fuse_reply_attr(req, &st, 0);
}

void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, fuse_file_info *) {
    const std::lock_guard lock(mutex);
    const Node inode = node_of(ino);
    int code = 0;
    if ((what & FUSE_SET_ATTR_SIZE) != 0) {
        code = volume.truncate(inode, static_cast<std::uint64_t>(st->st_size));
    }
    if (code == 0 && (what & FUSE_SET_ATTR_MODE) != 0) {
        code = volume.set_mode(inode, st->st_mode);
    }
    if (code == 0 && (what & FUSE_SET_ATTR_MTIME) != 0) {
        code = volume.set_time(inode, st->st_mtim);
    }
    if (code < 0) {
        reply(req, code);
        return;
    }
    const struct stat now = attributes(*inode);
    fuse_reply_attr(req, &now, 0);
}

void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode) {
    const std::lock_guard lock(mutex);
    Node inode;
    const int code = volume.make(node_of(parent), name, S_IFDIR | mode, "", inode);
    reply_entry(req, code, inode);
}
void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name) {
    const std::lock_guard lock(mutex);
    Node inode;
    const int code = volume.make(node_of(parent), name, S_IFLNK | 0777, target, inode);
    reply_entry(req, code, inode);
}
void fs_readlink(fuse_req_t req, fuse_ino_t ino) {
    const std::lock_guard lock(mutex);
    fuse_reply_readlink(req, node_of(ino)->target.c_str());
}
void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
    const std::lock_guard lock(mutex);
    reply(req, volume.unlink(node_of(parent), name, false));
}
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name) {
    const std::lock_guard lock(mutex);
    reply(req, volume.unlink(node_of(parent), name, true));
}
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags) {
    const std::lock_guard lock(mutex);
    reply(req, volume.rename(node_of(parent), name, node_of(new_parent), new_name, flags));
}
void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name) {
    const std::lock_guard lock(mutex);
    const Node inode = node_of(ino);
    reply_entry(req, volume.link(inode, node_of(parent), name), inode);
}

void fs_init(void *, fuse_conn_info *connection) {
    // The kernel's cache lives as long as this life of the volume, whatever times say: a page that
    // an fsync has failed to write must go on being served from it, as on other file systems.
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA);
}

void set_handle(fuse_file_info *info, const Node &inode) {
    info->keep_cache = 1;
    info->fh = reinterpret_cast<std::uint64_t>(new Handle{inode, volume.life(), {}});
}

void fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               fuse_file_info *info) {
    const std::lock_guard lock(mutex);
    Node inode;
    const int code = volume.make(node_of(parent), name, S_IFREG | mode, "", inode);
    if (code < 0) {
        reply(req, code);
        return;
    }
    set_handle(info, inode);
    const fuse_entry_param param = entry(inode);
    fuse_reply_create(req, &param, info);
}
void fs_open(fuse_req_t req, fuse_ino_t ino, fuse_file_info *info) {
    const std::lock_guard lock(mutex);
    const Node inode = node_of(ino);
    const int code = volume.open(inode, (info->flags & O_TRUNC) != 0);
    if (code < 0) {
        reply(req, code);
        return;
    }
    set_handle(info, inode);
    fuse_reply_open(req, info);
}
void fs_release(fuse_req_t req, fuse_ino_t, fuse_file_info *info) {
    {
        const std::lock_guard lock(mutex);
        delete handle_of(info);
    }
    reply(req, 0);
}

void fs_read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info *) {
    const std::lock_guard lock(mutex);
    const char *bytes = nullptr;
    const int code = volume.read(node_of(ino), static_cast<std::uint64_t>(offset), size, &bytes);
    if (code < 0) {
        reply(req, code);
    } else {
        fuse_reply_buf(req, bytes, static_cast<std::size_t>(code));
    }
}
void fs_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, std::size_t size, off_t offset,
              fuse_file_info *info) {
    const std::lock_guard lock(mutex);
    // For O_DSYNC and RWF_DSYNC the kernel leaves durability to the server.
    const int code = volume.write(node_of(ino), static_cast<std::uint64_t>(offset), bytes, size,
                                  (info->flags & O_DSYNC) != 0, handle_of(info)->life);
    if (code < 0) {
        reply(req, code);
    } else {
        fuse_reply_write(req, static_cast<std::size_t>(code));
    }
}
void fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  fuse_file_info *) {
    const std::lock_guard lock(mutex);
    reply(req, volume.fallocate(node_of(ino), mode, static_cast<std::uint64_t>(offset),
                                static_cast<std::uint64_t>(length)));
}
void fs_fsync(fuse_req_t req, fuse_ino_t ino, int, fuse_file_info *info) {
    const std::lock_guard lock(mutex);
    reply(req, volume.sync_file(node_of(ino), handle_of(info)->life));
}
void fs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int, fuse_file_info *) {
    const std::lock_guard lock(mutex);
    reply(req, volume.sync_directory(node_of(ino)));
}

void fs_opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info *info) {
    const std::lock_guard lock(mutex);
    const Node inode = node_of(ino);
    const int code = volume.open(inode, false);
    if (code < 0) {
        reply(req, code);
        return;
    }
    set_handle(info, inode);
    fuse_reply_open(req, info);
}
void fs_readdir(fuse_req_t req, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info *info) {
    const std::lock_guard lock(mutex);
    Handle &handle = *handle_of(info);
    if (offset == 0) {
        handle.names = {".", ".."};
        for (const auto &[name, inode] : handle.inode->names) {
            handle.names.push_back(name);
        }
    }
    std::vector<char> buffer(size);
    std::size_t used = 0;
    for (auto i = static_cast<std::size_t>(offset); i < handle.names.size(); ++i) {
        struct stat st{};
        const auto found = handle.inode->names.find(handle.names[i]);
        st.st_mode = found == handle.inode->names.end() ? S_IFDIR : found->second->mode;
        st.st_ino = found == handle.inode->names.end() ? 1 : found->second->serial;
        const std::size_t more =
            fuse_add_direntry(req, buffer.data() + used, size - used, handle.names[i].c_str(), &st,
                              static_cast<off_t>(i + 1));
        if (more > size - used) {
            break;
        }
        used += more;
    }
    fuse_reply_buf(req, buffer.data(), used);
}

void fs_statfs(fuse_req_t req, fuse_ino_t) {
    struct statvfs st{};
    st.f_bsize = st.f_frsize = 4096;
    st.f_blocks = st.f_bfree = st.f_bavail = 1 << 20;
    st.f_namemax = 255;
    fuse_reply_statfs(req, &st);
}

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops ops{};
    ops.init = fs_init;
    ops.lookup = fs_lookup;
    ops.forget = fs_forget;
    ops.forget_multi = fs_forget_multi;
    ops.getattr = fs_getattr;
    ops.setattr = fs_setattr;
    ops.readlink = fs_readlink;
    ops.mkdir = fs_mkdir;
    ops.unlink = fs_unlink;
    ops.rmdir = fs_rmdir;
    ops.symlink = fs_symlink;
    ops.rename = fs_rename;
    ops.link = fs_link;
    ops.create = fs_create;
    ops.open = fs_open;
    ops.read = fs_read;
    ops.write = fs_write;
    ops.release = fs_release;
    ops.fsync = fs_fsync;
    ops.opendir = fs_opendir;
    ops.readdir = fs_readdir;
    ops.releasedir = fs_release;
    ops.fsyncdir = fs_fsyncdir;
    ops.statfs = fs_statfs;
    ops.fallocate = fs_fallocate;
    return ops;
}

void say(const char *text) {
    std::puts(text);
    std::fflush(stdout);
}

bool kind_of(const char *name, Kind &kind) {
    const auto *found = std::find_if(std::begin(kKindNames), std::end(kKindNames),
                                     [&](const char *one) { return std::strcmp(one, name) == 0; });
    kind = static_cast<Kind>(found - std::begin(kKindNames));
    return found != std::end(kKindNames);
}

void obey(const char *line) {
    char verb[16] = "";
    char word[24] = "";
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::uint64_t c = 0;
    const int parts = std::sscanf(line, "%15s %23s %" SCNu64 " %" SCNu64 " %" SCNu64, verb, word,
                                  &a, &b, &c);
    const std::uint64_t number = std::strtoull(word, nullptr, 10);
    const std::string command = verb;
    Kind kind{};
    std::uint64_t answer = 0;
    {
        const std::lock_guard lock(mutex);
        if (command == "off") {
            if (parts > 1) {
                volume.power_off_after(number);
            } else {
                volume.power_off();
            }
        } else if (command == "on") {
            volume.power_on(parts > 1, number);
        } else if (command == "space" && parts > 1) {
            volume.set_space(std::strcmp(word, "all") == 0 ? ~std::uint64_t{0} : number);
        } else if (command == "changes") {
            answer = volume.changes();
        } else if (command == "calls" && kind_of(word, kind)) {
            answer = volume.calls(kind);
        } else if (command == "fail" && parts > 2 && kind_of(word, kind)) {
            volume.fail(kind, static_cast<int>(a), b, parts > 4 ? c : 1);
        } else {
            say("what?");
            return;
        }
    }
    std::printf("ok %" PRIu64 "\n", answer);
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: lossfs MOUNTPOINT\n");
        return 2;
    }
    char options[] = "fsname=lossfs";
    char flag[] = "-o";
    char *fuse_argv[] = {argv[0], flag, options, nullptr};
    fuse_args args = FUSE_ARGS_INIT(3, fuse_argv);
    const fuse_lowlevel_ops ops = operations();
    fuse_session *session = fuse_session_new(&args, &ops, sizeof ops, nullptr);
    if (session == nullptr || fuse_session_mount(session, argv[1]) != 0) {
        return 1;
    }
    std::thread([session] { fuse_session_loop(session); }).detach();
    say("ready");
    char line[128];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
        obey(line);
    }
    fuse_session_unmount(session);
    ::_exit(0);  // closes /dev/fuse: whatever still waits fails
}
