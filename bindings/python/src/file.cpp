// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys.File and fsys.Op. Entered with the GIL, given up around every call that may block.
//
// An Op owns the memory of its op until the completion was taken; when Python drops the Op before,
// the engine adopts the memory. A wait that times out therefore frees nothing.

#include "file.hpp"

#include <sys/stat.h>

#include <cerrno>

#include "records.hpp"

namespace binding {

File::File(EnginePtr engine, fsys_file *file, py::object name, bool may_block)
    : engine_(std::move(engine)), file_(file), name_(std::move(name)), may_block_(may_block) {
    fsys_file_details details{};
    details.struct_size = sizeof details;
    fsys_file_info(file, &details);
    direct_ = (details.flags & FSYS_FILE_DIRECT) != 0;
}

File::~File() {
    if (!closed_ && !engine_->closed()) {
        without_gil([&] { return fsys_file_close(file_); });
    }
}

int File::close() {
    if (closed()) {
        return 0;
    }
    closed_ = true;
    const int code = without_gil([&] { return fsys_file_close(file_); });
    if (!engine_->closed()) {
        engine_->sweep();
    }
    return code == FSYS_E_CLOSED ? 0 : code;
}

FilePtr open_file(const Handle &handle, const py::object &path, const std::string &mode,
                  bool create, bool direct, bool bounce, bool nofollow, uint32_t permissions) {
    std::string plain = mode;
    std::erase(plain, 'b');
    uint32_t flags = 0;
    if (plain == "r") {
        flags = FSYS_FILE_READ;
    } else if (plain == "r+") {
        flags = FSYS_FILE_READ | FSYS_FILE_WRITE;
    } else if (plain == "w" || plain == "w+") {
        flags = FSYS_FILE_WRITE | FSYS_FILE_CREATE | FSYS_FILE_TRUNCATE;
    } else if (plain == "x" || plain == "x+") {
        flags = FSYS_FILE_WRITE | FSYS_FILE_CREATE | FSYS_FILE_EXCLUSIVE;
    } else {
        throw py::value_error("mode must be 'r', 'r+', 'w', 'w+', 'x' or 'x+'");
    }
    if (plain.size() == 2) {
        flags |= FSYS_FILE_READ;
    }
    flags |= (create ? FSYS_FILE_CREATE : 0) | (direct ? FSYS_FILE_DIRECT : 0) |
        (bounce ? FSYS_FILE_BOUNCE : 0) | (nofollow ? FSYS_FILE_NOFOLLOW : 0);

    const Name name(path);
    char text[512] = "";
    fsys_file_options options{};
    options.struct_size = sizeof options;
    options.error_text = text;
    options.error_text_size = sizeof text;
    fsys_file *file = nullptr;
    const EnginePtr engine = handle.engine;
    fsys *const h = engine->handle();
    bool may_block = false;
    if (name.fd >= 0) {
        options.flags = flags & FSYS_FILE_BOUNCE;
        checked(fsys_file_from_fd(h, name.fd, &options, &file), name.given, text);
        struct stat status;
        may_block = ::fstat(name.fd, &status) == 0 && !S_ISREG(status.st_mode) &&
            !S_ISBLK(status.st_mode) && !S_ISDIR(status.st_mode);
    } else {
        options.flags = flags;
        options.mode = permissions;
        // Opening can wait for a network file system.
        const int code =
            without_gil([&] { return fsys_file_open(h, name.c_str(), &options, &file); });
        checked(code, name.given, text);
    }
    return std::make_shared<File>(engine, file, name.given, may_block);
}

py::object new_bytes(size_t length, void **data) {
    PyObject *bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(length));
    if (bytes == nullptr) {
        throw py::error_already_set();
    }
    *data = PyBytes_AS_STRING(bytes);
    return py::reinterpret_steal<py::object>(bytes);
}

py::object value_of(Yield yield, int64_t result, Loan &loan, uint64_t lsn) {
    switch (yield) {
    case Yield::kNothing: return py::none();
    case Yield::kCount: return py::int_(result);
    case Yield::kLsn: return py::int_(lsn);
    case Yield::kBytes: break;
    }
    PyObject *bytes = loan.bytes.release().ptr();
    if (PyBytes_GET_SIZE(bytes) != result && _PyBytes_Resize(&bytes, result) != 0) {
        throw py::error_already_set();
    }
    return py::reinterpret_steal<py::object>(bytes);
}

