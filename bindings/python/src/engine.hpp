// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Engine: one fsys handle, and the memory that its ops in flight use. Everything made from a handle
// shares it. Buffer: aligned memory of a handle, exported to Python.

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

    void add(Buffer *buffer) { buffers_.insert(buffer); }
    void remove(Buffer *buffer) { buffers_.erase(buffer); }

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
    std::unordered_set<Buffer *> buffers_;
};

using EnginePtr = std::shared_ptr<Engine>;

/// Memory of fsys_buffer_alloc(), exported by the buffer protocol.
class Buffer {
public:
    Buffer(EnginePtr engine, size_t size);
    ~Buffer();
    Buffer(const Buffer &) = delete;

    /// The Buffer that `exporter` is, or NULL.
    static Buffer *behind(PyObject *exporter);

    void *data() const { return data_; }
    size_t size() const { return size_; }
    void free();
    /// Exports that are no op in flight.
    size_t held() const { return exports_ - pins_; }
    void pin() { ++pins_; }
    void unpin() { --pins_; }
    /// The arena is gone, or its memory is leaked.
    void forget() { data_ = nullptr; }

    static int get_buffer(PyObject *self, Py_buffer *view, int flags);
    static void release_buffer(PyObject *self, Py_buffer *view);

private:
    EnginePtr engine_;
    void *data_ = nullptr;
    size_t size_;
    size_t exports_ = 0;
    size_t pins_ = 0;
};

/// What Python calls fsys.Handle.
struct Handle {
    EnginePtr engine;
};

void bind_handle(py::module_ &module);
void bind_file(py::module_ &module);
void bind_many(py::module_ &module);
void bind_channel(py::module_ &module);
void bind_journal(py::module_ &module);
void bind_whole(py::module_ &module);

}  // namespace binding
