// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys.Handle and fsys.Buffer. Entered with the GIL; closing gives it up while it waits. At
// interpreter exit every engine is closed, so that nothing is written into memory that Python has
// given back.

#include "engine.hpp"

#include <unistd.h>

#include <cerrno>

#include "file.hpp"
#include "records.hpp"

namespace binding {
namespace {

std::unordered_set<Engine *> &engines() {
    static auto *set = new std::unordered_set<Engine *>;  // outlives static destructors
    return *set;
}

}  // namespace

Engine::Engine(const fsys_options &options, const py::object &root, char *error_text)
    : pid_(::getpid()) {
    checked(fsys_open(&options, &handle_), root, error_text);
    fsys_handle_info info{};
    info.struct_size = sizeof info;
    fsys_info(handle_, &info);
    max_ops_ = info.max_ops;
    engines().insert(this);
}

Engine::~Engine() {
    engines().erase(this);
    if (closed_) {
        return;
    }
    // No buffer of the arena is left: each holds a reference on this.
    const int code = without_gil([&] { return fsys_close(handle_); });
    release_memory(code);
}

void Engine::release_memory(int code) noexcept {
    const bool leak = code == -ETIMEDOUT;
    released_ = !leak;
    // Taken out first: releasing a view may run code of the exporter.
    std::vector<Loan> loans = std::move(kept_);
    for (Orphan &orphan : orphans_) {
        loans.push_back(std::move(orphan.loan));
    }
    kept_.clear();
    orphans_.clear();
    if (leak) {
        for (Loan &loan : loans) {
            loan.leak();
        }
    }
}

int Engine::close() {
    if (closed_) {
        return FSYS_E_CLOSED;
    }
    for (const Exporter *exporter : exporters_) {
        if (exporter->held() != 0) {
            PyErr_SetString(PyExc_BufferError,
                            "a Buffer or Ticket of this handle is exported: release its "
                            "memoryviews and arrays before closing");
            throw py::error_already_set();
        }
    }
    closed_ = true;
    for (Exporter *exporter : exporters_) {
        exporter->forget();  // fsys_close() frees the arena and abandons tickets
    }
    exporters_.clear();
    const int code = without_gil([&] { return fsys_close(handle_); });
    release_memory(code);
    return code;
}

void Engine::close_at_exit() noexcept {
    if (closed_ || pid_ != ::getpid()) {
        return;
    }
    bool exported = false;
    for (const Exporter *exporter : exporters_) {
        exported |= exporter->held() != 0;
    }
    if (!exported) {
        close();
        return;
    }
    // Somebody still looks at the arena, which must therefore stay; only the ops end.
    for (const Orphan &orphan : orphans_) {
        without_gil([&] { return fsys_wait(handle_, orphan.op, 5'000'000'000, nullptr); });
    }
}

void Engine::keep(Loan loan) {
    // After close() the memory is either free for all or kept by the kernel for ever; during it,
    // release_memory() decides.
    if (!released_) {
        kept_.push_back(std::move(loan));
    }
}

void Engine::adopt(fsys_op op, Loan loan) {
    if (closed_) {
        keep(std::move(loan));
    } else if (fsys_try(handle_, op, nullptr) != 0) {
        orphans_.push_back({op, std::move(loan)});
    }
}

void Engine::sweep() {
    for (size_t i = 0; i < orphans_.size();) {
        const int code = fsys_try(handle_, orphans_[i].op, nullptr);
        if (code == 0 || code == FSYS_E_STALE) {
            const Loan done = std::move(orphans_[i].loan);
            orphans_[i] = std::move(orphans_.back());
            orphans_.pop_back();
        } else {
            ++i;
        }
    }
}

// ------------------------------------------------------------------ buffer

int Exporter::export_to(PyObject *self, Py_buffer *view, int flags, const char *gone) {
    if (gone_) {
        view->obj = nullptr;
        PyErr_SetString(PyExc_BufferError, gone);
        return -1;
    }
    const int code =
        PyBuffer_FillInfo(view, self, data_, static_cast<Py_ssize_t>(size_), 0, flags);
    if (code == 0) {
        ++exports_;
    }
    return code;
}

void Exporter::check_free(const char *text) const {
    if (exports_ != 0) {
        PyErr_SetString(PyExc_BufferError, text);
        throw py::error_already_set();
    }
}

Buffer::Buffer(EnginePtr engine, size_t size) : Exporter(size), engine_(std::move(engine)) {
    checked(fsys_buffer_alloc(engine_->handle(), size, &data_), py::none());
    engine_->add(this);
}

Buffer::~Buffer() {
    if (!gone()) {
        engine_->remove(this);
        fsys_buffer_free(engine_->handle(), data_);
    }
}

void Buffer::free() {
    check_free("the Buffer is exported or used by an op in flight");
    if (!gone()) {
        forget();
        engine_->remove(this);
        fsys_buffer_free(engine_->handle(), data_);
    }
}

Buffer *Buffer::behind(PyObject *exporter) {
    // A memoryview stands between when the caller passed one.
    while (PyMemoryView_Check(exporter)) {
        exporter = PyMemoryView_GET_BUFFER(exporter)->obj;
        if (exporter == nullptr) {
            return nullptr;
        }
    }
    // Subclasses inherit the slot. Quicker than asking pybind11 for the type.
    const PyBufferProcs *const procs = Py_TYPE(exporter)->tp_as_buffer;
    return procs != nullptr && procs->bf_getbuffer == &Exporter::get_buffer<Buffer>
        ? py::cast<Buffer *>(py::handle(exporter))
        : nullptr;
}

// ------------------------------------------------------------------ handle

namespace {

uint32_t backend_of(const std::string &name) {
    if (name == "default") {
        return FSYS_BACKEND_DEFAULT;
    }
    if (name == "io_uring") {
        return FSYS_BACKEND_IO_URING;
    }
    if (name == "threads") {
        return FSYS_BACKEND_THREADS;
    }
    throw py::value_error("backend must be 'default', 'io_uring' or 'threads'");
}

uint64_t patience(const py::object &seconds) {
    // 0 means the default in the struct: a patience of nothing is one nanosecond.
    return seconds.is_none() ? 0 : static_cast<uint64_t>(std::max<int64_t>(1, nanoseconds(seconds)));
}

Handle open_handle(const std::string &backend, uint32_t max_ops, uint32_t max_files,
                   uint32_t pool_threads, const py::object &registered_files,
                   const py::object &close_timeout, const py::object &submit_timeout,
                   uint64_t arena_bytes, const py::object &root) {
    char text[512] = "";
    fsys_options options{};
    options.struct_size = sizeof options;
    options.backend = backend_of(backend);
    options.max_ops = max_ops;
    options.max_files = max_files;
    options.pool_threads = pool_threads;
    if (!registered_files.is_none()) {
        const auto places = registered_files.cast<uint32_t>();
        options.registered_files = places == 0 ? UINT32_MAX : places;
    }
    options.close_timeout_ns = patience(close_timeout);
    options.submit_timeout_ns = patience(submit_timeout);
    options.arena_bytes = arena_bytes;
    std::string directory;
    if (!root.is_none()) {
        directory = Name::path_only(root).bytes;
        options.root = directory.c_str();
    }
    options.error_text = text;
    options.error_text_size = sizeof text;
    return {std::make_shared<Engine>(options, root, text)};
}

std::string cause_of(const void *object) {
    char text[1024] = "";
    checked(fsys_cause(object, text, sizeof text), py::none());
    return text;
}

}  // namespace

void bind_handle(py::module_ &module) {
    py::class_<Handle>(module, "Handle",
                       "An engine: everything else is opened from one.\n\n"
                       "An idle handle has no thread and no ring. Any thread may use it.\n\n"
                       "backend: 'default' (io_uring where it works, otherwise threads), 'io_uring' "
                       "(or fail) or 'threads'. max_ops: ops in flight, 1..32768. max_files: open "
                       "files. pool_threads: 1..64. registered_files: places in the ring's file "
                       "table, 0: none. close_timeout, submit_timeout: seconds. arena_bytes: room "
                       "for Buffers. root: a directory beneath which all paths are opened.\n"
                       "Numbers that are 0 or None mean the default of the library.\n\n"
                       "Raises Error (E_URING_SETUP) when io_uring was asked for by name and cannot "
                       "be had, OSError when opening `root` fails.")
        .def(py::init(&open_handle), py::kw_only(), py::arg("backend") = "default",
             py::arg("max_ops") = 0, py::arg("max_files") = 0, py::arg("pool_threads") = 0,
             py::arg("registered_files") = py::none(), py::arg("close_timeout") = py::none(),
             py::arg("submit_timeout") = py::none(), py::arg("arena_bytes") = 0,
             py::arg("root") = py::none())
        .def("open", &open_file, py::arg("path"), py::arg("mode") = "r", py::kw_only(),
             py::arg("create") = false, py::arg("direct") = false, py::arg("bounce") = false,
             py::arg("nofollow") = false, py::arg("permissions") = 0666,
             "Opens a File.\n\n"
             "path: str, bytes or os.PathLike; or a descriptor (int, or an object with fileno()), "
             "of which a duplicate is taken. mode: as of builtins.open(), always binary: 'r', "
             "'r+', 'w', 'w+', 'x', 'x+'; there is no 'a'. create: with 'r+', make the file when it "
             "is absent. direct: O_DIRECT, refused (EINVAL) where the file system has none. bounce: "
             "with direct, misaligned blocking reads go through an aligned buffer. nofollow: a "
             "symbolic link is ELOOP. permissions: of a new file, cut by the umask.\n\n"
             "Raises the OSError of open(2); Error (E_CLOSED, E_FORKED).")
        .def("buffer",
             [](const Handle &self, size_t size) {
                 return std::make_unique<Buffer>(self.engine, size);
             },
             py::arg("size"),
             "Allocates a Buffer of `size` bytes: page-aligned, zeroed, rounded up to pages, from the "
             "memory registered with the ring while it has room. Raises MemoryError or OSError.")
        .def("info", [](const Handle &self) { return handle_info(self.engine->handle()); },
             "Tells what the handle really uses, as a HandleInfo. Starts nothing.")
        .def("stats", [](const Handle &self) { return counters(self.engine->handle()); },
             "Counters since the handle was opened, as a Counters.")
        .def("cause", [](const Handle &self) { return cause_of(self.engine->handle()); },
             "The sentence behind a sticky failure of the handle; '' when there is none.")
        .def("close",
             [](const Handle &self) {
                 const int code = self.engine->close();
                 if (code != FSYS_E_CLOSED) {
                     checked(code, py::none());
                 }
             },
             "Closes the handle, its files and journals. Waits for ops in flight (close_timeout), "
             "then cancels them. Closing twice is allowed.\n\n"
             "Raises BufferError, and closes nothing, while a Buffer or Ticket is exported; TimeoutError when "
             "the kernel would not let go (the memory is kept); Error (E_POISONED) when a journal had "
             "failed.")
        .def_property_readonly("closed", [](const Handle &self) { return self.engine->closed(); },
                               "Whether close() was called.")
        .def_property_readonly(
            "event_fd",
            [](const Handle &self) {
                return checked(fsys_event_fd(self.engine->handle()), py::none());
            },
            "The descriptor that is readable while completions wait; never read or close it.")
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](const py::object &self, const py::args &) { self.attr("close")(); })
        .def("__repr__", [](const Handle &self) {
            return self.engine->closed() ? "<fsys.Handle closed>" : "<fsys.Handle>";
        });

    py::class_<Buffer> buffer(module, "Buffer", py::buffer_protocol(),
                              "Aligned memory of a handle, see Handle.buffer(). Exports the buffer "
                              "protocol, writable: memoryview(b), numpy.frombuffer(b, ...).");
    buffer
        .def("__len__", [](const Buffer &self) { return self.gone() ? 0 : self.size(); })
        .def_property_readonly(
            "address",
            [](const Buffer &self) {
                return self.gone() ? 0 : reinterpret_cast<uintptr_t>(self.data());
            },
            "Where it lies, for those who want to check the alignment.")
        .def("free", &Buffer::free,
             "Gives the memory back now. BufferError while it is exported or an op uses it.")
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](Buffer &self, const py::args &) { self.free(); });
    Exporter::enable<Buffer>(buffer);

    module.def("_close_all", [] {
        const std::vector<Engine *> all(engines().begin(), engines().end());
        for (Engine *engine : all) {
            engine->close_at_exit();
        }
    });
}

}  // namespace binding
