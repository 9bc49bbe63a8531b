// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Compares the regular files of a plan, byte by byte. Every worker takes pieces from one list and
// reads both sides of several blocks as one batch that it executes itself; the workers overlap.
#include "copy.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace cli {

namespace {

struct Sides {
    Sides(Engine &engine, const CopyOptions &options, const CopyPlan &plan, const Entry &entry)
        : source_path(plan.source_path(entry)), target_path(plan.target_path(entry))
    {
        const int follow = plan.is_tree ? O_NOFOLLOW : 0;
        source = open(engine, options, plan.source_root.get(), entry.name, source_path, follow);
        target = open(engine, options, plan.target_root.get(), plan.name_in_target(entry),
                      target_path, follow);
    }

    static File open(Engine &engine, const CopyOptions &options, int root, const std::string &name,
                     const std::string &path, int follow)
    {
        const int direct = options.direct ? O_DIRECT : 0;
        const int fd = open_below(root, name, O_RDONLY | O_NONBLOCK | follow | direct);
        if (fd < 0) {
            throw Failure("verification: cannot open", path, fd);
        }
        const Fd owned(fd);
        if (options.durable) {
            // Synced pages may be dropped: the comparison then reads what the device holds.
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        }
        return File::from_fd(engine, fd, path);
    }

    std::string source_path;
    std::string target_path;
    File source;
    File target;
};

class FileVerifier {
public:
    FileVerifier(Engine &engine, const CopyOptions &options, const CopyPlan &plan)
        : engine_(engine),
          options_(options),
          plan_(plan),
          per_batch_(std::clamp(options.depth / 2, 1u, options.group_files))
    {
        const std::uint64_t segment = std::max<std::uint64_t>(
            per_batch_ * std::uint64_t{4}, (std::uint64_t{32} << 20) / options.block);
        pieces_ = cut_in_pieces(plan.tree, options.block, per_batch_, segment);
    }

    void run(Progress &progress)
    {
        const auto threads = static_cast<std::uint32_t>(
            std::min<std::size_t>(options_.threads, std::max<std::size_t>(pieces_.size(), 1)));
        try {
            crew_.run(threads, progress, [this](std::uint32_t) { work(); });
        } catch (Interrupted &stop) {
            stop.text = "not verified to the end";
            throw;
        }
    }

private:
    void work()
    {
        const Buffer memory(engine_, options_.block * per_batch_ * 2);
        while (!crew_.stopping()) {
            const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= pieces_.size()) {
                return;
            }
            const Piece &piece = pieces_[index];
            std::vector<std::unique_ptr<Sides>> files;
            for (const std::size_t entry : piece.entries) {
                files.push_back(std::make_unique<Sides>(engine_, options_, plan_,
                                                        plan_.tree.entries[entry]));
            }
            if (piece.blocks == 0) {
                std::vector<Block> blocks;
                for (std::size_t at = 0; at < files.size(); ++at) {
                    const std::uint64_t size = plan_.tree.entries[piece.entries[at]].size;
                    // A byte more than there should be, in whole pages for O_DIRECT.
                    blocks.push_back({files[at].get(), 0,
                                      std::min((size + 1 + 4095) / 4096 * 4096, options_.block),
                                      size, true});
                }
                compare(blocks, memory.data());
                crew_.files += files.size();
                continue;
            }
            const std::uint64_t size = plan_.tree.entries[piece.entries[0]].size;
            const std::uint64_t end = piece.first + piece.blocks;
            for (std::uint64_t first = piece.first; first < end && !crew_.stopping();
                 first += per_batch_) {
                std::vector<Block> blocks;
                for (std::uint64_t block = first; block < std::min(end, first + per_batch_);
                     ++block) {
                    const std::uint64_t offset = block * options_.block;
                    blocks.push_back({files[0].get(), offset, options_.block,
                                      std::min(options_.block, size - offset),
                                      block == size / options_.block});
                }
                compare(blocks, memory.data());
            }
            if (end == size / options_.block + 1) {
                crew_.files.fetch_add(1, std::memory_order_relaxed);
            }
        }
    }

    struct Block {
        Sides *sides;
        std::uint64_t offset;
        std::uint64_t length;
        std::uint64_t expected;  // of it, by the listed size
        bool last;  // the end of the file is expected in it
    };

