// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// File and directory operations of a journal, each in the order that a power loss at any point
// demands. Callers serialise (see store.hpp).

#include "journal/store.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#include "platform/planted.hpp"

namespace libfsys::journal {
namespace {

// On the stack: O_DIRECT asks for the alignment only.
struct HeaderBlock {
    alignas(4096) unsigned char bytes[kHeaderBlock];
};

// By number, then by position. Opening does this for every segment there is: as long as no number is
// missing or doubled, the place of each is known, and none is compared.
void order(std::vector<SegmentFile> &segments) {
    if (segments.empty()) {
        return;
    }
    const auto by_number = [](const SegmentFile &a, const SegmentFile &b) {
        return a.number < b.number;
    };
    const auto [least, most] = std::minmax_element(segments.begin(), segments.end(), by_number);
    const std::uint64_t first = least->number;
    bool complete = most->number - first == segments.size() - 1;
    for (std::size_t i = 0; complete && i < segments.size();) {
        SegmentFile &place = segments[segments[i].number - first];
        if (&place == &segments[i]) {
            ++i;
        } else if (place.number == segments[i].number) {
            complete = false;
        } else {
            std::swap(place, segments[i]);
        }
    }
    if (!complete) {
        std::sort(segments.begin(), segments.end(), [](const auto &a, const auto &b) {
            return a.number != b.number ? a.number < b.number : a.first_lsn < b.first_lsn;
        });
    }
}

}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t bytes) : size_((bytes + 4095) & ~std::size_t{4095}) {
    void *memory = std::aligned_alloc(4096, size_);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    std::memset(memory, 0, size_);
    memory_.reset(static_cast<unsigned char *>(memory));
}

void AlignedBuffer::Free::operator()(unsigned char *memory) const { std::free(memory); }

int Store::open_below(int root, const std::string &path) {
    constexpr int kFlags = O_RDONLY | O_DIRECTORY;
    return uninterrupted([&] {
        return root >= 0 ? sys_.open_beneath(root, path.c_str(), kFlags, 0)
                         : sys_.open(AT_FDCWD, path.c_str(), kFlags, 0);
    });
}

int Store::open_file(const char *name, int flags) {
    return uninterrupted([&] { return sys_.open(dir_.get(), name, flags, 0666); });
}

int Store::open_dir(const std::string &path, bool create, int root) {
    const auto make = [this](int in, const std::string &name) {
        return uninterrupted([&] { return sys_.mkdir(in, name.c_str(), 0777); });
    };
    int fd = open_below(root, path);
    if (fd == -ENOENT && create) {
        int made = -ENOENT;
        if (root < 0) {
            made = make(AT_FDCWD, path);
        } else {
            // mkdirat() has no way to be kept below a directory: the parent is opened so, and the
            // last name is made in it.
            const std::size_t last = path.find_last_not_of('/');
            const std::size_t slash = path.rfind('/', last);
            const std::string name = path.substr(slash + 1, last - slash);
            const Fd parent(sys_, open_below(root, slash == std::string::npos ? "."
                                                                              : path.substr(0, slash)));
            made = !parent ? parent.get() : make(parent.get(), name);
        }
        if (made < 0 && made != -EEXIST) {
            return made;
        }
        fd = open_below(root, path);
    }
    if (fd < 0) {
        return fd;
    }
    dir_ = Fd(sys_, fd);
    if (create) {
        // Also when it was there: an earlier creator may have lost power between mkdir and here.
        Fd parent(sys_, open_file("..", O_RDONLY | O_DIRECTORY));
        if (!parent) {
            return parent.get();
        }
        const int code = sync_file(sys_, parent.get(), false);
        // A parent that cannot be synced by this user (EACCES on open is caught above) or at all
        // (EINVAL on odd file systems) is an error: the name would not be durable.
        if (code < 0) {
            return code;
        }
    }
    return 0;
}

int Store::lock() {
    const int fd = open_file(kLockName, O_RDWR | O_CREAT);
    if (fd < 0) {
        return fd;
    }
    lock_ = Fd(sys_, fd);
    const int code = uninterrupted([&] { return sys_.lock_exclusive(fd); });
    if (code < 0) {
        lock_.reset();
    }
    return code;
}

int Store::writer_alive() {
    Fd fd(sys_, open_file(kLockName, O_RDONLY));
    return fd ? uninterrupted([&] { return sys_.lock_held(fd.get()); }) : 0;
}

