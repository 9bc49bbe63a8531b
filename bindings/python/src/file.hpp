// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// File: an open file. Op: one op in flight that somebody waits for by its token.

#pragma once

#include "engine.hpp"

namespace binding {

class File {
public:
    File(EnginePtr engine, fsys_file *file, py::object name, bool may_block);
    ~File();
    File(const File &) = delete;

    fsys_file *get() const { return file_; }
    const EnginePtr &engine() const { return engine_; }
    const py::object &name() const { return name_; }
    /// Reads may wait for another process (pipes, sockets, terminals).
    bool may_block() const { return may_block_; }
    /// Past the page cache.
    bool direct() const { return direct_; }
    bool closed() const { return closed_ || engine_->closed(); }
    int close();

private:
    EnginePtr engine_;
    fsys_file *file_;
    py::object name_;
    bool may_block_;
    bool direct_;
    bool closed_ = false;
};

using FilePtr = std::shared_ptr<File>;

/// What an op gives back.
enum class Yield : uint8_t {
    kNothing,  // None
    kCount,    // bytes transferred
    kBytes,    // the bytes object that was read into, cut to what was read
    kLsn,      // the LSN that was asked for
};

/// The value of a completion that did not fail. Takes the loan's bytes.
py::object value_of(Yield yield, int64_t result, Loan &loan, uint64_t lsn);
/// An empty bytes object to read into.
py::object new_bytes(size_t length, void **data);

FilePtr open_file(const Handle &handle, const py::object &path, const std::string &mode,
                  bool create, bool direct, bool bounce, bool nofollow, uint32_t permissions);

class Op {
public:
    Op(EnginePtr engine, py::object name, Yield yield, Loan loan)
        : engine_(std::move(engine)), name_(std::move(name)), yield_(yield),
          loan_(std::move(loan)) {}
    ~Op();
    Op(const Op &) = delete;

    fsys_op *token() { return &op_; }
    /// Returns the value, or raises what the op failed with; TimeoutError: not done yet.
    py::object wait(int64_t timeout_ns);
    bool done();
    /// The first of `ops`, of one handle, that is done.
    static py::object wait_any(const py::object &ops, int64_t timeout_ns);
    bool cancel();
    /// Asks for an early end when nobody will look at the result.
    void abandon() noexcept { fsys_cancel(engine_->handle(), op_); }

private:
    void finish(const fsys_result &result);
    py::object outcome() const;

    EnginePtr engine_;
    py::object name_;
    Yield yield_;
    Loan loan_;
    fsys_op op_ = 0;
    bool taken_ = false;
    py::object value_;
    py::object error_;
};

}  // namespace binding
