// SPDX-License-Identifier: Apache-2.0 OR MIT
// SQLite, journal_mode=WAL, synchronous=FULL: each commit is one INSERT in a transaction of its own.
// One connection behind a mutex: SQLite has one writer at a time, and connections that wait for its
// lock sleep and poll, which is slower.
#include "logs.hpp"

#ifdef BENCH_SQLITE

#include <sqlite3.h>

#include <mutex>

namespace bench {

namespace {

class SqliteLog final : public Log {
public:
    explicit SqliteLog(const LogPlan &plan) : place_(plan.directory, "sqlite") {
        const std::string file = place_.path() + "/db";
        must(sqlite3_open_v2(file.c_str(), &db_,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                             nullptr),
             "open");
        run("PRAGMA journal_mode=WAL");
        run("PRAGMA synchronous=FULL");
        run("CREATE TABLE log (lsn INTEGER PRIMARY KEY, data BLOB)");
        must(sqlite3_prepare_v3(db_, "INSERT INTO log (data) VALUES (?)", -1,
                                SQLITE_PREPARE_PERSISTENT, &insert_, nullptr),
             "prepare");
    }
    ~SqliteLog() override {
        sqlite3_finalize(insert_);
        sqlite3_close(db_);
    }

    void commit(const char *data, std::size_t length) override {
        const std::lock_guard hold(lock_);
        must(sqlite3_bind_blob64(insert_, 1, data, length, SQLITE_STATIC), "bind");
        if (sqlite3_step(insert_) != SQLITE_DONE)
            must(sqlite3_errcode(db_), "insert");
        must(sqlite3_reset(insert_), "reset");
    }
    void append(const char *, std::size_t) override {
        throw Failure("SQLite has no append without a commit");
    }

private:
    void must(int code, const char *what) {
        if (code != SQLITE_OK)
            throw Failure(std::string("SQLite ") + what + ": " + sqlite3_errmsg(db_));
    }
    void run(const char *statement) {
        must(sqlite3_exec(db_, statement, nullptr, nullptr, nullptr), statement);
    }

    Place place_;
    sqlite3 *db_ = nullptr;
    sqlite3_stmt *insert_ = nullptr;
    std::mutex lock_;
};

}  // namespace

std::string sqlite_version() { return sqlite3_libversion(); }

std::unique_ptr<Log> make_sqlite_log(const LogPlan &plan) {
    return std::make_unique<SqliteLog>(plan);
}

}  // namespace bench

#else

namespace bench {

std::string sqlite_version() { return {}; }
std::unique_ptr<Log> make_sqlite_log(const LogPlan &) { return nullptr; }

}  // namespace bench

#endif