int Store::list(Listing &ret) {
    const auto sort_in = [&ret](std::string_view name) {
        SegmentFile file;
        std::uint64_t spare = 0;
        if (parse_segment_name(name, file.first_lsn, file.number)) {
            ret.segments.push_back(file);
        } else if (parse_spare_name(name, spare)) {
            ret.spares.push_back(spare);
        } else if (name == kMarkName) {
            ret.mark = true;
        } else if (name == kPinsName) {
            ret.pins = true;
        } else if (!is_ours(name)) {
            ++ret.foreign;
            ret.foreign_name = name;
        }
    };
    const int code = uninterrupted([&] {
        ret = Listing{};
        return sys_.each_name(dir_.get(), sort_in);
    });
    order(ret.segments);
    std::sort(ret.spares.begin(), ret.spares.end());
    return code;
}

int Store::open_segment(const char *name, int flags, Fd &ret) {
    const int fd = open_file(name, flags);
    if (fd < 0) {
        return fd;
    }
    ret = Fd(sys_, fd);
    return 0;
}

int Store::read_header(const char *name, SegmentHeader &ret) {
    Fd fd;
    int code = open_segment(name, O_RDONLY | O_DIRECT, fd);
    if (code == -EINVAL) {
        code = open_segment(name, O_RDONLY, fd);
        if (code == 0) {
            sys_.advise(fd.get(), 0, kHeaderBlock, POSIX_FADV_DONTNEED);
        }
    }
    if (code < 0) {
        return code;
    }
    HeaderBlock block;
    std::size_t done = 0;
    code = read_fully(sys_, fd.get(), block.bytes, kHeaderBlock, 0, done);
    if (code < 0) {
        return code;
    }
    return done == kHeaderBlock && decode_segment_header(block.bytes, ret) ? 0 : -EBADMSG;
}

// ------------------------------------------------------------------ watermark

int Store::create_mark() {
    const int fd = open_file(kMarkName, O_RDWR | O_CREAT);
    if (fd < 0) {
        return fd;
    }
    mark_ = Fd(sys_, fd);
    const AlignedBuffer zeros(kMarkBytes);
    std::size_t done = 0;
    int code = write_fully(sys_, fd, zeros.data(), kMarkBytes, 0, 0, done);
    if (code == 0) {
        code = sync_file(sys_, fd, false);
    }
    return code == 0 ? sync_dir() : code;
}

