// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The simulated disk. One thread at a time.

#include "sim/sim_disk.hpp"

#include "fake/deferred_queue.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace sim {

Disk::Disk() {
    nodes_.resize(1);
    nodes_[0].directory = true;
}

Disk::~Disk() {
    for (void *page : maps_) {
        std::free(page);
    }
}

void Disk::note(const void *bytes, std::size_t length) {
    const auto *at = static_cast<const std::uint8_t *>(bytes);
    for (std::size_t i = 0; i < length; ++i) {
        trace_ = (trace_ ^ at[i]) * 0x100000001b3u;
    }
}

int Disk::enter(bool change, const char *what) {
    if (dead()) {
        return -EIO;
    }
    if (change) {
        if (before_change) {
            before_change();
        }
        if (++changes_ >= die_at) {
            return -EIO;
        }
    }
    note(what, std::strlen(what));
    const std::uint64_t call = calls_++;
    if (call == fault_.at || (fault_.persistent && call > fault_.at && fault_.at != ~0ull)) {
        if (fault_.code != 0) {
            fired_ = true;
            return fault_.code;
        }
    }
    return 0;
}

Disk::OpenFile *Disk::file(int fd) {
    const auto found = open_.find(fd);
    return found == open_.end() ? nullptr : &found->second;
}

void Disk::apply(Bytes &to, std::uint64_t offset, const std::uint8_t *bytes, std::size_t length) {
    if (length == 0) {
        return;
    }
    if (to.size() < offset + length) {
        to.resize(offset + length);
    }
    std::memcpy(to.data() + offset, bytes, length);
}

ssize_t Disk::pread(int fd, void *buffer, std::size_t length, std::uint64_t offset, int) {
    if (const int code = enter(false, "read"); code < 0) {
        return code;
    }
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    const Bytes &bytes = nodes_[open->node].now;
    if (offset >= bytes.size()) {
        return 0;
    }
    std::size_t n = std::min<std::uint64_t>(length, bytes.size() - offset);
    if (fault_.limit != 0 && calls_ - 1 == fault_.at) {
        // O_DIRECT transfers end at sectors, unless at the end of the file.
        n = std::min(n, (open->flags & O_DIRECT) != 0 ? (fault_.limit + 511) & ~std::size_t{511}
                                                      : fault_.limit);
        fired_ = true;
    }
    std::memcpy(buffer, bytes.data() + offset, n);
    return static_cast<ssize_t>(n);
}

ssize_t Disk::pwrite(int fd, const void *buffer, std::size_t length, std::uint64_t offset,
                     int rwf) {
    if (const int code = enter(true, "write"); code < 0) {
        return code;
    }
    OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    if (offset == libfsys::kStreamOffset) {
        offset = (open->flags & O_APPEND) != 0 ? nodes_[open->node].now.size() : open->position;
        open->position = offset + length;  // a short transfer corrects it below
    }
    if ((open->flags & O_DIRECT) != 0 &&
        (offset % 512 != 0 || length % 512 != 0 ||
         reinterpret_cast<std::uintptr_t>(buffer) % 512 != 0)) {
        return -EINVAL;
    }
    if (fault_.limit != 0 &&
        (calls_ - 1 == fault_.at || (fault_.persistent && calls_ - 1 > fault_.at))) {
        const std::size_t limit =
            (open->flags & O_DIRECT) != 0 ? (fault_.limit + 511) & ~std::size_t{511} : fault_.limit;
        fired_ = fired_ || length > limit;
        length = std::min(length, limit);
        open->position = std::min(open->position, offset + length);
    }
    Node &node = nodes_[open->node];
    const auto *bytes = static_cast<const std::uint8_t *>(buffer);
    note(&offset, sizeof offset);
    note(bytes, length);
    apply(node.now, offset, bytes, length);
    if ((rwf & RWF_DSYNC) != 0) {
        ++syncs_;
        syncs_after_fault_ += fired_;
        // Only this write: an earlier unsynced one stays pending, but can no longer show in the
        // sectors that are durable now.
        apply(node.disk, offset, bytes, length);
        for (Change &change : node.pending) {
            for (std::size_t i = 0; !change.truncate && i < change.gone.size(); ++i) {
                const std::uint64_t sector = change.offset / 512 + i;
                if (sector >= offset / 512 && sector < (offset + length + 511) / 512) {
                    change.gone[i] = true;
                }
            }
        }
    } else {
        const std::uint64_t first = offset / 512;
        const std::uint64_t last = length == 0 ? first : (offset + length + 511) / 512;
        node.pending.push_back({++sequence_, false, offset, Bytes(bytes, bytes + length),
                                std::vector<bool>(last - first)});
    }
    return static_cast<ssize_t>(length);
}

