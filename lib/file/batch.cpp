// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Replacing and removing many files: written one after the other into the page cache, synced all at
// once as ops of the engine (which lets a journalling file system commit them together), renamed in
// order, then each directory synced once. One thread per batch; it owns its temporary files.

#include "file/batch.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <vector>

namespace libfsys::files {
namespace {

constexpr std::uint32_t kRun = 128;  // files open at a time

// A sync of one descriptor, as an op of the engine, which needs an entry for the file. The entry
// borrows the descriptor: it is given back without being closed.
class SyncOps {
public:
    explicit SyncOps(Engine &engine) : engine_(engine) {}
    SyncOps(const SyncOps &) = delete;
    SyncOps &operator=(const SyncOps &) = delete;

    // `results[i]` becomes 0 or a code.
    void run(const std::vector<int> &fds, const std::vector<bool> &data_only,
             std::vector<int> &results) {
        const std::uint32_t most = std::max(1u, std::min(64u, engine_.config.max_ops / 2));
        for (std::size_t from = 0; from < fds.size(); from += most) {
            const std::size_t to = std::min<std::size_t>(from + most, fds.size());
            run_some(fds, data_only, results, from, to);
        }
    }

private:
    struct Entry {
        Target *target;
        std::uint64_t generation;
        std::size_t index;
    };
    // The descriptors are only lent to the entries: these end before those are closed.
    struct Lent {
        Engine &engine;
        std::vector<Entry> entries;
        ~Lent() {
            for (const Entry &entry : entries) {
                engine.forget_file(*entry.target, entry.generation);
            }
        }
    };

    void run_some(const std::vector<int> &fds, const std::vector<bool> &data_only,
                  std::vector<int> &results, std::size_t from, std::size_t to) {
        // All memory first: a failure to get some must not leave entries behind.
        Lent lent{engine_, {}};
        std::vector<Entry> &entries = lent.entries;
        std::vector<fsys_op> ops;
        entries.reserve(to - from);
        ops.reserve(to - from);
        for (std::size_t i = from; i < to; ++i) {
            // A lone sync is cheapest as the plain call; so is what there is no entry or slot for.
            Target *target = to - from > 1 ? engine_.targets.allocate() : nullptr;
            if (target == nullptr) {
                results[i] = sync_file(engine_.sys, fds[i], data_only[i]);
                continue;
            }
            TargetFacts facts;
            facts.fd = fds[i];
            facts.readable = facts.writable = true;
            const std::uint64_t generation = engine_.targets.open(*target, facts);
            entries.push_back({target, generation, i});
            engine_.acquire_user(*target, generation, current_shard());
            Request request;
            request.opcode = FSYS_OP_SYNC;
            request.flags = FSYS_NONBLOCK | (data_only[i] ? FSYS_SYNC_DATA : 0);
            request.target = target;
            fsys_op op = 0;
            const int code = engine_.submit_one(request, &op);
            if (code != 0) {
                engine_.release_user(*target, current_shard());
                results[i] = code == -EAGAIN ? sync_file(engine_.sys, fds[i], data_only[i]) : code;
            }
            ops.push_back(op);
        }
        // The pool takes them from the front. This thread executes what nobody has begun, from the
        // back: so they end also where it is itself the only thread of the pool.
        for (std::size_t i = ops.size(); i-- != 0;) {
            if (ops[i] != 0) {
                fsys_result done{};
                const int code = engine_.wait(ops[i], FSYS_FOREVER, &done);
                results[entries[i].index] = code != 0 ? code : static_cast<int>(done.result);
            }
        }
    }

    Engine &engine_;
};

struct Item {
    std::optional<Replacement> replacement;  // of a REPLACE
    Directory directory;                     // of an UNLINK
    std::string leaf;
};

class Batch {
public:
    Batch(Engine &engine, const Where &where, const ReplaceSettings &settings, Detail detail)
        : engine_(engine), where_(where), settings_(settings), detail_(detail) {}

