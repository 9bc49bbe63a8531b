// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The two trees of lossfs and what moves from the one to the other. One thread at a time.

#include "volume.hpp"

#include <linux/falloc.h>
#include <linux/fs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <set>

#include "support/random.hpp"

namespace lossfs {
namespace {

constexpr std::size_t kSector = 512;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 32;  // of a file: it lies in memory

timespec wall_clock() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return now;
}

}  // namespace

Volume::Volume() : root_(std::make_shared<Inode>()) {
    root_->mode = S_IFDIR | 0755;
    root_->links = 2;
    root_->serial = next_serial_++;
    root_->node = 1;  // FUSE_ROOT_ID
    root_->modified = wall_clock();
}

int Volume::enter(Kind kind, bool change) {
    const auto index = static_cast<std::size_t>(kind);
    ++calls_[index];
    if (off_) {
        return -EIO;
    }
    Fault &fault = faults_[index];
    if (fault.error != 0) {
        if (fault.skip != 0) {
            --fault.skip;
        } else {
            const int error = fault.error;
            if (fault.count != 0 && --fault.count == 0) {
                fault.error = 0;
            }
            return -error;
        }
    }
    if (change) {
        if (changes_left_ != ~std::uint64_t{0} && changes_left_-- == 0) {
            changes_left_ = ~std::uint64_t{0};
            off_ = true;
            return -EIO;
        }
        ++changes_;
    }
    return 0;
}

void Volume::fail(Kind kind, int error, std::uint64_t skip, std::uint64_t count) {
    faults_[static_cast<std::size_t>(kind)] = {error, skip, count};
}

// ---------------------------------------------------------------- bytes

void Volume::touch(Inode &inode, std::uint64_t from, std::uint64_t to) {
    const std::uint64_t end = std::max(inode.now.size(), inode.disk.size());
    inode.dirty.resize((end + kSector - 1) / kSector);
    for (std::uint64_t sector = from / kSector; sector * kSector < std::min(to, end); ++sector) {
        inode.dirty[sector] = true;
    }
}

void Volume::store(Inode &inode, std::size_t sector) {
    const std::size_t from = sector * kSector;
    const std::size_t end = std::min({from + kSector, inode.now.size(), inode.disk.size()});
    if (from < end) {
        std::memcpy(inode.disk.data() + from, inode.now.data() + from, end - from);
    }
}

int Volume::grow_allowed(const Inode &inode, std::uint64_t size) {
    if (size > kMostBytes) {
        return -EFBIG;
    }
    const std::uint64_t growth = size > inode.now.size() ? size - inode.now.size() : 0;
    return growth > space_left_ ? -ENOSPC : 0;
}

// Shrinking and growing again must leave zeros: all that comes or goes is dirty.
void Volume::resize(Inode &inode, std::uint64_t size) {
    const std::uint64_t old = inode.now.size();
    if (space_left_ != ~std::uint64_t{0}) {
        space_left_ = space_left_ + old - size;
    }
    inode.now.resize(size);
    touch(inode, std::min(old, size), std::max(old, size));
}

int Volume::read(const Node &inode, std::uint64_t offset, std::size_t size, const char **ret) {
    const int code = enter(Kind::read, false);
    if (code < 0) {
        return code;
    }
    if (offset >= inode->now.size()) {
        return 0;
    }
    *ret = inode->now.data() + offset;
    return static_cast<int>(std::min<std::uint64_t>(size, inode->now.size() - offset));
}

int Volume::write(const Node &inode, std::uint64_t offset, const char *bytes, std::size_t size,
                  bool durable, std::uint64_t life) {
    int code = enter(Kind::write, true);
    if (code == 0 && life != life_) {
        code = -EIO;
    }
    if (code == 0) {
        code = grow_allowed(*inode, offset + size);
    }
    if (code < 0) {
        return code;
    }
    const std::uint64_t end = offset + size;
    if (end > inode->now.size()) {
        resize(*inode, end);
    }
    std::memcpy(inode->now.data() + offset, bytes, size);
    touch(*inode, offset, end);
    inode->modified = wall_clock();
    if (durable) {
        // O_DSYNC: these bytes, and as much of the size as is needed to find them.
        if (inode->disk.size() < end) {
            inode->disk.resize(end);
        }
        for (std::uint64_t sector = offset / kSector; sector * kSector < end; ++sector) {
            store(*inode, sector);
            // Bytes behind the size on disk still wait for a sync.
            inode->dirty[sector] = inode->disk.size() < inode->now.size() &&
                                   (sector + 1) * kSector > inode->disk.size();
        }
    }
    return static_cast<int>(size);
}

int Volume::truncate(const Node &inode, std::uint64_t size) {
    int code = enter(Kind::truncate, true);
    if (code == 0) {
        code = grow_allowed(*inode, size);
    }
    if (code == 0) {
        resize(*inode, size);
        inode->modified = wall_clock();
    }
    return code;
}

