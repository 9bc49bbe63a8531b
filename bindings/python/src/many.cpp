// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// read_many and write_many of fsys.File: one submit, one wait, one crossing of the GIL for a run of
// blocks. The calling thread executes or waits for the batch itself; of a large one that the page cache
// has it lends pieces to the handle's own thread.

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>
#include <vector>

#include "file.hpp"
#include "many.hpp"

namespace binding {
namespace {

// Straight from CPython: a conversion per block is what this module is to save.
uint64_t position(const py::list &positions, size_t i) {
    const long long value =
        PyLong_AsLongLong(PyList_GET_ITEM(positions.ptr(), static_cast<Py_ssize_t>(i)));
    if (value == -1 && PyErr_Occurred()) {
        throw py::error_already_set();
    }
    return static_cast<uint64_t>(value);
}

}  // namespace

Many many_reads(const File &file, const py::object &offsets, size_t length) {
    Many many;
    const py::list positions(offsets);
    const size_t count = positions.size();
    py::list blocks(count);
    many.requests.resize(count);
    for (size_t i = 0; i < count; ++i) {
        fsys_request &request = many.requests[i];
        PyList_SET_ITEM(blocks.ptr(), static_cast<Py_ssize_t>(i),
                        new_bytes(length, &request.buffer).release().ptr());
        request.opcode = FSYS_OP_READ;
        request.file = file.get();
        request.length = length;
        request.offset = position(positions, i);
    }
    many.loan.bytes = std::move(blocks);
    return many;
}

Many many_transfers(const File &file, const py::object &buffers, const py::object &offsets,
                    uint32_t opcode, uint32_t flags) {
    Many many;
    const py::list positions(offsets);
    const size_t count = positions.size();
    many.requests.resize(count);
    const View::Access access = opcode == FSYS_OP_READ ? View::kWrite : View::kRead;
    if (PyObject_CheckBuffer(buffers.ptr())) {
        // One buffer, cut into equal blocks.
        View &view = many.loan.views.emplace_back(buffers, access);
        view.pin();
        if (count == 0 ? view.size() != 0 : view.size() % count != 0) {
            throw py::value_error("the buffer's length is not a multiple of the number of offsets");
        }
        const size_t length = count == 0 ? 0 : view.size() / count;
        for (size_t i = 0; i < count; ++i) {
            fsys_request &request = many.requests[i];
            request.opcode = opcode;
            request.flags = flags;
            request.file = file.get();
            request.buffer = static_cast<char *>(view.data()) + i * length;
            request.length = length;
            request.offset = position(positions, i);
        }
        return many;
    }
    const py::list memory(buffers);
    if (memory.size() != count) {
        throw py::value_error("as many buffers as offsets are needed");
    }
    many.loan.views.reserve(count);
    for (size_t i = 0; i < count; ++i) {
        View &view = many.loan.views.emplace_back(memory[i], access);
        view.pin();
        fsys_request &request = many.requests[i];
        request.opcode = opcode;
        request.flags = flags;
        request.file = file.get();
        request.buffer = view.data();
        request.length = view.size();
        request.offset = position(positions, i);
    }
    return many;
}

void Many::cut(size_t i, int64_t length) {
    PyObject **slot = &PyList_GET_ITEM(loan.bytes.ptr(), static_cast<Py_ssize_t>(i));
    if (PyBytes_GET_SIZE(*slot) != length && _PyBytes_Resize(slot, length) != 0) {
        *slot = py::none().release().ptr();
        throw py::error_already_set();
    }
}

namespace {

struct Outcome {
    int64_t code = 0;  // of submitting or waiting: what is in flight is not known
    bool lost = false; // the kernel may still hold the memory
    std::vector<fsys_result> results;
};

// Without the GIL. Runs are as long as a wait for all allows, and leave slots to other threads.
Outcome run(fsys *handle, uint32_t max_ops, const std::vector<fsys_request> &requests) {
    constexpr size_t kRun = 512;
    Outcome outcome;
    outcome.results.resize(requests.size());
    std::vector<fsys_op> ops(kRun);
    const size_t most = std::clamp<size_t>(max_ops / 2, 1, kRun);
    for (size_t done = 0; done < requests.size() && outcome.code == 0;) {
        const auto wanted = static_cast<uint32_t>(std::min(most, requests.size() - done));
        const int accepted = fsys_submit(handle, requests.data() + done, wanted, ops.data());
        if (accepted < 0) {
            // Of this request alone; those before it are done.
            outcome.results[done].result = accepted;
            ++done;
            continue;
        }
        const int waited = fsys_wait_all(handle, ops.data(), static_cast<uint32_t>(accepted),
                                         FSYS_FOREVER, outcome.results.data() + done);
        if (waited != 0) {
            outcome.code = waited;
            outcome.lost = true;
        }
        done += static_cast<size_t>(accepted);
    }
    return outcome;
}

// Whether a second processor could begin before the first has ended: its thread must wake up first.
bool worth_lending(const std::vector<fsys_request> &requests, uint32_t max_ops) {
    constexpr uint64_t kLeastBytes = 2 << 20;  // below, an idle processor may cost more than it gives
    constexpr uint32_t kLeastSlots = 64;
    uint64_t bytes = 0;
    for (const fsys_request &request : requests) {
        bytes += request.length;
    }
    return bytes >= kLeastBytes && max_ops >= kLeastSlots && requests.size() > 1 &&
        requests[0].opcode == FSYS_OP_READ;
}

bool has_cached(const fsys_request &r) {
    return fsys_read(r.file, r.buffer, r.length, r.offset, FSYS_CACHED) >= 0;
}

// As run(), for what is mostly in the page cache: copying is then all the work there is, and two
// processors do it in half the time. The handle's thread gets a few pieces ahead, and another for each
// that it has done: when it comes late, or has other things to do, little waits for it.
Outcome run_lending(fsys *handle, uint32_t max_ops, std::vector<fsys_request> &requests) {
    constexpr size_t kPieceBytes = 256 * 1024;  // some 50 us of copying: other ops wait that long
    constexpr size_t kAhead = 2;
    const size_t length = std::max<uint64_t>(1, requests[0].length);
    const size_t piece = std::clamp<size_t>(kPieceBytes / length, 1, max_ops / 8);
    Outcome outcome;
    outcome.results.resize(requests.size());
    std::vector<fsys_op> ops(requests.size());
    std::deque<std::pair<size_t, size_t>> lent;  // place, count
    size_t next = 0;
    bool starved = false;  // of slots, some of which the lent pieces hold
    const auto submit = [&](uint32_t flags) {
        const size_t count = std::min(piece, requests.size() - next);
        for (size_t i = next; i < next + count; ++i) {
            requests[i].flags = flags;
        }
        return fsys_submit(handle, requests.data() + next, static_cast<uint32_t>(count),
                           ops.data() + next);
    };
    const auto wait = [&](size_t place, size_t count, int64_t timeout_ns) {
        return fsys_wait_all(handle, ops.data() + place, static_cast<uint32_t>(count), timeout_ns,
                             outcome.results.data() + place);
    };
    while (outcome.code == 0 && (next < requests.size() || !lent.empty())) {
        while (!lent.empty()) {
            // Sleeps only when there is nothing left to do here.
            const int code = wait(lent.front().first, lent.front().second,
                                  next < requests.size() && !starved ? 0 : FSYS_FOREVER);
            if (code == -ETIMEDOUT) {
                break;
            }
            if (code != 0) {
                outcome.code = code;
                break;
            }
            lent.pop_front();
            starved = false;
        }
        while (lent.size() < kAhead && requests.size() - next > piece && outcome.code == 0) {
            const int accepted = submit(FSYS_NONBLOCK);
            if (accepted <= 0) {
                break;  // no slot, or refused: below it is waited for, or its own result
            }
            lent.emplace_back(next, accepted);
            next += static_cast<size_t>(accepted);
        }
        if (next == requests.size() || outcome.code != 0) {
            continue;
        }
        const int accepted = submit(FSYS_WAIT_SOON | (lent.empty() ? 0 : FSYS_NONBLOCK));
        if (accepted == -EAGAIN && !lent.empty()) {
            starved = true;
            continue;
        }
        if (accepted < 0) {
            outcome.results[next++].result = accepted;
            continue;
        }
        outcome.code = wait(next, static_cast<size_t>(accepted), FSYS_FOREVER);
        next += static_cast<size_t>(accepted);
    }
    outcome.lost = outcome.code != 0;
    return outcome;
}

// All requests have ended when this returns or raises.
std::vector<fsys_result> finish(const File &file, Many &many) {
    if (file.may_block()) {
        throw py::value_error("a pipe, socket or terminal has no blocks");
    }
    for (fsys_request &request : many.requests) {
        request.flags |= FSYS_WAIT_SOON;
    }
    Engine &engine = *file.engine();
    const bool lends = !file.direct() && worth_lending(many.requests, engine.max_ops()) &&
        engine.begin_lending();
    Outcome outcome = without_gil([&] {
        return lends && has_cached(many.requests[0])
            ? run_lending(engine.handle(), engine.max_ops(), many.requests)
            : run(engine.handle(), engine.max_ops(), many.requests);
    });
    if (lends) {
        engine.end_lending();
    }
    if (outcome.lost) {
        engine.keep(std::move(many.loan));
        fail(outcome.code, file.name());
    }
    for (const fsys_result &result : outcome.results) {
        if (result.result < 0) {
            fail(result.result, file.name(), nullptr, result.bytes_done);
        }
    }
    return std::move(outcome.results);
}

py::list counts(const std::vector<fsys_result> &results) {
    py::list list(results.size());
    for (size_t i = 0; i < results.size(); ++i) {
        PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i),
                        py::int_(results[i].result).release().ptr());
    }
    return list;
}

