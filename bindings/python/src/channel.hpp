// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Channel: the ops of one handle as futures of one event loop.
//
// Used by the thread of the loop alone. A small read is tried in the page cache at once: its future is
// then done before anybody awaits it. Any other op is put on a list; the loop's next turn submits the
// list, and the event descriptor brings the completions. So a thousand coroutines that each start a
// read cost no turn of the loop when the page cache has it and few otherwise, and a thousand commits
// cost one sync request.

#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "fsys/journal.h"
#include "future.hpp"
#include "many.hpp"

namespace binding {

class Channel {
public:
    /// @param create_future  makes an object with set_result() and set_exception(); None: futures are
    ///        our own, of `loop`
    /// @param schedule  makes the loop call tick() soon
    Channel(const Handle &handle, py::object create_future, py::object schedule, py::object loop);
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

    /// Submits what is listed, takes what is there, calls back. From the loop itself, where no task is
    /// current; so reap().
    void tick();
    /// Takes what is there and calls back. Raises when the handle has failed: nothing more will come.
    void reap();
    /// For futures of our own: its callbacks are called in the loop's next turn.
    void call_back(Future *future);
    /// Asked by who awaits what was done at once: whether it is time to let other tasks run, without
    /// which a loop over cached reads would keep the thread.
    bool is_others_turn();
    py::object loop() const { return loop_; }
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
        bool tried = false;  // the page cache did not have it
        fsys_request request{};
        fsys_journal *journal = nullptr;
        std::vector<Waiter> waiters;
        bool watch = false;  // for a segment to be sealed, above `after`
        uint64_t after = 0;
    };

    py::object create_future();
    py::object start(const py::object &owner, const File &file, Yield yield, Loan loan,
                     const fsys_request &request);
    // Something is listed that a read should not be answered before.
    bool must_not_overtake() const { return ordered_ && !listed_.empty(); }
    int64_t read_at_once(const File &file, const fsys_request &request);
    py::object done(const py::object &value);
    void take();
    void run_callbacks();
    void schedule();
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
    py::object loop_;
    PyObject *self_ = nullptr;  // what Python has of this; borrowed
    unsigned long thread_;
    bool scheduled_ = false;
    bool debug_ = false;     // the loop's, as of its last turn
    bool ordered_ = false;   // since something was listed that is no read
    unsigned at_once_ = 0;   // awaited since others had a turn
    std::deque<py::object> due_;  // futures whose callbacks are to be called
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
