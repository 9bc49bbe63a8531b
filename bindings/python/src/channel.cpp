// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Channel, see channel.hpp. One thread, under the GIL throughout: nothing here blocks.
//
// Completing an entry may run foreign code (the exporter of a buffer, the future), which may come
// back in: entries are therefore taken out of the slab before anything of theirs is released.

#include "channel.hpp"

#include <algorithm>
#include <cerrno>

#include "journal.hpp"

namespace binding {
namespace {

// A cancelled future refuses: the result is then nobody's.
void settle(const py::object &future, Future::State state, const char *method,
            const py::object &value) {
    if (Future *const own = own_future(future)) {
        own->settle(state, value.ptr());
        return;
    }
    PyObject *const name = PyUnicode_InternFromString(method);
    PyObject *const answer =
        name == nullptr ? nullptr : PyObject_CallMethodOneArg(future.ptr(), name, value.ptr());
    Py_XDECREF(name);
    if (answer == nullptr) {
        PyErr_Clear();
    }
    Py_XDECREF(answer);
}

void succeed(const py::object &future, const py::object &value) {
    settle(future, Future::kValue, "set_result", value);
}

void fail_future(const py::object &future, int64_t code, const py::object &name,
                 uint64_t bytes_done = 0) {
    settle(future, Future::kError, "set_exception", make_error(code, name, nullptr, bytes_done));
}

}  // namespace

Channel::Channel(const Handle &handle, py::object create_future, py::object schedule,
                 py::object loop)
    : engine_(handle.engine), create_future_(std::move(create_future)),
      schedule_(std::move(schedule)), loop_(std::move(loop)),
      thread_(PyThread_get_thread_ident()) {
    if (create_future_.is_none()) {
        debug_ = loop_.attr("get_debug")().cast<bool>();
    }
}

Channel::~Channel() {
    for (Entry &entry : slab_) {
        engine_->keep(std::move(entry.loan));
        if (entry.group) {
            engine_->keep(std::move(entry.group->many.loan));
        }
    }
}

void Channel::check_thread() const {
    if (PyThread_get_thread_ident() != thread_) {
        throw std::runtime_error("used outside the thread of its event loop; for another thread "
                                 "open a handle of its own");
    }
    if (engine_->closed() || dead_) {
        fail(FSYS_E_CLOSED, py::none());
    }
}

uint32_t Channel::take_entry() {
    if (free_.empty()) {
        slab_.emplace_back();
        return static_cast<uint32_t>(slab_.size() - 1);
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    return index;
}

Channel::Entry Channel::release_entry(uint32_t index) {
    Entry entry = std::move(slab_[index]);
    slab_[index] = Entry();
    free_.push_back(index);
    return entry;
}

void Channel::schedule() {
    if (!scheduled_) {
        scheduled_ = true;
        schedule_();
    }
}

void Channel::list(uint32_t index) {
    ordered_ = must_not_overtake() || slab_[index].request.opcode != FSYS_OP_READ;
    listed_.push_back(index);
    schedule();
}

py::object Channel::create_future() {
    if (!create_future_.is_none()) {
        return create_future_();
    }
    if (self_ == nullptr) {
        self_ = py::cast(this).ptr();
    }
    Future *const future = new_future(self_, this);
    py::object object = py::reinterpret_steal<py::object>(future->object());
    if (debug_) {
        const py::object frame = py::module_::import("sys").attr("_getframe")(0);
        future->traceback = py::module_::import("asyncio.format_helpers")
                                .attr("extract_stack")(frame)
                                .release()
                                .ptr();
    }
    return object;
}

py::object Channel::start(const py::object &owner, const File &file, Yield yield, Loan loan,
                          const fsys_request &request) {
    check_thread();
    for (View &view : loan.views) {
        view.pin();
    }
    py::object future = create_future();
    const uint32_t index = take_entry();
    Entry &entry = slab_[index];
    entry.future = future;
    entry.owner = owner;
    entry.name = file.name();
    entry.loan = std::move(loan);
    entry.yield = yield;
    entry.direct = file.direct();
    entry.tried = request.opcode == FSYS_OP_READ && !must_not_overtake();
    entry.request = request;
    entry.request.file = file.get();
    entry.request.flags |= FSYS_NONBLOCK;
    entry.request.user_data = index;
    list(index);
    return future;
}

// A future that is done when it is returned.
py::object Channel::done(const py::object &value) {
    py::object future = create_future();
    succeed(future, value);
    if (Future *const own = own_future(future)) {
        own->at_once = true;
    }
    return future;
}

bool Channel::is_others_turn() {
    constexpr unsigned kMost = 32;
    if (++at_once_ < kMost) {
        return false;
    }
    at_once_ = 0;
    return true;
}

// From the page cache; -EAGAIN: it goes the usual way.
int64_t Channel::read_at_once(const File &file, const fsys_request &request) {
    constexpr uint64_t kMost = 64 * 1024;  // copying more takes longer than a turn of the loop
    check_thread();
    if (must_not_overtake() || file.direct() || file.may_block() || request.length == 0 ||
        request.length > kMost) {
        return -EAGAIN;
    }
    const int64_t count =
        fsys_read(file.get(), request.buffer, request.length, request.offset, FSYS_CACHED);
    return count >= 0 ? count : -EAGAIN;  // the future is what failures are for
}

py::object Channel::read(const py::object &owner, const File &file, size_t length,
                         int64_t offset) {
    Loan loan;
    fsys_request request{};
    request.opcode = FSYS_OP_READ;
    loan.bytes = new_bytes(length, &request.buffer);
    request.length = length;
    request.offset = static_cast<uint64_t>(offset);
    const int64_t count = read_at_once(file, request);
    if (count >= 0) {
        return done(value_of(Yield::kBytes, count, loan, 0));
    }
    return start(owner, file, Yield::kBytes, std::move(loan), request);
}

py::object Channel::read_into(const py::object &owner, const File &file, const py::object &buffer,
                              int64_t offset) {
    Loan loan;
    const View &view = loan.views.emplace_back(buffer, View::kWrite);
    fsys_request request{};
    request.opcode = FSYS_OP_READ;
    request.buffer = view.data();
    request.length = view.size();
    request.offset = static_cast<uint64_t>(offset);
    const int64_t count = read_at_once(file, request);
    if (count >= 0) {
        return done(py::int_(count));
    }
    return start(owner, file, Yield::kCount, std::move(loan), request);
}

py::object Channel::write(const py::object &owner, const File &file, const py::object &buffer,
                          int64_t offset, bool durable) {
    Loan loan;
    const View &view = loan.views.emplace_back(buffer, View::kRead);
    fsys_request request{};
    request.opcode = FSYS_OP_WRITE;
    request.flags = durable ? FSYS_DURABLE : 0;
    request.buffer = view.data();
    request.length = view.size();
    request.offset = static_cast<uint64_t>(offset);
    return start(owner, file, Yield::kCount, std::move(loan), request);
}

py::object Channel::sync(const py::object &owner, const File &file, bool data_only) {
    fsys_request request{};
    request.opcode = FSYS_OP_SYNC;
    request.flags = data_only ? FSYS_SYNC_DATA : 0;
    return start(owner, file, Yield::kNothing, {}, request);
}

py::object Channel::allocate(const py::object &owner, const File &file, int64_t offset,
                             uint64_t length, bool keep_size) {
    fsys_request request{};
    request.opcode = FSYS_OP_ALLOCATE;
    request.flags = keep_size ? FSYS_KEEP_SIZE : 0;
    request.offset = static_cast<uint64_t>(offset);
    request.length = length;
    return start(owner, file, Yield::kNothing, {}, request);
}

py::object Channel::many(const py::object &owner, const File &file, Many many) {
    check_thread();
    if (file.may_block()) {
        throw py::value_error("a pipe, socket or terminal has no blocks");
    }
    auto group = std::make_shared<Group>();
    group->future = create_future();
    group->many = std::move(many);
    const std::vector<fsys_request> &requests = group->many.requests;
    group->results.resize(requests.size());
    group->left = requests.size();
    if (requests.empty()) {
        succeed(group->future, py::list());
    }
    for (uint32_t i = 0; i < requests.size(); ++i) {
        const uint32_t index = take_entry();
        Entry &entry = slab_[index];
        entry.owner = owner;
        entry.name = file.name();
        entry.group = group;
        entry.block = i;
        entry.direct = file.direct();
        entry.request = requests[i];
        entry.request.flags |= FSYS_NONBLOCK;
        entry.request.user_data = index;
        list(index);
    }
    return group->future;
}

py::object Channel::sync_journal(const py::object &owner, fsys_journal *journal, uint64_t lsn,
                                 const py::object &name) {
    check_thread();
    py::object future = create_future();
    for (const uint32_t index : listed_journals_) {
        if (slab_[index].journal == journal) {
            slab_[index].waiters.push_back({future, lsn});
            return future;
        }
    }
    const uint32_t index = take_entry();
    Entry &entry = slab_[index];
    entry.owner = owner;
    entry.name = name;
    entry.journal = journal;
    entry.waiters.push_back({future, lsn});
    listed_journals_.push_back(index);
    list(index);
    return future;
}

py::object Channel::watch_sealed(fsys_journal *journal, uint64_t after, const py::object &name) {
    check_thread();
    py::object future = create_future();
    for (const uint32_t index : watches_) {
        if (slab_[index].journal == journal && slab_[index].after == after) {
            slab_[index].waiters.push_back({future, 0});
            return future;
        }
    }
    const uint32_t index = take_entry();
    Entry &entry = slab_[index];
    entry.name = name;
    entry.journal = journal;
    entry.watch = true;
    entry.after = after;
    entry.waiters.push_back({future, 0});
    watches_.push_back(index);
    list(index);
    return future;
}

void Channel::cancel(const py::object &future) {
    if (engine_->closed() || dead_ || PyThread_get_thread_ident() != thread_) {
        return;
    }
    std::vector<uint32_t> unsent;
    bool waited = false;
    for (uint32_t index = 0; index < slab_.size(); ++index) {
        Entry &entry = slab_[index];
        const bool group = entry.group && entry.group->future.is(future);
        if (!group && !(entry.future && entry.future.is(future))) {
            if (std::erase_if(entry.waiters, [&](const Waiter &waiter) {
                    return waiter.future.is(future);
                }) == 0) {
                continue;
            }
            waited = true;
            if (!entry.waiters.empty()) {
                continue;  // others wait for the same
            }
        }
        if (std::erase(listed_, index) != 0) {
            std::erase(listed_journals_, index);
            unsent.push_back(index);
        } else if (!group) {
            // Blocks of files, which a group has, end soon by themselves.
            fsys_cancel_queued(engine_->handle(), index);
        }
        // It will end: nobody may join it any more.
        std::erase(watches_, index);
    }
    fsys_result result{};
    result.result = -ECANCELED;
    in_flight_ += unsent.size();
    for (const uint32_t index : unsent) {
        complete(index, result);
    }
    if (waited) {
        // No completion will: trio's may be awaited again.
        fail_future(future, -ECANCELED, py::none());
    }
}

// ------------------------------------------------------------------ submit

void Channel::submit_journal(uint32_t index) {
    std::erase(listed_journals_, index);
    Entry &entry = slab_[index];
    uint64_t last = 0;
    for (const Waiter &waiter : entry.waiters) {
        last = std::max(last, waiter.lsn);
    }
    const int code = entry.watch
        ? fsys_journal_submit_sealed(entry.journal, entry.after, index, nullptr)
        : fsys_journal_submit_sync(entry.journal, last, index, nullptr);
    ++in_flight_;
    if (code != 0) {
        fsys_result result{};
        result.result = code;
        complete(index, result);
    }
}

// A small read alone is tried in the page cache first, which an array is not: a third of the cost.
bool Channel::alone(const Entry &entry) {
    constexpr uint64_t kCachedMost = 64 * 1024;
    return entry.request.opcode == FSYS_OP_READ && !entry.direct && !entry.tried &&
        entry.request.length <= kCachedMost;
}

// Submits what can go together at the head of the list. Returns as fsys_submit().
int Channel::submit_run() {
    const Entry &first = slab_[listed_.front()];
    if (alone(first)) {
        const fsys_request &r = first.request;
        const int code = fsys_submit_read(r.file, r.buffer, r.length, r.offset, r.flags,
                                          r.user_data, nullptr);
        return code == 0 ? 1 : code;
    }
    batch_.clear();
    const size_t most = std::min<size_t>(engine_->max_ops() - in_flight_, 1024);
    for (const uint32_t index : listed_) {
        const Entry &entry = slab_[index];
        if (batch_.size() == most || entry.journal != nullptr || alone(entry)) {
            break;
        }
        batch_.push_back(entry.request);
    }
    return fsys_submit(engine_->handle(), batch_.data(), static_cast<uint32_t>(batch_.size()),
                       nullptr);
}

void Channel::submit() {
    // In-flight ops never exceed the slots, so that no submit has to wait for one.
    while (!listed_.empty() && in_flight_ < engine_->max_ops()) {
        if (slab_[listed_.front()].journal != nullptr) {
            const uint32_t index = listed_.front();
            listed_.pop_front();
            submit_journal(index);
            continue;
        }
        const int code = submit_run();
        if (code == -EAGAIN && in_flight_ != 0) {
            return;  // a completion will bring us back
        }
        if (code > 0) {
            in_flight_ += static_cast<size_t>(code);
            listed_.erase(listed_.begin(), listed_.begin() + code);
        } else {
            // The first one was refused.
            fsys_result result{};
            result.result = code;
            const uint32_t index = listed_.front();
            listed_.pop_front();
            ++in_flight_;
            complete(index, result);
        }
    }
}

// ---------------------------------------------------------------- complete

void Channel::complete_group(Entry &entry, const fsys_result &result) {
    Group &group = *entry.group;
    group.results[entry.block] = result.result;
    if (result.result < 0 && group.failure == 0) {
        group.failure = result.result;
        group.failure_bytes = result.bytes_done;
    }
    if (--group.left != 0) {
        return;
    }
    group.many.loan.views.clear();
    if (group.failure != 0) {
        fail_future(group.future, group.failure, entry.name, group.failure_bytes);
        return;
    }
    if (group.many.loan.bytes) {
        for (size_t i = 0; i < group.results.size(); ++i) {
            group.many.cut(i, group.results[i]);
        }
        succeed(group.future, group.many.loan.bytes);
        return;
    }
    py::list counts;
    for (const int64_t count : group.results) {
        counts.append(count);
    }
    succeed(group.future, counts);
}

void Channel::complete_journal(Entry &entry, int64_t code) {
    for (const Waiter &waiter : entry.waiters) {
        // The sync was of the last LSN among them. When it failed, an earlier one may be durable
        // all the same, or have another fate: asked for one by one.
        const int64_t own =
            code == 0 ? 0 : fsys_journal_sync(entry.journal, waiter.lsn, 0);
        if (own == 0) {
            succeed(waiter.future, py::int_(waiter.lsn));
        } else {
            fail_future(waiter.future, own == -ETIMEDOUT ? code : own, entry.name);
        }
    }
}

void Channel::complete_watch(Entry &entry, int64_t result) {
    for (const Waiter &waiter : entry.waiters) {
        if (result >= 0) {
            succeed(waiter.future, py::int_(result));
        } else {
            // Where somebody still waits, only closing the journal cancels it.
            fail_future(waiter.future, result == -ECANCELED ? FSYS_E_CLOSED : result, entry.name);
        }
    }
}

void Channel::complete(uint32_t index, const fsys_result &result) {
    --in_flight_;
    Entry entry = release_entry(index);
    if (entry.watch) {
        std::erase(watches_, index);
        complete_watch(entry, result.result);
    } else if (entry.journal != nullptr) {
        complete_journal(entry, result.result);
    } else if (entry.group) {
        complete_group(entry, result);
    } else if (result.result < 0) {
        fail_future(entry.future, result.result, entry.name, result.bytes_done);
    } else {
        succeed(entry.future, value_of(entry.yield, result.result, entry.loan, 0));
    }
}

void Channel::take() {
    fsys_result results[256];
    for (;;) {
        const int count = fsys_reap(engine_->handle(), results, 256, 0);
        if (count < 0) {
            detach(count);
            fail(count, py::none());
        }
        for (int i = 0; i < count; ++i) {
            try {
                complete(static_cast<uint32_t>(results[i].user_data), results[i]);
            } catch (py::error_already_set &error) {
                error.discard_as_unraisable("fsys: a completion");  // no memory: the rest goes on
            }
        }
        submit();
        if (count < 256) {
            return;
        }
    }
}

void Channel::reap() {
    take();
    run_callbacks();
}

void Channel::tick() {
    scheduled_ = false;
    at_once_ = 0;
    if (create_future_.is_none()) {
        debug_ = loop_.attr("get_debug")().cast<bool>();
    }
    if (!engine_->closed() && !dead_) {
        submit();
        take();
    }
    run_callbacks();
}

// --------------------------------------------------------------- call back

void Channel::call_back(Future *future) {
    due_.push_back(py::reinterpret_borrow<py::object>(future->object()));
    schedule();
}

void Channel::run_callbacks() {
    // Those that callbacks make due wait for the loop's next turn: what else is ready comes first.
    for (size_t count = due_.size(); count != 0 && !due_.empty(); --count) {
        const py::object future = std::move(due_.front());
        due_.pop_front();
        if (!own_future(future)->run_callbacks()) {
            // KeyboardInterrupt, SystemExit: they leave the loop, which may be run again.
            const py::error_already_set error;
            if (!due_.empty()) {
                schedule();
            }
            throw error;
        }
    }
}

void Channel::detach(int code) {
    dead_ = true;
    listed_.clear();
    listed_journals_.clear();
    watches_.clear();
    std::deque<Entry> entries;
    entries.swap(slab_);
    free_.clear();
    in_flight_ = 0;
    for (Entry &entry : entries) {
        engine_->keep(std::move(entry.loan));
        if (entry.group) {
            engine_->keep(std::move(entry.group->many.loan));
            entry.future = std::move(entry.group->future);
            entry.group->future = py::object();
        }
        if (entry.future) {
            fail_future(entry.future, code, entry.name);
        }
        for (const Waiter &waiter : entry.waiters) {
            fail_future(waiter.future, code, entry.name);
        }
    }
}

void bind_channel(py::module_ &module) {
    py::class_<Channel>(module, "Channel",
                        "The ops of a handle as futures of one event loop; what fsys.aio and "
                        "fsys.trio are made of.")
        .def(py::init<const Handle &, py::object, py::object, py::object>(), py::arg("handle"),
             py::arg("create_future"), py::arg("schedule"), py::arg("loop"),
             "create_future() makes an object with set_result() and set_exception(), None: futures "
             "are Future, of `loop`; schedule() makes the loop call tick() soon.")
        .def("sync", &Channel::sync, "Lists a sync.")
        .def("allocate", &Channel::allocate, "Lists an allocation.")
        .def("read_many",
             [](Channel &self, const py::object &owner, const File &file,
                const py::object &offsets, size_t length) {
                 return self.many(owner, file, many_reads(file, offsets, length));
             },
             "Lists reads with one future.")
        .def("read_many_into",
             [](Channel &self, const py::object &owner, const File &file,
                const py::object &buffers, const py::object &offsets) {
                 return self.many(owner, file,
                                  many_transfers(file, buffers, offsets, FSYS_OP_READ, 0));
             },
             "Lists reads into buffers with one future.")
        .def("write_many",
             [](Channel &self, const py::object &owner, const File &file,
                const py::object &buffers, const py::object &offsets, bool durable) {
                 return self.many(owner, file,
                                  many_transfers(file, buffers, offsets, FSYS_OP_WRITE,
                                                 durable ? FSYS_DURABLE : 0));
             },
             "Lists writes with one future.")
        .def("sync_journal",
             [](Channel &self, const py::object &owner, const Journal &journal, uint64_t lsn) {
                 return self.sync_journal(owner, journal.get(), lsn, journal.path());
             },
             "Lists a wait until the journal is durable through an LSN; the future gives it.")
        .def("watch_sealed",
             [](Channel &self, const Journal &journal, uint64_t after) {
                 return self.watch_sealed(journal.get(), after, journal.path());
             },
             "Lists a wait for a sealed segment numbered above `after`; the future gives its number.")
        .def("cancel", &Channel::cancel,
             "The future was cancelled: its op ends, unless others wait for it, too.")
        .def("tick", &Channel::tick, "Submits what is listed and takes what is there.")
        .def("reap", &Channel::reap, "Takes what is there.")
        .def("detach", [](Channel &self) { self.detach(FSYS_E_CLOSED); },
             "Fails what is left with E_CLOSED; its memory stays until the handle is closed.")
        .def_property_readonly("busy", &Channel::busy, "Ops listed or in flight.");
}

}  // namespace binding