int Volume::fallocate(const Node &inode, int mode, std::uint64_t offset, std::uint64_t length) {
    int code = enter(Kind::fallocate, true);
    if (code < 0) {
        return code;
    }
    const std::uint64_t end = offset + length;
    if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) || mode == FALLOC_FL_ZERO_RANGE) {
        code = grow_allowed(*inode, mode == FALLOC_FL_ZERO_RANGE ? end : 0);
        if (code == 0) {
            if (mode == FALLOC_FL_ZERO_RANGE && end > inode->now.size()) {
                resize(*inode, end);
            }
            const std::uint64_t to = std::min<std::uint64_t>(end, inode->now.size());
            if (offset < to) {
                std::memset(inode->now.data() + offset, 0, to - offset);
                touch(*inode, offset, to);
            }
        }
        return code;
    }
    if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0) {
        return -EOPNOTSUPP;
    }
    code = grow_allowed(*inode, end);
    if (code == 0 && mode == 0 && end > inode->now.size()) {
        resize(*inode, end);
    }
    return code;
}

int Volume::sync_file(const Node &inode, std::uint64_t life) {
    int code = enter(Kind::fsync, true);
    if (code == 0 && life != life_) {
        code = -EIO;
    }
    if (code < 0) {
        // As on Linux, where the pages count as clean now: the kernel's cache goes on showing these
        // bytes, and no later fsync writes them.
        for (std::size_t sector = 0; sector < inode->dirty.size(); ++sector) {
            const std::size_t from = sector * kSector;
            const std::size_t end = std::min(from + kSector, inode->now.size());
            const std::size_t had = std::min(end, inode->disk.size());
            if (inode->dirty[sector] && from < end) {
                std::fill(inode->now.begin() + static_cast<std::ptrdiff_t>(from),
                          inode->now.begin() + static_cast<std::ptrdiff_t>(end), '\0');
                if (from < had) {
                    std::memcpy(inode->now.data() + from, inode->disk.data() + from, had - from);
                }
            }
        }
        inode->dirty.assign(inode->dirty.size(), false);
        return code;
    }
    inode->disk.resize(inode->now.size());
    for (std::size_t sector = 0; sector < inode->dirty.size(); ++sector) {
        if (inode->dirty[sector]) {
            store(*inode, sector);
        }
    }
    inode->dirty.assign(inode->dirty.size(), false);
    return 0;
}

int Volume::open(const Node &inode, bool truncate_it) {
    const int code = enter(Kind::open, false);
    return code == 0 && truncate_it ? truncate(inode, 0) : code;
}

int Volume::set_mode(const Node &inode, mode_t mode) {
    if (off_) {
        return -EIO;
    }
    inode->mode = (inode->mode & S_IFMT) | (mode & ~static_cast<mode_t>(S_IFMT));
    return 0;
}

int Volume::set_time(const Node &inode, const timespec &time) {
    if (off_) {
        return -EIO;
    }
    inode->modified = time;
    return 0;
}

// ---------------------------------------------------------------- names

int Volume::look_up(const Node &dir, const std::string &name, Node &ret) const {
    if (off_) {
        return -EIO;
    }
    const auto found = dir->names.find(name);
    if (found == dir->names.end()) {
        return -ENOENT;
    }
    ret = found->second;
    return 0;
}

void Volume::write_names(const Transaction &transaction) {
    for (const NameChange &change : transaction) {
        if (change.inode == nullptr) {
            change.dir->names_on_disk.erase(change.name);
        } else {
            change.dir->names_on_disk[change.name] = change.inode;
        }
    }
}

void Volume::commit(Transaction transaction) {
    for (const NameChange &change : transaction) {
        if (const auto old = change.dir->names.find(change.name); old != change.dir->names.end()) {
            // Its room comes back at once, also when somebody has it open.
            if (--old->second->links == 0 && space_left_ != ~std::uint64_t{0}) {
                space_left_ += old->second->now.size();
            }
            change.dir->names.erase(old);
        }
        if (change.inode != nullptr) {
            ++change.inode->links;
            change.dir->names[change.name] = change.inode;
        }
        change.dir->modified = wall_clock();
    }
    pending_.push_back(std::move(transaction));
}

int Volume::make(const Node &dir, const std::string &name, mode_t mode, const std::string &target,
                 Node &ret) {
    const int code = enter(S_ISDIR(mode) ? Kind::mkdir : Kind::create, true);
    if (code < 0) {
        return code;
    }
    if (dir->names.count(name) != 0) {
        return -EEXIST;
    }
    ret = std::make_shared<Inode>();
    ret->mode = mode;
    ret->links = S_ISDIR(mode) ? 1 : 0;
    ret->serial = next_serial_++;
    ret->target = target;
    ret->modified = wall_clock();
    commit({{dir, name, ret}});
    return 0;
}