    int run(fsys_batch_item *items, std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            items[i].result = -ECANCELED;
            items[i].step = FSYS_FILE_STEP_NONE;
            items[i].visible = items[i].not_kept = 0;
            items[i].other_links = 0;
        }
        for (std::uint32_t from = 0; from < count && !stopped_; from += kRun) {
            some(items + from, std::min(kRun, count - from));
        }
        return first_;
    }

private:
    // The sentence is that of the first failure.
    void note(fsys_batch_item &item, int code, std::uint32_t step) {
        item.result = code;
        if (code < 0) {
            item.step = step;
            if (first_ == 0) {
                first_ = code;
            }
            stopped_ = stopped_ || (settings_.flags & FSYS_REPLACE_STOP) != 0;
        }
    }
    void note(fsys_batch_item &item, const Replacement &replacement, int code) {
        const fsys_file_report &report = replacement.report();
        note(item, code, report.step);
        item.visible = report.visible;
        item.not_kept = report.not_kept;
        item.other_links = report.other_links;
    }
    Detail detail() { return first_ == 0 ? detail_ : Detail(nullptr, 0); }

    int prepare(fsys_batch_item &item, Item &work) {
        if (item.verb == FSYS_BATCH_UNLINK) {
            const int code =
                open_parent(engine_.sys, where_, item.path, !settings_.syncs_directory(), false,
                            work.directory, work.leaf);
            if (code < 0) {
                detail().say(code, "removing '%s': opening its directory: %s", item.path,
                             fsys_strerror(code));
                note(item, code, FSYS_FILE_STEP_DIRECTORY);
            }
            return code;
        }
        Replacement &replacement = work.replacement.emplace(engine_.sys, settings_, detail());
        int code = replacement.begin(where_, item.path);
        code = code < 0 ? code : replacement.write(item.data, item.length);
        code = code < 0 ? code : replacement.apply_metadata();
        note(item, replacement, code);
        return code;
    }

    void some(fsys_batch_item *items, std::uint32_t count) {
        std::vector<Item> work(count);
        std::uint32_t end = count;  // of what is done at all
        for (std::uint32_t i = 0; i < end; ++i) {
            prepare(items[i], work[i]);
            if (stopped_) {
                end = i;  // those before it are still carried through
            }
        }
        sync_files(items, work, end);
        rename_all(items, work, end);
        sync_directories(items, work, end);
    }

    void sync_files(fsys_batch_item *items, std::vector<Item> &work, std::uint32_t end) {
        if (!settings_.syncs_file()) {
            return;
        }
        std::vector<std::uint32_t> which;
        std::vector<int> fds;
        std::vector<bool> data_only;
        for (std::uint32_t i = 0; i < end; ++i) {
            if (work[i].replacement && !work[i].replacement->failed()) {
                which.push_back(i);
                fds.push_back(work[i].replacement->fd());
                data_only.push_back(work[i].replacement->data_only());
            }
        }
        std::vector<int> results(fds.size());
        SyncOps(engine_).run(fds, data_only, results);
        for (std::size_t i = 0; i < which.size(); ++i) {
            Replacement &replacement = *work[which[i]].replacement;
            replacement.say_to(detail());
            note(items[which[i]], replacement, replacement.note_sync(results[i]));
        }
    }

