// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The threads of a copy or a verification: started and joined by the command's thread, which draws
// the progress bar meanwhile. The counters are theirs to add to and its to read.
#include "copy.hpp"
#include "interrupt.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <system_error>
#include <thread>
#include <utility>

namespace cli {

bool Crew::stopping() const noexcept
{
    return stop_.load(std::memory_order_relaxed) || interrupted() != 0;
}

void Crew::stop(std::exception_ptr failure)
{
    const std::lock_guard lock(mutex_);
    if (failure_ == nullptr) {
        failure_ = std::move(failure);
    }
    stop_.store(true, std::memory_order_relaxed);
}

void Crew::run(std::uint32_t threads, Progress &progress,
               const std::function<void(std::uint32_t)> &work)
{
    std::mutex mutex;
    std::condition_variable ended;
    std::uint32_t running = threads;
    std::vector<std::thread> crew;
    crew.reserve(threads);
    const auto body = [&](std::uint32_t index) {
        try {
            work(index);
        } catch (...) {
            stop(std::current_exception());
        }
        const std::lock_guard lock(mutex);
        if (--running == 0) {
            ended.notify_one();
        }
    };
    for (std::uint32_t index = 0; index < threads; ++index) {
        try {
            crew.emplace_back(body, index);
        } catch (const std::system_error &) {  // no more threads: those that run are joined
            stop(std::make_exception_ptr(Failure("cannot start a worker thread", "", -EAGAIN)));
            const std::lock_guard lock(mutex);
            --running;
        }
    }
    {
        std::unique_lock lock(mutex);
        while (running != 0) {
            ended.wait_for(lock, std::chrono::milliseconds(100));
            if (progress.shown() && running != 0) {
                progress.draw(bytes, files);
            }
        }
    }
    for (std::thread &thread : crew) {
        thread.join();
    }
    progress.draw(bytes, files, true);
    progress.clear();
    if (failure_ != nullptr) {
        std::rethrow_exception(failure_);
    }
    if (const int signal = interrupted(); signal != 0) {
        throw Interrupted{signal, ""};
    }
}

std::vector<Piece> cut_in_pieces(const Tree &tree, std::uint64_t block, std::uint32_t group_files,
                                 std::uint64_t segment_blocks)
{
    std::vector<Piece> pieces;
    Piece group;
    for (std::size_t index = 0; index < tree.entries.size(); ++index) {
        const Entry &entry = tree.entries[index];
        if (entry.kind != Entry::Kind::kFile) {
            continue;
        }
        if (entry.size < block) {
            group.entries.push_back(index);
            if (group.entries.size() == group_files) {
                pieces.push_back(std::exchange(group, Piece{}));
            }
            continue;
        }
        const std::uint64_t blocks = entry.size / block + 1;
        for (std::uint64_t first = 0; first < blocks; first += segment_blocks) {
            pieces.push_back(Piece{{index}, first, std::min(segment_blocks, blocks - first)});
        }
    }
    if (!group.entries.empty()) {
        pieces.push_back(std::move(group));
    }
    return pieces;
}

}  // namespace cli
