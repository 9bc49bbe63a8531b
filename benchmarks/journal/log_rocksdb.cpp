// SPDX-License-Identifier: Apache-2.0 OR MIT
// RocksDB's write-ahead log: one column family, WAL on, sync=true for commits ("fillsync").
// Compaction is off, so that nothing but the log and its memtable costs. Any thread; the library
// groups writers itself.
#include "logs.hpp"

#ifdef BENCH_ROCKSDB

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/version.h>

#include <fmt/format.h>

#include <atomic>

namespace bench {

namespace {

void must(const rocksdb::Status &status, const char *what) {
    if (!status.ok())
        throw Failure(std::string("RocksDB ") + what + ": " + status.ToString());
}

class RocksLog final : public Log {
public:
    RocksLog(const LogPlan &plan, bool tuned)
        : place_(plan.directory, tuned ? "rocksdb-tuned" : "rocksdb") {
        rocksdb::Options options;
        options.create_if_missing = true;
        options.disable_auto_compactions = true;
        // Level 0 must not throttle writers only because nothing compacts it.
        options.level0_slowdown_writes_trigger = 1 << 20;
        options.level0_stop_writes_trigger = 1 << 20;
        options.compression = rocksdb::kNoCompression;
        if (tuned) {
            options.recycle_log_file_num = 4;
            options.enable_pipelined_write = true;
            options.write_buffer_size = 16U << 20;  // so that there soon are files to recycle
        }
        rocksdb::DB *db = nullptr;
        must(rocksdb::DB::Open(options, place_.path() + "/db", &db), "open");
        db_.reset(db);
        synced_.sync = true;
    }
    ~RocksLog() override { db_.reset(); }

    void commit(const char *data, std::size_t length) override { put(synced_, data, length); }
    void append(const char *data, std::size_t length) override { put(unsynced_, data, length); }

private:
    void put(const rocksdb::WriteOptions &options, const char *data, std::size_t length) {
        const std::uint64_t key = next_.fetch_add(1, std::memory_order_relaxed);
        must(db_->Put(options,
                      rocksdb::Slice(reinterpret_cast<const char *>(&key), sizeof key),
                      rocksdb::Slice(data, length)),
             "write");
    }

    Place place_;
    std::unique_ptr<rocksdb::DB> db_;
    rocksdb::WriteOptions synced_;
    rocksdb::WriteOptions unsynced_;
    std::atomic<std::uint64_t> next_{0};
};

}  // namespace

std::string rocksdb_version() {
    return fmt::format("{}.{}.{}", ROCKSDB_MAJOR, ROCKSDB_MINOR, ROCKSDB_PATCH);
}

std::unique_ptr<Log> make_rocksdb_log(const LogPlan &plan, bool tuned) {
    return std::make_unique<RocksLog>(plan, tuned);
}

}  // namespace bench

#else

namespace bench {

std::string rocksdb_version() { return {}; }
std::unique_ptr<Log> make_rocksdb_log(const LogPlan &, bool) { return nullptr; }

}  // namespace bench

#endif
