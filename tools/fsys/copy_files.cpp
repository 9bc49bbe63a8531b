// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Copies the regular files of a plan. Every worker takes pieces from one list. Small files go in
// groups: all reads as one batch, then all writes, then all syncs, each batch executed by the
// worker that waits for it. Big files go in segments that several workers may share; within one, a
// worker keeps `depth` blocks in flight, some being read while others are being written.
#include "copy.hpp"
#include "copy_target.hpp"
#include "units.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

namespace cli {

namespace {

// A big file while its segments are being worked on.
struct Shared {
    std::mutex mutex;
    std::unique_ptr<OpenPair> pair;  // opened by the first worker that comes
    std::atomic<std::uint64_t> segments_left{0};
    std::atomic<bool> grown{false};  // its last block came back full
};

// A block in flight.
struct Slot {
    std::byte *buffer;
    std::uint64_t offset;
    std::size_t length;
    bool writing;
};

class FileCopier {
public:
    FileCopier(Engine &engine, const CopyOptions &options, const CopyPlan &plan)
        : engine_(engine), options_(options), plan_(plan)
    {
        // Big enough that opening costs nothing, small enough that threads end together.
        const std::uint64_t segment = std::max<std::uint64_t>(
            options.depth * std::uint64_t{4}, (std::uint64_t{32} << 20) / options.block);
        pieces_ = cut_in_pieces(plan.tree, options.block, std::min(options.depth, options.group_files),
                                segment);
        for (const Piece &piece : pieces_) {
            if (piece.blocks != 0) {
                ++shared_[piece.entries[0]].segments_left;
            }
        }
    }

    std::uint64_t run(Progress &progress)
    {
        const auto threads = static_cast<std::uint32_t>(
            std::min<std::size_t>(options_.threads, std::max<std::size_t>(pieces_.size(), 1)));
        try {
            crew_.run(threads, progress, [this](std::uint32_t) { work(); });
        } catch (Interrupted &stop) {
            stop.text = fmt::format("{} of {} files were copied, no partial file is left",
                                    human_count(crew_.files), human_count(plan_.tree.files));
            throw;
        }
        return crew_.bytes;
    }

private:
    void work()
    {
        const Buffer memory(engine_, options_.block * options_.depth);
        while (!crew_.stopping()) {
            const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= pieces_.size()) {
                return;
            }
            const Piece &piece = pieces_[index];
            if (piece.blocks == 0) {
                copy_group(piece, memory.data());
            } else {
                copy_segment(piece, memory.data());
            }
        }
    }

    void copy_group(const Piece &piece, std::byte *memory)
    {
        std::vector<std::unique_ptr<OpenPair>> pairs;
        std::vector<fsys_request> requests;
        for (const std::size_t index : piece.entries) {
            const Entry &entry = plan_.tree.entries[index];
            pairs.push_back(std::make_unique<OpenPair>(engine_, options_, plan_, entry));
            // One byte more than it should have, to see whether it has grown; whole pages, so that
            // O_DIRECT is content.
            const std::uint64_t wanted = (entry.size + 1 + 4095) / 4096 * 4096;
            fsys_request request{};
            request.opcode = FSYS_OP_READ;
            request.flags = FSYS_WAIT_SOON | (options_.direct ? 0u : FSYS_PARTIAL);
            request.file = pairs.back()->source();
            request.buffer = memory + requests.size() * options_.block;
            request.length = std::min(wanted, options_.block);
            requests.push_back(request);
        }
        std::vector<fsys_result> results;
        run_batch(engine_, requests, results);

        std::vector<std::pair<std::size_t, std::uint64_t>> lengths;  // pair, bytes read
        std::vector<fsys_request> writes;
        for (std::size_t at = 0; at < pairs.size(); ++at) {
            const std::int64_t got = complete_read(pairs[at]->source(), requests[at],
                                                   results[at].result, pairs[at]->entry().size);
            check_read(*pairs[at], got, pairs[at]->entry().size, 0);
            if (got > 0) {
                fsys_request request = requests[at];
                request.opcode = FSYS_OP_WRITE;
                request.flags = FSYS_WAIT_SOON;
                request.file = pairs[at]->target();
                request.length = pad(*pairs[at], static_cast<std::byte *>(request.buffer),
                                     static_cast<std::size_t>(got));
                writes.push_back(request);
                lengths.emplace_back(at, static_cast<std::uint64_t>(got));
            }
        }
        run_batch(engine_, writes, results);
        for (std::size_t at = 0; at < writes.size(); ++at) {
            OpenPair &pair = *pairs[lengths[at].first];
            check_written(pair, results[at], writes[at].length, 0);
            pair.written(lengths[at].second);
            crew_.bytes.fetch_add(lengths[at].second, std::memory_order_relaxed);
        }
        // A read that filled its whole request has not seen the end of the file.
        for (const auto &[at, length] : lengths) {
            if (length == requests[at].length) {
                const std::uint64_t unit = requests[at].length;
                crew_.bytes += pairs[at]->copy_tail(static_cast<std::byte *>(requests[at].buffer),
                                                    unit, unit);
            }
        }

        for (const auto &pair : pairs) {
            pair->set_attributes();
        }
        if (options_.durable) {
            std::vector<fsys_request> syncs;
            for (const auto &pair : pairs) {
                fsys_request request{};
                request.opcode = FSYS_OP_SYNC;
                request.flags = FSYS_WAIT_SOON;
                request.file = pair->target();
                syncs.push_back(request);
            }
            run_batch(engine_, syncs, results);
            for (std::size_t at = 0; at < pairs.size(); ++at) {
                check_synced(*pairs[at], results[at].result);
            }
        }
        for (const auto &pair : pairs) {
            pair->publish();
            crew_.files.fetch_add(1, std::memory_order_relaxed);
        }
    }