// ---------------------------------------------------------------------- op

Op::~Op() {
    if (!taken_ && op_ != 0) {
        engine_->adopt(op_, std::move(loan_));
    }
}

void Op::finish(const fsys_result &result) {
    taken_ = true;
    if (result.result < 0) {
        error_ = make_error(result.result, name_, nullptr, result.bytes_done);
    } else {
        value_ = value_of(yield_, result.result, loan_, 0);
    }
    loan_ = Loan();
}

py::object Op::outcome() const {
    if (error_) {
        PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(error_.ptr())), error_.ptr());
        throw py::error_already_set();
    }
    return value_;
}

py::object Op::wait(int64_t timeout_ns) {
    while (!taken_) {
        fsys_result result{};
        const int64_t code = interruptible(timeout_ns, [&](int64_t slice) {
            return fsys_wait(engine_->handle(), op_, slice, &result);
        });
        if (code == 0) {
            finish(result);
        } else if (code == FSYS_E_STALE && !engine_->closed()) {
            // Another Python thread has taken it and is on its way to the GIL.
            without_gil([] { return ::sched_yield(); });
        } else {
            fail(code, name_);
        }
    }
    return outcome();
}

bool Op::done() {
    if (!taken_) {
        fsys_result result{};
        const int code = fsys_try(engine_->handle(), op_, &result);
        if (code == 0) {
            finish(result);
        } else if (code != -EAGAIN && code != FSYS_E_STALE) {
            fail(code, name_);
        }
    }
    return taken_;
}

py::object Op::wait_any(const py::object &given, int64_t timeout_ns) {
    const py::list objects(given);
    std::vector<Op *> ops;
    std::vector<fsys_op> tokens;
    for (const py::handle object : objects) {
        auto *op = object.cast<Op *>();
        if (op->taken_) {
            return py::reinterpret_borrow<py::object>(object);
        }
        if (!ops.empty() && op->engine_ != ops[0]->engine_) {
            throw py::value_error("the ops are of different handles");
        }
        ops.push_back(op);
        tokens.push_back(op->op_);
    }
    if (ops.empty()) {
        throw py::value_error("there is no op to wait for");
    }
    for (;;) {
        uint32_t index = 0;
        fsys_result result{};
        const int64_t code = interruptible(timeout_ns, [&](int64_t slice) {
            return fsys_wait_any(ops[0]->engine_->handle(), tokens.data(),
                                 static_cast<uint32_t>(tokens.size()), slice, &index, &result);
        });
        if (code == 0) {
            ops[index]->finish(result);
            return objects[index];
        }
        if (code != FSYS_E_STALE || ops[0]->engine_->closed()) {
            fail(code, py::none());
        }
        // Another Python thread has taken it and is on its way to the GIL.
        without_gil([] { return ::sched_yield(); });
        if (ops[index]->taken_) {
            return objects[index];
        }
    }
}

bool Op::cancel() {
    if (taken_) {
        return false;
    }
    const int code = fsys_cancel(engine_->handle(), op_);
    if (code == 0) {
        return true;
    }
    if (code != -EALREADY && code != FSYS_E_STALE) {
        fail(code, name_);
    }
    return false;
}

// -------------------------------------------------------------------- file

