// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The GIL, errors, borrowed buffers, paths. Called with the GIL held, except take_gil().

#include "common.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "engine.hpp"

namespace binding {

void take_gil(PyThreadState *state) noexcept {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        // The forced unwinding of pthread_exit: it must not pass this frame. Not leaving the
        // handler keeps the thread, and all that it owns, where it is until the process ends.
        for (;;) {
            ::pause();
        }
    }
}

py::object python_class(const char *module, const char *name) {
    return py::module_::import(module).attr(name);
}

py::object make_error(int64_t code, const py::object &filename, const char *text,
                      uint64_t bytes_done) {
    const int number = static_cast<int>(code);
    const bool told = text != nullptr && text[0] != '\0';
    py::object error;
    if (number > -4096) {
        // OSError itself chooses FileNotFoundError, BlockingIOError ...
        const py::str sentence(fsys_strerror(number));
        error = filename.is_none()
            ? py::reinterpret_borrow<py::object>(PyExc_OSError)(-number, sentence)
            : py::reinterpret_borrow<py::object>(PyExc_OSError)(-number, sentence, filename);
        if (told && py::hasattr(error, "add_note")) {
            error.attr("add_note")(py::str(text));
        }
    } else {
        const py::str sentence(told ? text : fsys_strerror(number));
        error = py::module_::import("fsys._errors").attr("make")(number, sentence, filename);
    }
    if (bytes_done != 0) {
        error.attr("bytes_done") = bytes_done;
    }
    return error;
}

void fail(int64_t code, const py::object &filename, const char *text, uint64_t bytes_done) {
    raise(make_error(code, filename, text, bytes_done));
}

void raise(const py::object &error) {
    PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(error.ptr())), error.ptr());
    throw py::error_already_set();
}

uint32_t choice(const std::string &given, std::initializer_list<const char *> names,
                const char *what) {
    uint32_t value = 0;
    std::string all;
    for (const char *name : names) {
        if (given == name) {
            return value;
        }
        ++value;
        all += (all.empty() ? "" : ", ") + std::string("'") + name + "'";
    }
    throw py::value_error(std::string(what) + " must be one of " + all);
}

View::View(py::handle exporter, Access access) {
    const int flags = access == kWrite ? PyBUF_WRITABLE : PyBUF_SIMPLE;
    if (PyObject_GetBuffer(exporter.ptr(), &view_, flags) != 0) {
        view_.obj = nullptr;
        throw py::error_already_set();
    }
}

View::View(View &&other) noexcept
    : view_(other.view_), pinned_(std::exchange(other.pinned_, nullptr)) {
    other.view_ = {};
}

View &View::operator=(View &&other) noexcept {
    if (this != &other) {
        release();
        view_ = other.view_;
        pinned_ = std::exchange(other.pinned_, nullptr);
        other.view_ = {};
    }
    return *this;
}

void View::release() noexcept {
    if (pinned_ != nullptr) {
        pinned_->unpin();
        pinned_ = nullptr;
    }
    if (view_.obj != nullptr) {
        PyBuffer_Release(&view_);
    }
}

void View::pin() {
    if (pinned_ == nullptr && view_.obj != nullptr) {
        pinned_ = Buffer::behind(view_.obj);
        if (pinned_ != nullptr) {
            pinned_->pin();
        }
    }
}

Name Name::path_only(const py::object &given) {
    Name name(given);
    if (name.fd >= 0) {
        throw py::type_error("a path is needed here, not a file descriptor");
    }
    return name;
}

Name::Name(const py::object &object) : given(object) {
    const bool path = PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr()) ||
        py::hasattr(object, "__fspath__");
    if (!path) {
        fd = PyObject_AsFileDescriptor(object.ptr());  // int, or fileno()
        if (fd < 0) {
            PyErr_Clear();
            throw py::type_error("expected str, bytes, os.PathLike, a file descriptor or an object "
                                 "with fileno()");
        }
        return;
    }
    PyObject *encoded = nullptr;
    if (PyUnicode_FSConverter(object.ptr(), &encoded) == 0) {
        throw py::error_already_set();
    }
    const py::object owner = py::reinterpret_steal<py::object>(encoded);
    bytes.assign(PyBytes_AS_STRING(encoded), static_cast<size_t>(PyBytes_GET_SIZE(encoded)));
}

int64_t nanoseconds(const py::object &seconds) {
    if (seconds.is_none()) {
        return FSYS_FOREVER;
    }
    const double value = seconds.cast<double>();
    if (std::isnan(value)) {
        throw py::value_error("a timeout must be a number of seconds");
    }
    // 9e9 s is three hundred years, and fits.
    return static_cast<int64_t>(std::clamp(value, 0.0, 9e9) * 1e9);
}

}  // namespace binding
