// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Channel: the ops of one handle as futures of one event loop.
//
// Used by the thread of the loop alone. An op is put on a list; the loop's next turn submits the
// list and takes what was completed at once; the event descriptor brings the rest. So a thousand
// coroutines that each start a read cost no wake-up when the page cache has it and few otherwise,
// and a thousand commits cost one sync request.

#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "fsys/journal.h"
#include "many.hpp"

namespace binding {

class Channel {
public:
    /// @param create_future  makes an object with set_result() and set_exception()
    /// @param schedule  makes the loop call tick() soon
    Channel(const Handle &handle, py::object create_future, py::object schedule);
    ~Channel();
    Channel(const Channel &) = delete;

    py::object read(const py::object &owner, const File &file, size_t length, int64_t offset);
    py::object read_into(const py::object &owner, const File &file, const py::object &buffer,
                         int64_t offset);
    py::object write(const py::object &owner, const File &file, const py::object &buffer,
                     int64_t offset, bool durable);
    py::object sync(const py::object &owner, const File &file, bool data_only);
    py::object allocate(const py::object &owner, const File &file, int64_t offset, uint64_t length,
                        bool keep_size);
    py::object many(const py::object &owner, const File &file, Many many);
    py::object sync_journal(const py::object &owner, fsys_journal *journal, uint64_t lsn,
                            const py::object &name);

    /// A future for the number of the oldest sealed segment numbered above `after`. Those with the
    /// same `after` are one op. It keeps nothing alive, or a segment that never comes would: who waits
    /// does.
    py::object watch_sealed(fsys_journal *journal, uint64_t after, const py::object &name);
    /// Nobody waits for this future any more: its op is ended, if it has not ended and no other future
    /// needs it. What has not been submitted ends at once; the rest is asked to, and its memory stays
    /// until the completion. Looks at all entries.
    void cancel(const py::object &future);

    /// Submits what is listed and takes what is there.
    void tick();
    /// Takes what is there. Raises when the handle has failed: nothing more will come.
    void reap();
    /// Ops that are listed or in flight and will end by themselves: those of watch_sealed() not.
    size_t busy() const { return slab_.size() - free_.size() - watches_.size(); }
    /// Gives up: futures fail with E_CLOSED, memory stays with the engine until it is closed.
    void detach(int code);

private:
    /// Blocks of one read_many or write_many.
    struct Group {
        py::object future;
        Many many;
        std::vector<int64_t> results;
        size_t left;
        int64_t failure = 0;
        uint64_t failure_bytes = 0;
    };
    struct Waiter {
        py::object future;
        uint64_t lsn;
    };
    /// An op, from its listing to its completion. Its index is the op's user_data.
    struct Entry {
        py::object future;
        py::object owner;  // keeps the Python object, and so the loop's side, alive
        py::object name;
        Loan loan;
        Yield yield = Yield::kNothing;
        std::shared_ptr<Group> group;
        uint32_t block = 0;
        bool direct = false;
        fsys_request request{};
        fsys_journal *journal = nullptr;
        std::vector<Waiter> waiters;
        bool watch = false;  // for a segment to be sealed, above `after`
        uint64_t after = 0;
    };

    py::object start(const py::object &owner, const File &file, Yield yield, Loan loan,
                     const fsys_request &request);
    uint32_t take_entry();
    Entry release_entry(uint32_t index);
    void list(uint32_t index);
    static bool alone(const Entry &entry);
    int submit_run();
    void submit();
    void submit_journal(uint32_t index);
    void complete(uint32_t index, const fsys_result &result);
    void complete_group(Entry &entry, const fsys_result &result);
    void complete_journal(Entry &entry, int64_t code);
    void complete_watch(Entry &entry, int64_t result);
    void check_thread() const;

    EnginePtr engine_;
    py::object create_future_;
    py::object schedule_;
    unsigned long thread_;
    bool scheduled_ = false;
    bool dead_ = false;
    size_t in_flight_ = 0;
    std::deque<Entry> slab_;
    std::vector<uint32_t> free_;
    std::deque<uint32_t> listed_;
    std::vector<uint32_t> listed_journals_;
    std::vector<uint32_t> watches_;
    std::vector<fsys_request> batch_;
};

}  // namespace binding