namespace {

using OpPtr = std::unique_ptr<Op>;

uint32_t write_flags(bool durable, bool atomic) {
    return (durable ? FSYS_DURABLE : 0) | (atomic ? FSYS_ATOMIC : 0);
}

template <class Submit>
OpPtr start(const FilePtr &owner, Yield yield, Loan loan, Submit &&submit) {
    const File &file = *owner;
    loan.file = owner;
    file.engine()->sweep();
    for (View &view : loan.views) {
        view.pin();
    }
    auto op = std::make_unique<Op>(file.engine(), file.name(), yield, std::move(loan));
    // A submit may wait for a free slot.
    checked(without_gil([&] { return submit(op->token()); }), file.name());
    return op;
}

OpPtr submit_read(const FilePtr &file, size_t length, int64_t offset) {
    Loan loan;
    void *data = nullptr;
    loan.bytes = new_bytes(length, &data);
    return start(file, Yield::kBytes, std::move(loan), [&](fsys_op *op) {
        return fsys_submit_read(file->get(), data, length, static_cast<uint64_t>(offset), 0, 0, op);
    });
}

OpPtr submit_read_into(const FilePtr &file, const py::object &buffer, int64_t offset) {
    Loan loan;
    const View &view = loan.views.emplace_back(buffer, View::kWrite);
    void *const data = view.data();
    const size_t size = view.size();
    return start(file, Yield::kCount, std::move(loan), [&](fsys_op *op) {
        return fsys_submit_read(file->get(), data, size, static_cast<uint64_t>(offset), 0, 0, op);
    });
}

OpPtr submit_write(const FilePtr &file, const py::object &buffer, int64_t offset, bool durable,
                   bool atomic) {
    Loan loan;
    const View &view = loan.views.emplace_back(buffer, View::kRead);
    const void *const data = view.data();
    const size_t size = view.size();
    return start(file, Yield::kCount, std::move(loan), [&](fsys_op *op) {
        return fsys_submit_write(file->get(), data, size, static_cast<uint64_t>(offset),
                                 write_flags(durable, atomic), 0, op);
    });
}

OpPtr submit_sync(const FilePtr &file, bool data_only) {
    return start(file, Yield::kNothing, {}, [&](fsys_op *op) {
        return fsys_submit_sync(file->get(), 0, 0, data_only ? FSYS_SYNC_DATA : 0, 0, op);
    });
}

// For files that may block for ever: KeyboardInterrupt ends the wait, and then the op.
py::object wait_or_cancel(const OpPtr &op) {
    try {
        return op->wait(FSYS_FOREVER);
    } catch (py::error_already_set &) {
        op->abandon();
        throw;
    }
}

py::object read(const FilePtr &file, size_t length, int64_t offset) {
    if (file->may_block()) {
        return wait_or_cancel(submit_read(file, length, offset));
    }
    void *data = nullptr;
    Loan loan;
    loan.bytes = new_bytes(length, &data);
    const int64_t count = without_gil([&] {
        return fsys_read(file->get(), data, length, static_cast<uint64_t>(offset), 0);
    });
    return value_of(Yield::kBytes, checked(count, file->name()), loan, 0);
}

py::object read_into(const FilePtr &file, const py::object &buffer, int64_t offset) {
    if (file->may_block()) {
        return wait_or_cancel(submit_read_into(file, buffer, offset));
    }
    const View view(buffer, View::kWrite);
    const int64_t count = without_gil([&] {
        return fsys_read(file->get(), view.data(), view.size(), static_cast<uint64_t>(offset), 0);
    });
    return py::int_(checked(count, file->name()));
}

py::object write(const FilePtr &file, const py::object &buffer, int64_t offset, bool durable,
                 bool atomic) {
    if (file->may_block()) {
        return wait_or_cancel(submit_write(file, buffer, offset, durable, atomic));
    }
    const View view(buffer, View::kRead);
    const int64_t count = without_gil([&] {
        return fsys_write(file->get(), view.data(), view.size(), static_cast<uint64_t>(offset),
                          write_flags(durable, atomic));
    });
    return py::int_(checked(count, file->name()));
}

void sync(const File &file, bool data_only) {
    const int code =
        without_gil([&] { return fsys_sync(file.get(), data_only ? FSYS_SYNC_DATA : 0); });
    checked(code, file.name());
}

OpPtr submit_allocate(const FilePtr &file, int64_t offset, uint64_t length, bool keep_size) {
    fsys_request request{};
    request.opcode = FSYS_OP_ALLOCATE;
    request.flags = keep_size ? FSYS_KEEP_SIZE : 0;
    request.file = file->get();
    request.offset = static_cast<uint64_t>(offset);
    request.length = length;
    return start(file, Yield::kNothing, {}, [&](fsys_op *op) {
        return std::min(0, fsys_submit(file->engine()->handle(), &request, 1, op));
    });
}

std::string repr(const File &file) {
    return "<fsys.File " + py::repr(file.name()).cast<std::string>() +
        (file.closed() ? " closed>" : ">");
}

}  // namespace