ssize_t Disk::preadv(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) {
    return count == 0 ? 0 : pread(fd, iov[0].iov_base, iov[0].iov_len, offset, rwf);
}

ssize_t Disk::pwritev(int fd, const iovec *iov, int count, std::uint64_t offset, int rwf) {
    return count == 0 ? 0 : pwrite(fd, iov[0].iov_base, iov[0].iov_len, offset, rwf);
}

void Disk::make_names_durable(Node &node) {
    // The other half of a rename between directories goes with this one.
    for (const Naming &op : node.naming) {
        for (Node &other : nodes_) {
            for (auto at = other.naming.begin(); &other != &node && at != other.naming.end();) {
                if (at->sequence != op.sequence) {
                    ++at;
                    continue;
                }
                if (!at->remove.empty()) {
                    other.names_disk.erase(at->remove);
                }
                if (!at->add.empty()) {
                    other.names_disk[at->add] = at->node;
                }
                at = other.naming.erase(at);
            }
        }
    }
    node.names_disk = node.names_now;
    node.naming.clear();
}

void Disk::make_durable(Node &node, bool metadata) {
    if (node.directory) {
        if (!ignore_directory_syncs) {
            make_names_durable(node);
        }
    } else if (!ignore_file_syncs) {
        node.disk = node.now;
        node.pending.clear();
        if (metadata) {
            node.meta_disk = node.meta_now;
        }
    }
}

int Disk::sync(int fd, const char *what, bool metadata) {
    if (const int code = enter(true, what); code < 0) {
        syncs_after_fault_ += fired_ && calls_ - 1 != fault_.at;
        return code;
    }
    ++syncs_;
    syncs_after_fault_ += fired_;
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    make_durable(nodes_[open->node], metadata);
    return 0;
}

std::unique_ptr<libfsys::WriteQueue> Disk::write_queue(unsigned) {
    return std::make_unique<libfsys::test::DeferredQueue>(*this, ++queues_);
}

int Disk::fsync(int fd) { return sync(fd, "fsync", true); }
int Disk::fdatasync(int fd) { return sync(fd, "fdatasync", false); }

// Zeros where the file has bytes.
void Disk::zero(Node &node, std::uint64_t offset, std::uint64_t length) {
    if (offset >= node.now.size()) {
        return;
    }
    const Bytes zeros(std::min<std::uint64_t>(length, node.now.size() - offset));
    apply(node.now, offset, zeros.data(), zeros.size());
    node.pending.push_back({++sequence_, false, offset, zeros,
                            std::vector<bool>((offset + zeros.size() + 511) / 512 - offset / 512)});
}

int Disk::fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
    if (const int code = enter(true, "fallocate"); code < 0) {
        return code;
    }
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    Node &node = nodes_[open->node];
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
        zero(node, offset, length);
    }
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && node.now.size() < offset + length) {
        node.now.resize(offset + length);
        node.pending.push_back({++sequence_, true, offset + length, {}, {}});
    }
    return 0;
}

int Disk::ftruncate(int fd, std::uint64_t length) {
    if (const int code = enter(true, "ftruncate"); code < 0) {
        return code;
    }
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    Node &node = nodes_[open->node];
    node.now.resize(length);
    node.pending.push_back({++sequence_, true, length, {}, {}});
    return 0;
}