    void compare(const std::vector<Block> &blocks, std::byte *memory)
    {
        std::vector<fsys_request> requests;
        for (const Block &block : blocks) {
            for (const File *file : {&block.sides->source, &block.sides->target}) {
                fsys_request request{};
                request.opcode = FSYS_OP_READ;
                request.flags =
                    FSYS_WAIT_SOON | (block.last && !options_.direct ? FSYS_PARTIAL : 0u);
                request.file = file->get();
                request.buffer = memory + requests.size() * options_.block;
                request.length = block.length;
                request.offset = block.offset;
                requests.push_back(request);
            }
        }
        std::vector<fsys_result> results;
        run_batch(engine_, requests, results);
        for (std::size_t at = 0; at < blocks.size(); ++at) {
            const Block &block = blocks[at];
            const fsys_request &source = requests[2 * at];
            const fsys_request &target = requests[2 * at + 1];
            auto *left = static_cast<std::byte *>(source.buffer);
            auto *right = static_cast<std::byte *>(target.buffer);
            const std::int64_t got_left = complete_read(
                source.file, source, results[2 * at].result, block.expected);
            const std::int64_t got_right = complete_read(
                target.file, target, results[2 * at + 1].result, block.expected);
            const std::uint64_t length = compare_bytes(*block.sides, left, got_left, right,
                                                       got_right, block.offset);
            crew_.bytes.fetch_add(length, std::memory_order_relaxed);
            if (block.last && length == block.length) {
                compare_tail(*block.sides, left, right, block.offset + block.length,
                             block.length);
            }
        }
    }

    // Both sides go on beyond the size that was listed: the source has grown, before the copy.
    void compare_tail(const Sides &sides, std::byte *left, std::byte *right, std::uint64_t offset,
                      std::uint64_t block)
    {
        for (std::uint64_t length = block; length == block; offset += length) {
            const std::int64_t got_left = fsys_read(sides.source.get(), left, block, offset, 0);
            const std::int64_t got_right = fsys_read(sides.target.get(), right, block, offset, 0);
            length = compare_bytes(sides, left, got_left, right, got_right, offset);
            crew_.bytes.fetch_add(length, std::memory_order_relaxed);
        }
    }

    static std::uint64_t compare_bytes(const Sides &sides, const std::byte *left,
                                       std::int64_t got_left, const std::byte *right,
                                       std::int64_t got_right, std::uint64_t offset)
    {
        if (got_left < 0) {
            throw Failure("verification: cannot read", sides.source_path,
                          static_cast<int>(got_left), static_cast<std::int64_t>(offset));
        }
        if (got_right < 0) {
            throw Failure("verification: cannot read", sides.target_path,
                          static_cast<int>(got_right), static_cast<std::int64_t>(offset));
        }
        const auto common = static_cast<std::size_t>(std::min(got_left, got_right));
        if (std::memcmp(left, right, common) != 0) {
            const auto different = std::mismatch(left, left + common, right).first - left;
            throw Failure("verification: differs:", sides.target_path, FSYS_E_MISMATCH,
                          static_cast<std::int64_t>(offset) + different)
                .hint(fmt::format("it is {:#04x} here and {:#04x} in '{}'",
                                  static_cast<unsigned>(right[different]),
                                  static_cast<unsigned>(left[different]),
                                  printable(sides.source_path)));
        }
        if (got_left != got_right) {
            throw Failure("verification: differs:", sides.target_path, FSYS_E_MISMATCH,
                          static_cast<std::int64_t>(offset + common))
                .hint(fmt::format("the {} ends there, '{}' goes on",
                                  got_right < got_left ? "copy" : "source",
                                  printable(got_right < got_left ? sides.source_path
                                                                 : sides.target_path)));
        }
        return common;
    }

    Engine &engine_;
    const CopyOptions &options_;
    const CopyPlan &plan_;
    std::uint32_t per_batch_;  // blocks, of each side
    Crew crew_;
    std::vector<Piece> pieces_;
    std::atomic<std::size_t> next_{0};
};

}  // namespace

void verify_files(Engine &engine, const CopyOptions &options, const CopyPlan &plan,
                  Progress &progress)
{
    for (const Entry &entry : plan.tree.entries) {
        if (entry.kind == Entry::Kind::kSymlink &&
            read_link(plan.source_root.get(), entry.name, plan.source_path(entry)) !=
                read_link(plan.target_root.get(), entry.name, plan.target_path(entry))) {
            throw Failure("verification: differs: the target of symbolic link",
                          plan.target_path(entry), FSYS_E_MISMATCH);
        }
        if (entry.kind == Entry::Kind::kDirectory) {
            const Fd directory(open_below(plan.target_root.get(), entry.name,
                                          O_PATH | O_DIRECTORY | O_NOFOLLOW));
            if (!directory.valid()) {
                throw Failure("verification: no such directory:", plan.target_path(entry));
            }
        }
    }
    FileVerifier(engine, options, plan).run(progress);
}

}  // namespace cli