int Store::open_mark(bool writable) {
    const int fd = open_file(kMarkName, writable ? O_RDWR : O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    mark_ = Fd(sys_, fd);
    return 0;
}

int Store::read_slots(Slot &ret) {
    // The cache may show bytes that a failed write-back lost.
    sys_.advise(mark_.get(), 0, 2 * kSlotStride, POSIX_FADV_DONTNEED);
    bool found = false;
    for (std::size_t i = 0; i < 2; ++i) {
        unsigned char sector[512];
        std::size_t done = 0;
        const int code =
            read_fully(sys_, mark_.get(), sector, sizeof sector, i * kSlotStride, done);
        if (code < 0) {
            return code;
        }
        Slot slot;
        if (done == sizeof sector && decode_slot(sector, slot) &&
            (!found || slot.sequence > ret.sequence)) {
            ret = slot;
            found = true;
        }
    }
    return found ? 0 : -EBADMSG;
}

int Store::write_hot(const Slot &slot, bool durable) {
    unsigned char sector[512];
    encode_slot(slot, sector);
    std::size_t done = 0;
    const int code = write_fully(sys_, mark_.get(), sector, sizeof sector, 0, 0, done);
    return code == 0 && durable ? sync_file(sys_, mark_.get(), true) : code;
}

int Store::write_both(Slot &slot) {
    for (std::size_t i = 2; i-- > 0;) {
        ++slot.sequence;
        unsigned char sector[512];
        encode_slot(slot, sector);
        std::size_t done = 0;
        int code =
            write_fully(sys_, mark_.get(), sector, sizeof sector, i * kSlotStride, 0, done);
        if (code == 0) {
            code = sync_file(sys_, mark_.get(), true);
        }
        if (code < 0) {
            return code;
        }
    }
    return 0;
}

// ------------------------------------------------------------------- segments

int Store::make_spare(std::uint64_t id, std::uint64_t file_bytes, Fill fill) {
    const bool zero = fill == Fill::zeros;
    const FileName name = spare_name(id);
    Fd fd(sys_, open_file(name, O_RDWR | O_CREAT | O_TRUNC));
    if (!fd) {
        return fd.get();
    }
    // Space first: on a full disk this fails before anything is written. Not every file system
    // has it (EOPNOTSUPP); then the zeros themselves find out.
    int code = fill == Fill::sparse ? -EOPNOTSUPP : uninterrupted([&] {
        return sys_.fallocate(fd.get(), 0, 0, file_bytes);
    });
    if (code == -EOPNOTSUPP || code == -ENOSYS || code == -EINVAL) {
        code = zero ? 0 : resize(fd.get(), file_bytes);
    }
    if (code == 0 && zero) {
        const std::size_t piece = std::min<std::uint64_t>(file_bytes, std::size_t{1} << 20);
        const AlignedBuffer zeros(piece);
        for (std::uint64_t at = 0; code == 0 && at < file_bytes;) {
            const std::size_t n = std::min<std::uint64_t>(piece, file_bytes - at);
            std::size_t done = 0;
            code = write_fully(sys_, fd.get(), zeros.data(), n, at, 0, done);
            at += n;
        }
    }
    if (code == 0) {
        code = sync_file(sys_, fd.get(), false);
    }
    const int closed = fd.reset();
    if (code == 0 && closed < 0) {
        code = closed;
    }
    if (code < 0) {
        remove(name);
    }
    return code;
}

int Store::activate(std::uint64_t spare_id, int fd, SegmentHeader &header) {
    const FileName from = spare_name(spare_id);
    const FileName to = segment_name(header.first_lsn, header.number);
    HeaderBlock block;
    encode_segment_header(header, block.bytes);
    std::memcpy(&header.crc, block.bytes + offsetof(SegmentHeader, crc), sizeof header.crc);
    std::size_t done = 0;
    int code = write_fully(sys_, fd, block.bytes, kHeaderBlock, 0, 0, done);
    if (code == 0 && !planted(Bug::no_header_sync)) {
        code = sync_file(sys_, fd, true);
    }
    if (code == 0) {
        code = rename(from, to);
    }
    return code == 0 && !planted(Bug::no_directory_sync) ? sync_dir() : code;
}

int Store::cut_file(const char *name, std::uint64_t bytes) {
    Fd fd;
    int code = open_segment(name, O_RDWR, fd);
    if (code == 0) {
        code = resize(fd.get(), bytes);
    }
    return code == 0 ? sync_file(sys_, fd.get(), false) : code;
}

int Store::keep_aside(const char *segment, std::uint64_t from, std::uint64_t to,
                      const char *kept) {
    Fd in;
    int code = open_segment(segment, O_RDONLY, in);
    if (code < 0) {
        return code;
    }
    Fd out(sys_, open_file(kept, O_RDWR | O_CREAT | O_TRUNC));
    if (!out) {
        return out.get();
    }
    AlignedBuffer piece(std::min<std::uint64_t>(to - from, std::size_t{1} << 20));
    for (std::uint64_t at = from; at < to;) {
        const std::size_t want = std::min<std::uint64_t>(piece.size(), to - at);
        std::size_t got = 0;
        code = read_fully(sys_, in.get(), piece.data(), want, at, got);
        if (code < 0) {
            return code;
        }
        if (got == 0) {
            break;
        }
        std::size_t done = 0;
        code = write_fully(sys_, out.get(), piece.data(), got, at - from, 0, done);
        if (code < 0) {
            return code;
        }
        at += got;
    }
    code = sync_file(sys_, out.get(), false);
    return code == 0 ? sync_dir() : code;
}

int Store::write_small(const char *name, const char *temp, const std::string &text) {
    Fd fd(sys_, open_file(temp, O_RDWR | O_CREAT | O_TRUNC));
    if (!fd) {
        return fd.get();
    }
    std::size_t done = 0;
    int code = write_fully(sys_, fd.get(), text.data(), text.size(), 0, 0, done);
    if (code == 0) {
        code = sync_file(sys_, fd.get(), false);
    }
    if (code == 0) {
        code = rename(temp, name);
    }
    return code == 0 ? sync_dir() : code;
}

int Store::read_small(const char *name, std::string &ret) {
    Fd fd(sys_, open_file(name, O_RDONLY));
    if (!fd) {
        return fd.get();
    }
    ret.clear();
    for (;;) {
        char piece[4096];
        std::size_t done = 0;
        const int code = read_fully(sys_, fd.get(), piece, sizeof piece, ret.size(), done);
        if (code < 0) {
            return code;
        }
        ret.append(piece, done);
        if (done < sizeof piece) {
            return 0;
        }
    }
}

}  // namespace libfsys::journal