// Paths: relative to a directory, or from the root.
int Disk::look(int dir, const char *path, Spot &ret) {
    int at = 0;
    if (dir != AT_FDCWD) {
        const OpenFile *open = file(dir);
        if (open == nullptr || !nodes_[open->node].directory) {
            return -EBADF;
        }
        at = open->node;
    }
    std::string rest = path;
    if (!rest.empty() && rest[0] == '/') {
        at = 0;
        rest.erase(0, 1);
    }
    for (std::size_t slash; (slash = rest.find('/')) != std::string::npos;) {
        const std::string step = rest.substr(0, slash);
        if (step.empty() || step == "." || step == "..") {
            at = step == ".." ? nodes_[at].parent : at;
            rest.erase(0, slash + 1);
            continue;
        }
        const auto found = nodes_[at].names_now.find(step);
        if (found == nodes_[at].names_now.end()) {
            return -ENOENT;
        }
        at = found->second;
        if (!nodes_[at].directory) {
            return -ENOTDIR;
        }
        rest.erase(0, slash + 1);
    }
    const auto &names = nodes_[at].names_now;
    const auto found = names.find(rest);
    ret = {at, rest, found == names.end() ? -1 : found->second};
    return 0;
}

int Disk::enter(bool change, const char *what, int dir, const char *path, Spot &ret) {
    const int code = enter(change, what);
    return code < 0 ? code : look(dir, path, ret);
}

void Disk::add_name(const Spot &spot, int node) {
    nodes_[spot.parent].names_now[spot.leaf] = node;
    nodes_[spot.parent].naming.push_back({++sequence_, spot.leaf, node, ""});
}

void Disk::drop_name(const Spot &spot) {
    nodes_[spot.parent].names_now.erase(spot.leaf);
    nodes_[spot.parent].naming.push_back({++sequence_, "", -1, spot.leaf});
}

int Disk::open(int dir, const char *path, int flags, mode_t mode) {
    const bool change = (flags & (O_CREAT | O_TRUNC)) != 0;
    Spot spot;
    if (const int code = enter(change, "open", dir, path, spot); code < 0) {
        return code;
    }
    const std::string &leaf = spot.leaf;
    int node = spot.node;
    if (leaf.empty() || leaf == ".") {
        node = spot.parent;
    } else if (leaf == "..") {
        node = nodes_[spot.parent].parent;
    } else if (node >= 0) {
        if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
            return -EEXIST;
        }
        if ((flags & O_TRUNC) != 0 && !nodes_[node].now.empty()) {
            nodes_[node].now.clear();
            nodes_[node].pending.push_back({++sequence_, true, 0, {}, {}});
        }
    } else if ((flags & O_CREAT) != 0) {
        node = static_cast<int>(nodes_.size());
        nodes_.emplace_back();
        nodes_[node].parent = spot.parent;
        // A new inode is written with the first commit that holds its bytes or its name.
        nodes_[node].meta_now.mode = nodes_[node].meta_disk.mode = mode;
        add_name(spot, node);
        // Not of a temporary file's name, which is random: equal runs have equal traces.
        note(leaf.data(), leaf.rfind(".fsys-tmp.", 0) == 0 ? 0 : leaf.size());
    } else {
        return -ENOENT;
    }
    if ((flags & O_DIRECTORY) != 0 && !nodes_[node].directory) {
        return -ENOTDIR;
    }
    const int fd = next_fd_++;
    open_[fd] = {node, flags};
    return fd;
}

int Disk::close(int fd) {
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    const auto lock = locks_.find(open->node);
    if (lock != locks_.end() && lock->second == fd) {
        locks_.erase(lock);
    }
    open_.erase(fd);
    return 0;
}

int Disk::fstat(int fd, struct stat *out) {
    if (const int code = enter(false, "fstat"); code < 0) {
        return code;
    }
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    fill(open->node, out);
    return 0;
}

void Disk::fill(int index, struct stat *out) const {
    const Node &node = nodes_[index];
    *out = {};
    out->st_dev = 1;
    out->st_ino = static_cast<ino_t>(index) + 1;
    out->st_mode = (node.directory ? S_IFDIR : S_IFREG) | node.meta_now.mode;
    out->st_uid = node.meta_now.user;
    out->st_gid = node.meta_now.group;
    out->st_atim = node.meta_now.times[0];
    out->st_mtim = node.meta_now.times[1];
    out->st_size = static_cast<off_t>(node.now.size());
    out->st_blocks = static_cast<blkcnt_t>((node.now.size() + 511) / 512);  // no holes here
    for (const Node &other : nodes_) {
        for (const auto &[name, at] : other.names_now) {
            out->st_nlink += at == index;
        }
    }
}