    void copy_segment(const Piece &piece, std::byte *memory)
    {
        Shared &shared = shared_.at(piece.entries[0]);
        OpenPair *pair = nullptr;
        {
            const std::lock_guard lock(shared.mutex);
            if (shared.pair == nullptr) {
                shared.pair = std::make_unique<OpenPair>(engine_, options_, plan_,
                                                         plan_.tree.entries[piece.entries[0]]);
            }
            pair = shared.pair.get();
        }
        pump(piece, *pair, shared, memory);
        // The last one out finishes: the decrement orders the other workers' writes before it.
        if (shared.segments_left.fetch_sub(1, std::memory_order_acq_rel) != 1 ||
            crew_.stopping()) {
            return;
        }
        if (shared.grown) {
            const std::uint64_t from = pair->end();
            crew_.bytes += pair->copy_tail(memory, options_.block, from);
        }
        pair->set_attributes();
        if (options_.durable) {
            check_synced(*pair, fsys_sync(pair->target(), 0));
        }
        pair->publish();
        crew_.files.fetch_add(1, std::memory_order_relaxed);
        shared.pair.reset();
    }

    // Keeps up to `depth` blocks of the segment in flight until all are written.
    void pump(const Piece &piece, OpenPair &pair, Shared &shared, std::byte *memory)
    {
        std::vector<Slot> slots(options_.depth);
        std::vector<fsys_op> ops(options_.depth, 0);
        std::vector<std::size_t> idle;
        for (std::size_t at = slots.size(); at-- > 0;) {
            slots[at].buffer = memory + at * options_.block;
            idle.push_back(at);
        }
        std::uint64_t next = piece.first;
        const std::uint64_t last = piece.first + piece.blocks;
        std::exception_ptr failure;
        // The buffers belong to the kernel until every completion has been taken, so a failure is
        // kept until then.
        const auto attempt = [&](auto &&step) {
            try {
                step();
            } catch (const Failure &) {
                if (failure == nullptr) {
                    failure = std::current_exception();
                }
            }
        };
        for (;;) {
            attempt([&] {
                while (failure == nullptr && !crew_.stopping() && !idle.empty() && next < last) {
                    Slot &slot = slots[idle.back()];
                    slot.offset = next * options_.block;
                    slot.length = options_.block;
                    slot.writing = false;
                    const int code = fsys_submit_read(pair.source(), slot.buffer, slot.length,
                                                      slot.offset, 0, 0, &ops[idle.back()]);
                    if (code != 0) {
                        throw Failure("cannot read", pair.source_path(), code,
                                      static_cast<std::int64_t>(slot.offset));
                    }
                    idle.pop_back();
                    ++next;
                }
            });
            if (idle.size() == slots.size()) {
                break;
            }
            std::uint32_t at = 0;
            fsys_result result{};
            check_wait(engine_, fsys_wait_any(engine_.handle(), ops.data(), options_.depth,
                                              FSYS_FOREVER, &at, &result));
            ops[at] = 0;
            bool more = false;
            attempt([&] {
                more = slots[at].writing ? finish_write(pair, slots[at], result)
                                         : start_write(pair, shared, slots[at], result,
                                                       failure == nullptr, ops[at]);
            });
            if (!more) {
                idle.push_back(at);
            }
        }
        if (failure != nullptr) {
            std::rethrow_exception(failure);
        }
    }