    void rename_all(fsys_batch_item *items, std::vector<Item> &work, std::uint32_t &end) {
        for (std::uint32_t i = 0; i < end; ++i) {
            Item &item = work[i];
            if (item.replacement && !item.replacement->failed()) {
                item.replacement->say_to(detail());
                note(items[i], *item.replacement, item.replacement->rename());
            } else if (item.directory.fd) {
                int code = engine_.sys.unlink(item.directory.fd.get(), item.leaf.c_str());
                code = code == -ENOENT ? 0 : code;
                if (code < 0) {
                    detail().say(code, "removing '%s': %s", items[i].path, fsys_strerror(code));
                }
                items[i].visible = code == 0;
                note(items[i], code, FSYS_FILE_STEP_RENAME);
            }
            if (items[i].step != FSYS_FILE_STEP_NONE &&
                (settings_.flags & FSYS_REPLACE_STOP) != 0) {
                // What is behind it must not happen; its temporary files go with the work.
                for (std::uint32_t j = i + 1; j < end; ++j) {
                    items[j].result =
                        items[j].step == FSYS_FILE_STEP_NONE ? -ECANCELED : items[j].result;
                }
                end = i + 1;
            }
        }
    }

    const Directory *directory_of(const Item &item) const {
        return item.replacement    ? &item.replacement->directory()
               : item.directory.fd ? &item.directory
                                   : nullptr;
    }

    void sync_directories(fsys_batch_item *items, std::vector<Item> &work, std::uint32_t end) {
        if (!settings_.syncs_directory()) {
            return;
        }
        using Key = std::pair<dev_t, ino_t>;
        std::map<Key, std::size_t> places;
        std::vector<int> fds;
        std::vector<std::size_t> place(end, SIZE_MAX);
        for (std::uint32_t i = 0; i < end; ++i) {
            const Directory *directory = directory_of(work[i]);
            if (directory == nullptr || items[i].visible == 0) {
                continue;
            }
            const auto [at, fresh] =
                places.try_emplace({directory->device, directory->inode}, fds.size());
            if (fresh) {
                fds.push_back(directory->fd.get());
            }
            place[i] = at->second;
        }
        std::vector<int> results(fds.size());
        SyncOps(engine_).run(fds, std::vector<bool>(fds.size()), results);
        const std::vector<bool> flush_failed = flush_devices(results, fds, places);
        for (std::uint32_t i = 0; i < end; ++i) {
            if (place[i] == SIZE_MAX) {
                continue;
            }
            const int code = results[place[i]];
            const bool device = flush_failed[place[i]];
            if (work[i].replacement && !device) {
                work[i].replacement->say_to(detail());
                note(items[i], *work[i].replacement,
                     work[i].replacement->note_directory_sync(code));
            } else {
                if (code < 0) {
                    detail().say(code, "%s '%s': %s: %s (the change is visible)",
                                 work[i].replacement ? "replacing" : "removing", items[i].path,
                                 device ? "flushing the device" : "syncing its directory",
                                 fsys_strerror(code));
                }
                note(items[i], code,
                     device ? FSYS_FILE_STEP_SYNC_DEVICE : FSYS_FILE_STEP_SYNC_DIRECTORY);
            }
        }
    }

    // Once per device: the directory and the files in it lie on the same one. Tells which results are
    // of the flush.
    std::vector<bool> flush_devices(std::vector<int> &results, const std::vector<int> &fds,
                                    const std::map<std::pair<dev_t, ino_t>, std::size_t> &places) {
        std::vector<bool> failed(results.size());
        if (!settings_.flushes_device()) {
            return failed;
        }
        std::map<dev_t, int> flushed;
        for (const auto &[key, at] : places) {
            if (results[at] < 0) {
                continue;
            }
            const auto [device, fresh] = flushed.try_emplace(key.first, 0);
            if (fresh) {
                std::string text;
                device->second = engine_.sys.flush_device(fds[at], text);
            }
            if (device->second < 0) {
                results[at] = device->second;
                failed[at] = true;
            }
        }
        return failed;
    }

    Engine &engine_;
    const Where where_;
    const ReplaceSettings settings_;
    Detail detail_;
    int first_ = 0;
    bool stopped_ = false;
};

}  // namespace

int run_batch(Engine &engine, const Where &where, const ReplaceSettings &settings, Detail detail,
              fsys_batch_item *items, std::uint32_t count) {
    return Batch(engine, where, settings, detail).run(items, count);
}

}  // namespace libfsys::files