int Disk::rename(int from_dir, const char *from, int to_dir, const char *to) {
    Spot old;
    Spot fresh;
    int code = enter(true, "rename", from_dir, from, old);
    code = code < 0 ? code : look(to_dir, to, fresh);
    if (code < 0) {
        return code;
    }
    if (old.node < 0) {
        return -ENOENT;
    }
    nodes_[old.parent].names_now.erase(old.leaf);
    nodes_[fresh.parent].names_now[fresh.leaf] = old.node;
    ++sequence_;
    if (fresh.parent == old.parent) {
        nodes_[old.parent].naming.push_back({sequence_, fresh.leaf, old.node, old.leaf});
    } else {
        nodes_[fresh.parent].naming.push_back({sequence_, fresh.leaf, old.node, ""});
        nodes_[old.parent].naming.push_back({sequence_, "", -1, old.leaf});
    }
    note(fresh.leaf.data(), fresh.leaf.size());
    return 0;
}

int Disk::unlink(int dir, const char *path) {
    Spot spot;
    if (const int code = enter(true, "unlink", dir, path, spot); code < 0) {
        return code;
    }
    if (spot.node < 0) {
        return -ENOENT;
    }
    if (nodes_[spot.node].directory) {
        return -EISDIR;
    }
    drop_name(spot);
    note(spot.leaf.data(), spot.leaf.rfind(".fsys-tmp.", 0) == 0 ? 0 : spot.leaf.size());
    return 0;
}

int Disk::mkdir(int dir, const char *path, mode_t) {
    Spot spot;
    if (const int code = enter(true, "mkdir", dir, path, spot); code < 0) {
        return code;
    }
    if (spot.node >= 0) {
        return -EEXIST;
    }
    const int node = static_cast<int>(nodes_.size());
    nodes_.emplace_back();
    nodes_[node].directory = true;
    nodes_[node].parent = spot.parent;
    add_name(spot, node);
    return 0;
}

int Disk::each_name(int dir, const std::function<void(const char *)> &call) {
    if (const int code = enter(false, "list"); code < 0) {
        return code;
    }
    const OpenFile *open = file(dir);
    if (open == nullptr) {
        return -EBADF;
    }
    for (const auto &[name, node] : nodes_[open->node].names_now) {
        call(name.c_str());
    }
    return 0;
}

int Disk::lock_exclusive(int fd) {
    if (const int code = enter(false, "lock"); code < 0) {
        return code;
    }
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    const auto [at, fresh] = locks_.emplace(open->node, fd);
    return fresh || at->second == fd ? 0 : -EAGAIN;
}

int Disk::unlock(int fd) {
    const OpenFile *open = file(fd);
    if (open != nullptr) {
        locks_.erase(open->node);
    }
    return open != nullptr ? 0 : -EBADF;
}

int Disk::lock_held(int fd) {
    const OpenFile *open = file(fd);
    if (open == nullptr) {
        return -EBADF;
    }
    const auto found = locks_.find(open->node);
    return found != locks_.end() && found->second != fd ? 1 : 0;
}

int Disk::advise(int, std::uint64_t, std::uint64_t, int) { return 0; }

int Disk::share(int, std::uint64_t, Share, void **ret) {
    if (const int code = enter(false, "map"); code < 0) {
        return code;
    }
    void *page = std::aligned_alloc(4096, libfsys::kSharedBytes);
    std::memset(page, 0, libfsys::kSharedBytes);
    maps_.insert(page);
    *ret = page;
    return 0;
}

void Disk::unshare(void *address) {
    maps_.erase(address);
    std::free(address);
}

