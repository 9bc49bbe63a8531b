// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Engine: one fsys handle, and the memory that its ops in flight use. Everything made from a handle
// shares it. Exporter: its memory as Python sees
// it. Buffer: aligned memory of a handle.

#pragma once

#include <sys/types.h>

#include <memory>
#include <unordered_set>
#include <vector>

#include "common.hpp"

namespace binding {

/// The memory of an op: what the caller lent, and what will be returned.
struct Loan {
    std::vector<View> views;  // usually one
    py::object bytes;         // the bytes object that a read fills; nobody else has seen it yet
    std::shared_ptr<void> file;  // is not closed under its op

    void leak() noexcept {
        for (View &view : views) {
            view.leak();
        }
        (void)bytes.release();
    }
};

class Exporter;

class Engine {
public:
    Engine(const fsys_options &options, const py::object &root, char *error_text);
    ~Engine();
    Engine(const Engine &) = delete;

    fsys *handle() const { return handle_; }
    bool closed() const { return closed_; }
    uint32_t max_ops() const { return max_ops_; }

    /// fsys_close(). Returns its code. BufferError while somebody holds memory of the arena.
    int close();
    /// The last resort at interpreter exit: close(), or at least end what is in flight.
    void close_at_exit() noexcept;

    /// Keeps the memory of an op that nobody waits for any more until its completion was seen.
    void adopt(fsys_op op, Loan loan);
    /// Takes the completions of adopted ops that are there, and frees their memory.
    void sweep();
    /// Keeps memory until the handle is closed, for ops whose completion can no longer be learned.
    void keep(Loan loan);

    void add(Exporter *exporter) { exporters_.insert(exporter); }
    void remove(Exporter *exporter) { exporters_.erase(exporter); }

private:
    struct Orphan {
        fsys_op op;
        Loan loan;
    };

    void release_memory(int code) noexcept;

    fsys *handle_ = nullptr;
    pid_t pid_;
    bool closed_ = false;    // since close() began
    bool released_ = false;  // close() has ended and the kernel has let go of all memory
    uint32_t max_ops_ = 0;
    std::vector<Orphan> orphans_;
    std::vector<Loan> kept_;
    std::unordered_set<Exporter *> exporters_;
};

using EnginePtr = std::shared_ptr<Engine>;

/// Memory of the library that Python sees by the buffer protocol. Exports are counted, which
/// pybind11's own protocol does not do: the memory does not go away under one.
class Exporter {
public:
    explicit Exporter(size_t size) : size_(size) {}
    Exporter(const Exporter &) = delete;

    void *data() const { return data_; }
    size_t size() const { return size_; }
    bool gone() const { return gone_; }
    /// Exports that are no op in flight.
    size_t held() const { return exports_ - pins_; }
    void pin() { ++pins_; }
    void unpin() { --pins_; }
    /// The library has taken the memory back, or it is leaked.
    void forget() { gone_ = true; }

    /// Makes instances of `type` export their memory; T::kGone is the error of one that is gone.
    template <class T>
    static void enable(const py::class_<T> &type) {
        auto *heap = reinterpret_cast<PyHeapTypeObject *>(type.ptr());
        heap->as_buffer.bf_getbuffer = &get_buffer<T>;
        heap->as_buffer.bf_releasebuffer = &release_buffer<T>;
    }

protected:
    ~Exporter() = default;
    /// BufferError while it is exported or an op uses it.
    void check_free(const char *text) const;

    template <class T>
    static int get_buffer(PyObject *self, Py_buffer *view, int flags) {
        return static_cast<Exporter *>(py::cast<T *>(py::handle(self)))
            ->export_to(self, view, flags, T::kGone);
    }
    template <class T>
    static void release_buffer(PyObject *self, Py_buffer *) {
        --static_cast<Exporter *>(py::cast<T *>(py::handle(self)))->exports_;
    }

    void *data_ = nullptr;
    bool gone_ = false;

private:
    int export_to(PyObject *self, Py_buffer *view, int flags, const char *gone);

    size_t size_;
    size_t exports_ = 0;
    size_t pins_ = 0;
};

/// Memory of fsys_buffer_alloc().
class Buffer : public Exporter {
public:
    static constexpr const char *kGone = "the Buffer has been freed";

    Buffer(EnginePtr engine, size_t size);
    ~Buffer();

    /// The Buffer that `exporter` is, or NULL.
    static Buffer *behind(PyObject *exporter);

    void free();

private:
    EnginePtr engine_;
};

/// What Python calls fsys.Handle.
struct Handle {
    EnginePtr engine;
};

void bind_handle(py::module_ &module);
void bind_file(py::module_ &module);
void bind_many(py::module_ &module);
void bind_channel(py::module_ &module);
void bind_async_file(py::module_ &module);
void bind_journal(py::module_ &module);
void bind_ticket(py::module_ &module);
void bind_check(py::module_ &module);
void bind_whole(py::module_ &module);
void bind_replace(py::module_ &module);
void bind_scan(py::module_ &module);
void bind_device(py::module_ &module);

}  // namespace binding
