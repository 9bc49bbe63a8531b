// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What every part of the extension needs: the GIL, errors, borrowed buffers, paths, timeouts.
//
// Rule of the whole extension: Python objects are touched under the GIL only, and no thread of the
// library ever sees one. All state below is therefore guarded by the GIL; the C library guards its
// own.

#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "fsys/fsys.h"

namespace binding {

namespace py = pybind11;

/// Takes the GIL back; hangs the thread for ever when the interpreter has begun to end. CPython
/// would end such a (daemon) thread by pthread_exit, whose unwinding runs C++ destructors that drop
/// references without the GIL, and terminates the process at the first noexcept frame.
void take_gil(PyThreadState *state) noexcept;

/// Runs `work`, which must not touch Python, without the GIL.
template <class Work>
auto without_gil(Work &&work) {
    PyThreadState *state = PyEval_SaveThread();
    auto result = work();
    take_gil(state);
    return result;
}

/// Raises what `code` means: the subclass of OSError that CPython itself would choose for an errno,
/// fsys.Error or one of its subclasses for a code of the library.
/// @param filename  what the user gave; None: no file
/// @param text  a sentence with more than the general one, which becomes a note of an OSError and the
///        message of an Error; NULL or "": none
/// @param bytes_done  becomes the attribute of that name
[[noreturn]] void fail(int64_t code, const py::object &filename, const char *text = nullptr,
                       uint64_t bytes_done = 0);
/// The exception itself, for futures.
py::object make_error(int64_t code, const py::object &filename, const char *text = nullptr,
                      uint64_t bytes_done = 0);
/// Raises an exception that was made before.
[[noreturn]] void raise(const py::object &error);
/// fail() when `code` is negative.
inline int64_t checked(int64_t code, const py::object &filename, const char *text = nullptr) {
    if (code < 0) [[unlikely]] {
        fail(code, filename, text);
    }
    return code;
}

/// The index of `given` in `names`; ValueError, which lists them, when it is none of them.
uint32_t choice(const std::string &given, std::initializer_list<const char *> names,
                const char *what);

/// A class of the Python half of the package (fsys._types, fsys._errors).
py::object python_class(const char *module, const char *name);

class Buffer;

/// An exporter's memory, held so that it can neither move nor go away. Released under the GIL.
class View {
public:
    enum Access { kRead, kWrite };

    View() = default;
    View(py::handle exporter, Access access);
    View(View &&other) noexcept;
    View &operator=(View &&other) noexcept;
    ~View() { release(); }

    void *data() const { return view_.buf; }
    size_t size() const { return static_cast<size_t>(view_.len); }
    void release() noexcept;
    /// Marks the memory as used by an op in flight, not by a person: closing may end the op.
    void pin();
    /// Never releases: the kernel may use the memory until the process ends.
    void leak() noexcept { view_.obj = nullptr; }

private:
    Py_buffer view_{};
    Buffer *pinned_ = nullptr;
};

/// A file as Python programs name it: str, bytes, os.PathLike, a descriptor, or an object with
/// fileno().
struct Name {
    explicit Name(const py::object &given);
    /// For calls that take no descriptor.
    static Name path_only(const py::object &given);
    const char *c_str() const { return bytes.c_str(); }

    py::object given;
    std::string bytes;
    int fd = -1;
};

/// Seconds to nanoseconds; None is FSYS_FOREVER, negative is 0.
int64_t nanoseconds(const py::object &seconds);

/// Repeats `attempt(slice_ns)`, which returns -ETIMEDOUT when it needs more time, without the GIL
/// and with pauses in which Python's signal handlers run (KeyboardInterrupt is thrown from here).
template <class Attempt>
int64_t interruptible(int64_t timeout_ns, Attempt &&attempt);

constexpr int64_t kSliceNs = 200'000'000;  // how long a Ctrl-C may go unheard

template <class Attempt>
int64_t interruptible(int64_t timeout_ns, Attempt &&attempt) {
    for (int64_t left = timeout_ns;;) {
        const int64_t slice = timeout_ns < 0 || left > kSliceNs ? kSliceNs : left;
        const int64_t code = without_gil([&] { return static_cast<int64_t>(attempt(slice)); });
        if (code != -ETIMEDOUT) {
            return code;
        }
        if (PyErr_CheckSignals() != 0) {
            throw py::error_already_set();
        }
        if (timeout_ns >= 0 && (left -= slice) <= 0) {
            return code;
        }
    }
}

}  // namespace binding