std::vector<std::uint8_t> *Disk::contents(const std::string &dir, const std::string &name) {
    const auto at = nodes_[0].names_now.find(dir);
    if (at == nodes_[0].names_now.end()) {
        return nullptr;
    }
    const auto found = nodes_[at->second].names_now.find(name);
    return found == nodes_[at->second].names_now.end() ? nullptr : &nodes_[found->second].now;
}

std::vector<std::string> Disk::names(const std::string &dir) const {
    std::vector<std::string> list;
    const auto at = nodes_[0].names_now.find(dir);
    if (at != nodes_[0].names_now.end()) {
        for (const auto &[name, node] : nodes_[at->second].names_now) {
            list.push_back(name);
        }
    }
    return list;
}

std::unique_ptr<Disk> Disk::crash(Loss loss, Random &random) const {
    auto after = std::make_unique<Disk>();
    after->nodes_.resize(nodes_.size());
    // The moment up to which ordered loss keeps things. Most interesting near the end.
    std::uint64_t oldest = sequence_ + 1;
    for (const Node &node : nodes_) {
        if (!node.pending.empty()) {
            oldest = std::min(oldest, node.pending.front().sequence);
        }
        if (!node.naming.empty()) {
            oldest = std::min(oldest, node.naming.front().sequence);
        }
    }
    const std::uint64_t moment = oldest + random.below(sequence_ + 2 - oldest);
    std::map<std::uint64_t, bool> fates;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const Node &node = nodes_[i];
        Node &copy = after->nodes_[i];
        copy.directory = node.directory;
        copy.parent = node.parent;
        copy.names_disk = node.names_disk;
        copy.disk = node.disk;
        // Metadata that no fsync covered may or may not have been written on the side.
        copy.meta_disk = loss == Loss::none || (loss != Loss::all && random.chance(50))
                             ? node.meta_now
                             : node.meta_disk;
        copy.meta_now = copy.meta_disk;
        for (const Naming &op : node.naming) {
            bool keep = loss == Loss::none || loss == Loss::data_lost ||
                        (loss == Loss::prefix && op.sequence < moment);
            if (loss == Loss::writes || loss == Loss::sectors) {
                // Both halves of a rename share their fate.
                const auto [fate, fresh] = fates.try_emplace(op.sequence, false);
                if (fresh) {
                    fate->second = random.chance(50);
                }
                keep = fate->second;
            }
            if (!keep) {
                continue;
            }
            if (!op.remove.empty()) {
                copy.names_disk.erase(op.remove);
            }
            if (!op.add.empty()) {
                copy.names_disk[op.add] = op.node;
            }
        }
        const unsigned density = 10 + 20 * static_cast<unsigned>(random.below(5));
        for (const Change &op : node.pending) {
            const bool before = op.sequence < moment;
            if (loss == Loss::all || loss == Loss::data_lost ||
                (loss == Loss::prefix && op.sequence > moment)) {
                continue;
            }
            if (op.truncate) {
                if (loss == Loss::none || loss == Loss::names_only ||
                    (loss == Loss::prefix && before) ||
                    ((loss == Loss::writes || loss == Loss::sectors) && random.chance(density))) {
                    copy.disk.resize(op.offset);
                }
                continue;
            }
            const std::uint64_t torn_at =
                op.sequence == moment ? random.below(op.gone.size() + 1) : op.gone.size();
            bool page = false;
            for (std::size_t s = 0; s < op.gone.size(); ++s) {
                const std::uint64_t from = std::max(op.offset, (op.offset / 512 + s) * 512);
                const std::uint64_t to =
                    std::min(op.offset + op.bytes.size(), (op.offset / 512 + s + 1) * 512);
                bool keep = loss == Loss::none || loss == Loss::names_only ||
                            (loss == Loss::prefix && s < torn_at);
                if (loss == Loss::sectors) {
                    keep = random.chance(density);
                } else if (loss == Loss::writes) {
                    if (s == 0 || from % 4096 == 0) {
                        page = random.chance(density);
                    }
                    keep = page;
                }
                if (keep && !op.gone[s]) {
                    apply(copy.disk, from, op.bytes.data() + (from - op.offset), to - from);
                }
            }
        }
        copy.names_now = copy.names_disk;
        copy.now = copy.disk;
    }
    return after;
}

}  // namespace sim