void bind_file(py::module_ &module) {
    py::class_<File, FilePtr>(module, "File",
                              "An open file of a handle, see Handle.open(). It has no position: every "
                              "read and write names its offset. Any thread; calls may overlap.")
        .def("read", &read, py::arg("length"), py::arg("offset"),
             "Reads up to `length` bytes at `offset`; fewer only at the end of the file. Blocks, "
             "without the GIL.\n\nRaises OSError (EBADF: not open for reading, EINVAL: negative "
             "offset, EIO ...), Error (E_CLOSED, E_MISALIGNED with direct, E_FORKED).")
        .def("read_into", &read_into, py::arg("buffer"), py::arg("offset"),
             "Fills a writable contiguous buffer (bytearray, memoryview, array, NumPy, Buffer) from "
             "`offset` and returns how many bytes were read. Errors as of read().")
        .def("write", &write, py::arg("data"), py::arg("offset"), py::kw_only(),
             py::arg("durable") = false, py::arg("atomic") = false,
             "Writes all of `data` at `offset` and returns its length. durable: on stable storage "
             "when it returns (RWF_DSYNC). atomic: a power cut leaves all of it or nothing (RWF_ATOMIC, "
             "see ProbeReport.atomic), else Error (E_NOT_ATOMIC).\n\nRaises OSError (ENOSPC, EIO ...; its attribute "
             "bytes_done, when there, tells how many bytes were written), Error (E_POISONED: an "
             "earlier sync of this file failed).")
        .def("sync", &sync, py::kw_only(), py::arg("data_only") = false,
             "Makes completed writes durable: fsync(2), or fdatasync(2) with data_only. Raises "
             "OSError; after a failure the file is poisoned and every further sync is Error "
             "(E_POISONED), for the kernel may have dropped the pages.")
        .def("allocate",
             [](const FilePtr &file, int64_t offset, uint64_t length, bool keep_size) {
                 submit_allocate(file, offset, length, keep_size)->wait(FSYS_FOREVER);
             },
             py::arg("offset"), py::arg("length"), py::kw_only(), py::arg("keep_size") = false,
             "Reserves room on disk for [offset, offset + length): fallocate(2).")
        .def("submit_read", &submit_read, py::arg("length"), py::arg("offset"),
             "Starts a read and returns its Op, whose value is the bytes.")
        .def("submit_read_into", &submit_read_into, py::arg("buffer"), py::arg("offset"),
             "Starts a read into `buffer`, which stays exported until the Op is done.")
        .def("submit_write", &submit_write, py::arg("data"), py::arg("offset"), py::kw_only(),
             py::arg("durable") = false, py::arg("atomic") = false,
             "Starts a write of `data`, which must not change until the Op is done.")
        .def("submit_sync", &submit_sync, py::kw_only(), py::arg("data_only") = false,
             "Starts a sync; it covers the writes that were done before.")
        .def("info", [](const File &file) { return file_info(file.get(), file.name()); },
             "Size, alignment and routing of the file, as a FileInfo.")
        .def("cause",
             [](const File &file) {
                 char text[1024] = "";
                 checked(fsys_cause(file.get(), text, sizeof text), file.name());
                 return std::string(text);
             },
             "The sentence behind a sticky failure of the file; '' when there is none.")
        .def("close", [](File &file) { checked(file.close(), file.name()); },
             "Closes the file after its ops in flight have ended. Closing twice is allowed. Raises "
             "OSError with what close(2) reported; TimeoutError when ops would not end.")
        .def_property_readonly("name", &File::name, "What open() was given.")
        .def_property_readonly("closed", &File::closed, "Whether the file or its handle is closed.")
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](const py::object &self, const py::args &) { self.attr("close")(); })
        .def("__repr__", &repr);

    py::class_<Op>(module, "Op",
                   "One op in flight. Its memory stays exported until its completion was taken, also "
                   "after a timeout and when the Op itself is dropped.")
        .def("wait",
             [](Op &op, const py::object &timeout) { return op.wait(nanoseconds(timeout)); },
             py::arg("timeout") = py::none(),
             "Waits up to `timeout` seconds (None: without limit) and returns the op's value, or "
             "raises what it failed with. May be called again. TimeoutError: not done yet.")
        .def("done", &Op::done, "Whether it has completed. Does not block.")
        .def("cancel", &Op::cancel,
             "Asks for an early end; wait() then raises OSError (ECANCELED), or gives the result when "
             "the op could not be recalled. Returns whether the request was made.");
    module.def("wait_any",
               [](const py::object &ops, const py::object &timeout) {
                   return Op::wait_any(ops, nanoseconds(timeout));
               },
               py::arg("ops"), py::arg("timeout") = py::none(),
               "Waits up to `timeout` seconds (None: without limit) until one of up to 4096 ops of "
               "one handle has completed and returns that Op; its wait() then returns or raises at "
               "once. TimeoutError: none yet.");
}

}  // namespace binding