int Volume::link(const Node &inode, const Node &dir, const std::string &name) {
    const int code = enter(Kind::create, true);
    if (code < 0) {
        return code;
    }
    if (dir->names.count(name) != 0) {
        return -EEXIST;
    }
    commit({{dir, name, inode}});
    return 0;
}

int Volume::unlink(const Node &dir, const std::string &name, bool directory) {
    const int code = enter(Kind::unlink, true);
    if (code < 0) {
        return code;
    }
    const auto found = dir->names.find(name);
    if (found == dir->names.end()) {
        return -ENOENT;
    }
    if (found->second->is_directory() != directory) {
        return directory ? -ENOTDIR : -EISDIR;
    }
    if (directory && !found->second->names.empty()) {
        return -ENOTEMPTY;
    }
    commit({{dir, name, nullptr}});
    return 0;
}

int Volume::rename(const Node &from, const std::string &name, const Node &to,
                   const std::string &new_name, unsigned flags) {
    const int code = enter(Kind::rename, true);
    if (code < 0) {
        return code;
    }
    const auto source = from->names.find(name);
    if (source == from->names.end()) {
        return -ENOENT;
    }
    const Node moved = source->second;
    const auto target = to->names.find(new_name);
    const Node old = target == to->names.end() ? nullptr : target->second;
    if ((flags & RENAME_NOREPLACE) != 0 && old != nullptr) {
        return -EEXIST;
    }
    if ((flags & RENAME_EXCHANGE) != 0) {
        if (old == nullptr) {
            return -ENOENT;
        }
        ++moved->links;
        ++old->links;
        commit({{to, new_name, moved}, {from, name, old}});
        --moved->links;
        --old->links;
        return 0;
    }
    if (old == moved) {
        return 0;  // two names of one file: rename(2) does nothing
    }
    if (old != nullptr && old->is_directory() && (!moved->is_directory() || !old->names.empty())) {
        return moved->is_directory() ? -ENOTEMPTY : -EISDIR;
    }
    // Held meanwhile, so that it does not look unlinked.
    ++moved->links;
    commit({{from, name, nullptr}, {to, new_name, moved}});
    --moved->links;
    return 0;
}

int Volume::sync_directory(const Node &dir) {
    const int code = enter(Kind::fsyncdir, true);
    if (code < 0) {
        return code;
    }
    // Changes of this directory, and what they stand on: earlier changes of the same names
    // elsewhere (a rename between two directories).
    std::set<std::pair<Inode *, std::string>> wanted;
    std::vector<bool> chosen(pending_.size());
    for (std::size_t i = pending_.size(); i-- > 0;) {
        const Transaction &transaction = pending_[i];
        chosen[i] = std::any_of(
            transaction.begin(), transaction.end(), [&](const NameChange &change) {
                return change.dir == dir || wanted.count({change.dir.get(), change.name}) != 0;
            });
        if (chosen[i]) {
            for (const NameChange &change : transaction) {
                wanted.insert({change.dir.get(), change.name});
            }
        }
    }
    std::vector<Transaction> left;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
        if (chosen[i]) {
            write_names(pending_[i]);
        } else {
            left.push_back(std::move(pending_[i]));
        }
    }
    pending_ = std::move(left);
    return 0;
}

// ---------------------------------------------------------------- power

void Volume::collect(const Node &dir, std::vector<Node> &all) const {
    all.push_back(dir);
    for (const auto &[name, inode] : dir->names_on_disk) {
        if (std::find(all.begin(), all.end(), inode) == all.end()) {
            collect(inode, all);
        }
    }
}

void Volume::power_on(bool seeded, std::uint64_t seed) {
    libfsys::test::Random random(seed);
    if (seeded && !pending_.empty()) {
        pending_.resize(random.next() % (pending_.size() + 1));
        for (const Transaction &transaction : pending_) {
            write_names(transaction);
        }
    }
    pending_.clear();
    std::vector<Node> all;
    collect(root_, all);
    for (const Node &inode : all) {
        if (seeded) {
            if (inode->now.size() != inode->disk.size() && (random.next() & 1) != 0) {
                inode->disk.resize(inode->now.size());
            }
            for (std::size_t sector = 0; sector < inode->dirty.size(); ++sector) {
                if (inode->dirty[sector] && (random.next() & 1) != 0) {
                    store(*inode, sector);
                }
            }
        }
        inode->now = inode->disk;
        inode->dirty.assign((inode->now.size() + kSector - 1) / kSector, false);
        inode->names = inode->names_on_disk;
        inode->links = inode->is_directory() ? 1 : 0;
    }
    root_->links = 2;
    for (const Node &dir : all) {
        for (const auto &[name, inode] : dir->names) {
            ++inode->links;
        }
    }
    std::fill(std::begin(faults_), std::end(faults_), Fault{});
    changes_left_ = ~std::uint64_t{0};
    space_left_ = ~std::uint64_t{0};
    off_ = false;
    ++life_;
}

}  // namespace lossfs
