// SPDX-License-Identifier: Apache-2.0 OR MIT
// The logs under test. A Log is made empty in a directory of its own, is used by all threads of a
// variant at once, and removes what it made.
#pragma once

#include "open_loop.hpp"
#include "runner.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace bench {

class Log {
public:
    virtual ~Log() = default;
    /// Returns when the record is on stable storage. Any thread.
    virtual void commit(const char *data, std::size_t length) = 0;
    /// Returns when the record is in the log, with no promise about power loss. Any thread.
    virtual void append(const char *data, std::size_t length) = 0;
    /// Flushes made durable so far; 0 where the log does not tell.
    [[nodiscard]] virtual std::uint64_t syncs() const { return 0; }
    /// Gives disk space back now and then. One thread.
    virtual void tidy() {}
};

/// What a log promises for append(); commit() always promises the same.
struct LogPlan {
    std::string directory;  ///< of the benchmark; the log makes a place of its own in it
    unsigned threads = 1;
    std::size_t bytes = 256;
};

// log_bare.cpp: one file, written with zeros before and used round and round. Each commit writes its
// record padded to 4 KiB, as the journal does, and calls fdatasync(2); each append is one write(2).
std::unique_ptr<Log> make_bare_log(const LogPlan &plan);

// log_rocksdb.cpp, log_sqlite.cpp: null where the library was not there when this was compiled.
/// `tuned`: recycled log files and pipelined writes, as its documentation recommends for synced logs.
std::unique_ptr<Log> make_rocksdb_log(const LogPlan &plan, bool tuned);
std::unique_ptr<Log> make_sqlite_log(const LogPlan &plan);
std::string rocksdb_version();  ///< "" when it is not there
std::string sqlite_version();

// peer_rust.cpp: the Rust crate's journal, in a process of its own.

/// Builds it on first use with cargo, in `directory`.
/// @return the program, or "" with the reason in `why`
std::string rust_program(const std::string &directory, std::string &why);
Variant rust_variant(const std::string &name, const std::string &program, const LogPlan &plan,
                     const std::string &mode, bool tuned);

// log_fsys.cpp: libfsys through its public header.

/// Throws Failure with the library's own words when `code` is negative.
std::int64_t check(std::int64_t code, const char *call);
std::unique_ptr<Log> make_fsys_log(const LogPlan &plan);
/// Keeps `depth` asynchronous commits of `bytes` in flight from one thread.
Variant async_variant(const std::string &directory, unsigned depth, std::size_t bytes);
/// Asynchronous commits of `bytes` by a schedule, at most `depth` in flight, from the calling thread.
OpenVariant async_open_loop(const std::string &name, const std::string &directory, unsigned depth,
                            std::size_t bytes);

/// A variant whose threads commit (or append) to one log.
Variant log_variant(const std::string &name, std::shared_ptr<Log> log, const LogPlan &plan,
                    bool durable, bool subject = false);

/// A fresh directory, removed with the object, also by a signal.
class Place {
public:
    Place(const std::string &directory, const std::string &name);
    ~Place();
    Place(const Place &) = delete;
    Place &operator=(const Place &) = delete;
    [[nodiscard]] const std::string &path() const { return path_; }

private:
    std::string path_;
};

/// From now on SIGINT and SIGTERM remove the benchmark's directory before they end the program.
void remove_on_signal(const std::string &root);

}  // namespace bench