py::object read_many(const File &file, const py::object &offsets, size_t length) {
    Many many = many_reads(file, offsets, length);
    const std::vector<fsys_result> results = finish(file, many);
    for (size_t i = 0; i < results.size(); ++i) {
        many.cut(i, results[i].result);
    }
    return std::move(many.loan.bytes);
}

py::list read_many_into(const File &file, const py::object &buffers, const py::object &offsets) {
    Many many = many_transfers(file, buffers, offsets, FSYS_OP_READ, 0);
    return counts(finish(file, many));
}

py::list write_many(const File &file, const py::object &buffers, const py::object &offsets,
                    bool durable) {
    Many many =
        many_transfers(file, buffers, offsets, FSYS_OP_WRITE, durable ? FSYS_DURABLE : 0);
    return counts(finish(file, many));
}

}  // namespace

void bind_many(py::module_ &module) {
    auto file = py::reinterpret_borrow<py::class_<File, FilePtr>>(module.attr("File"));
    file.def("read_many", &read_many, py::arg("offsets"), py::arg("length"),
             "Reads a block of `length` bytes at each of `offsets` and returns them in that order, "
             "in any order of execution. Blocks, without the GIL. When a block fails, the first "
             "failure is raised after all have ended.")
        .def("read_many_into", &read_many_into, py::arg("buffers"), py::arg("offsets"),
             "Fills each of `buffers` from the offset of the same index and returns the counts. One "
             "buffer instead of several is cut into equal blocks: the quickest way.")
        .def("write_many", &write_many, py::arg("buffers"), py::arg("offsets"), py::kw_only(),
             py::arg("durable") = false,
             "Writes each of `buffers` at the offset of the same index and returns the counts, in "
             "any order of execution. Errors as of write() and read_many().");
}

}  // namespace binding
