// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// read_many and write_many of fsys.File: one submit, one wait, one crossing of the GIL for a run of
// blocks. The calling thread executes or waits for the batch itself.

#include <algorithm>
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

// All requests have ended when this returns or raises.
std::vector<fsys_result> finish(const File &file, Many &many) {
    if (file.may_block()) {
        throw py::value_error("a pipe, socket or terminal has no blocks");
    }
    for (fsys_request &request : many.requests) {
        request.flags |= FSYS_WAIT_SOON;
    }
    Engine &engine = *file.engine();
    Outcome outcome =
        without_gil([&] { return run(engine.handle(), engine.max_ops(), many.requests); });
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