    // A block has been read: writes it. False when there is nothing to write.
    bool start_write(OpenPair &pair, Shared &shared, Slot &slot, const fsys_result &result,
                     bool wanted, fsys_op &op)
    {
        const std::uint64_t size = pair.entry().size;
        const std::uint64_t expected =
            slot.offset >= size ? 0 : std::min<std::uint64_t>(options_.block, size - slot.offset);
        check_read(pair, result.result, expected, slot.offset);
        slot.length = static_cast<std::size_t>(result.result);
        if (slot.length == 0 || !wanted || crew_.stopping()) {
            return false;
        }
        if (slot.length == options_.block && slot.offset + options_.block > size) {
            shared.grown = true;
        }
        slot.writing = true;
        const int code =
            fsys_submit_write(pair.target(), slot.buffer, pad(pair, slot.buffer, slot.length),
                              slot.offset, 0, 0, &op);
        if (code != 0) {
            throw Failure("cannot write", pair.target_path(), code,
                          static_cast<std::int64_t>(slot.offset));
        }
        return true;
    }

    bool finish_write(OpenPair &pair, Slot &slot, const fsys_result &result)
    {
        check_written(pair, result, pair.write_length(slot.length), slot.offset);
        pair.written(slot.offset + slot.length);
        crew_.bytes.fetch_add(slot.length, std::memory_order_relaxed);
        return false;
    }

    static std::size_t pad(const OpenPair &pair, std::byte *buffer, std::size_t length)
    {
        const std::size_t padded = pair.write_length(length);
        std::memset(buffer + length, 0, padded - length);
        return padded;
    }

    static void check_read(const OpenPair &pair, std::int64_t got, std::uint64_t expected,
                           std::uint64_t offset)
    {
        if (got < 0) {
            throw Failure("cannot read", pair.source_path(), static_cast<int>(got),
                          static_cast<std::int64_t>(offset));
        }
        const auto length = static_cast<std::uint64_t>(got);
        if (length < expected) {
            throw Failure("became shorter while it was being copied:", pair.source_path(), 0,
                          static_cast<std::int64_t>(offset + length));
        }
    }

    static void check_written(const OpenPair &pair, const fsys_result &result, std::uint64_t wanted,
                              std::uint64_t offset)
    {
        if (result.result < 0) {
            throw Failure("cannot write", pair.target_path(), static_cast<int>(result.result),
                          static_cast<std::int64_t>(offset + result.bytes_done));
        }
        if (static_cast<std::uint64_t>(result.result) != wanted) {
            throw Failure("wrote less than asked to", pair.target_path(), FSYS_E_SHORT,
                          static_cast<std::int64_t>(offset + result.bytes_done));
        }
    }

    static void check_synced(const OpenPair &pair, std::int64_t code)
    {
        if (code != 0) {
            throw Failure("cannot make durable", pair.target_path(), static_cast<int>(code));
        }
    }

    Engine &engine_;
    const CopyOptions &options_;
    const CopyPlan &plan_;
    Crew crew_;
    std::vector<Piece> pieces_;
    std::map<std::size_t, Shared> shared_;  // by entry; complete before the workers start
    std::atomic<std::size_t> next_{0};
};

}  // namespace

std::uint64_t copy_files(Engine &engine, const CopyOptions &options, const CopyPlan &plan,
                         Progress &progress)
{
    return FileCopier(engine, options, plan).run(progress);
}

}  // namespace cli
