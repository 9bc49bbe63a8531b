// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points that put a new file in an old one's place. Any thread; a replacement belongs to the
// engine's object table until it is committed.

#include <fcntl.h>

#include <cerrno>
#include <string>

#include "abi/whole.hpp"
#include "file/batch.hpp"
#include "fsys/files.h"

namespace libfsys {

int configure(const fsys_replace_options &o, std::uint32_t allowed, std::uint32_t keep_otherwise,
              files::ReplaceSettings &settings, Detail &detail) {
    if ((o.flags & ~allowed) != 0) {
        return detail.say(FSYS_E_BAD_FLAG, "flags 0x%x do not belong to this call",
                          o.flags & ~allowed);
    }
    if (o.durability > FSYS_DURABILITY_DEVICE) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown durability %u", o.durability);
    }
    if ((o.keep & ~(FSYS_KEEP_ALL | FSYS_KEEP_NOTHING)) != 0) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown metadata to keep 0x%x", o.keep);
    }
    if ((o.keep & FSYS_KEEP_NOTHING) != 0 && o.keep != FSYS_KEEP_NOTHING) {
        return detail.say(-EINVAL, "KEEP_NOTHING together with something to keep");
    }
    if (o.lifetime > FSYS_LIFETIME_EXTREME) {
        return detail.say(FSYS_E_BAD_FLAG, "unknown lifetime %u", o.lifetime);
    }
    if ((o.mode & ~07777u) != 0) {
        return detail.say(-EINVAL, "mode 0%o has bits beyond 07777", o.mode);
    }
    settings.flags = o.flags;
    settings.durability = durability_of(o.durability);
    settings.keep = files::keep_policy(o.keep, o.flags, keep_otherwise);
    settings.mode = o.mode == 0 ? 0666 : o.mode;
    settings.lifetime = o.lifetime;
    return 0;
}

}  // namespace libfsys

using namespace libfsys;

namespace {

constexpr std::uint32_t kReplaceFlags = FSYS_REPLACE_NEW | FSYS_REPLACE_EXISTING |
                                        FSYS_REPLACE_NOFOLLOW | FSYS_REPLACE_ONE_LINK |
                                        FSYS_REPLACE_KEEP_TRY | FSYS_REPLACE_NO_DIRECTORY_SYNC;
constexpr std::uint32_t kReplaceKeeps = FSYS_KEEP_MODE | FSYS_KEEP_OWNER | FSYS_KEEP_ACL;
constexpr std::uint32_t kMostItems = 65536;

// What every call here begins with: the handle, the options, the start of paths. `body(call, start,
// settings, detail)` does the rest.
template <class Body>
int with_options(fsys *handle, const fsys_replace_options *options, std::uint32_t allowed,
                 std::uint32_t keeps, const fsys_file_report *report, bool submits,
                 Body &&body) noexcept {
    return guarded([&]() -> int {
        fsys_replace_options o{};
        int code = read_struct(options, o);
        code = code == 0 ? check_size(report) : code;
        if (code != 0) {
            return code;
        }
        Detail detail(o.error_text, o.error_text_size);
        const Call call(handle);
        if (call.code() != 0) {
            return detail.say(call.code(), "%s", fsys_strerror(call.code()));
        }
        files::ReplaceSettings settings;
        code = configure(o, allowed, keeps, settings, detail);
        if (code != 0) {
            return code;
        }
        if (submits && call.engine().config.caller_driven) {
            return detail.say(-EOPNOTSUPP, "a caller-driven handle has no thread for this");
        }
        Start start(call, o.dir);
        if (start.code() != 0) {
            return detail.say(start.code(), "the directory of the options is not open");
        }
        return body(call, start, settings, detail);
    });
}

int no_path(Detail &detail) { return detail.say(-EINVAL, "a path, or its bytes, is NULL"); }

TaskResult run_replace(Engine &engine, const Start &start, const files::ReplaceSettings &settings,
                       Detail detail, const std::string &path, const void *data, std::size_t length,
                       fsys_file_report *ret_report) {
    files::Replacement replacement(engine.sys, settings, detail);
    int code = replacement.begin(start.where(), path);
    code = code < 0 ? code : replacement.write(data, length);
    code = code < 0 ? code : replacement.commit();
    if (ret_report != nullptr) {
        write_struct(replacement.report(), ret_report);
    }
    return {code, replacement.report().step};
}

TaskResult run_commit(files::Replacement &replacement, fsys_file_report *ret_report) {
    const int code = replacement.commit();
    if (ret_report != nullptr) {
        write_struct(replacement.report(), ret_report);
    }
    return {code, replacement.report().step};
}

// Takes a replacement out of the table for good: `body(call, replacement)` may refuse with a code
// while it has not moved it away.
template <class Body>
int take_replacement(fsys_replacement *handle, Body &&body) noexcept {
    return guarded([&]() -> int {
        ObjectCall call(handle, kKindReplacement);
        if (call.code() != 0) {
            return call.code();
        }
        Object &object = call.object();
        Turn turn(object);
        if (!turn) {
            return -EBUSY;
        }
        if (object.replacement == nullptr) {
            return FSYS_E_CLOSED;
        }
        const int code = body(call.engine_call(), object.replacement);
        if (object.replacement == nullptr) {
            turn.keep();
            call.drop_use();
            call.engine_call().objects().close(object, call.generation());
        }
        return code;
    });
}

int check_items(const fsys_batch_item *items, std::uint32_t count, Detail &detail) {
    if (count > kMostItems || (items == nullptr && count != 0)) {
        return detail.say(-EINVAL, "%u items", count);
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        const fsys_batch_item &item = items[i];
        if (item.verb > FSYS_BATCH_UNLINK) {
            return detail.say(FSYS_E_BAD_FLAG, "item %u: unknown verb %u", i, item.verb);
        }
        if (item.path == nullptr || item.reserved != 0 ||
            (item.verb == FSYS_BATCH_REPLACE && item.data == nullptr && item.length != 0)) {
            return detail.say(-EINVAL, "item %u: NULL path or bytes, or a reserved field", i);
        }
    }
    return 0;
}

}  // namespace

int fsys_replace(fsys *handle, const char *path, const void *data, size_t length,
                 const fsys_replace_options *options, fsys_file_report *ret_report) noexcept {
    return with_options(handle, options, kReplaceFlags, kReplaceKeeps, ret_report, false,
                        [&](const Call &call, const Start &start,
                            const files::ReplaceSettings &settings, Detail &detail) -> int {
                            if (path == nullptr || (data == nullptr && length != 0)) {
                                return no_path(detail);
                            }
                            return run_replace(call.engine(), start, settings, detail, path, data,
                                               length, ret_report)
                                .code;
                        });
}

int fsys_submit_replace(fsys *handle, const char *path, const void *data, size_t length,
                        const fsys_replace_options *options, fsys_file_report *ret_report,
                        uint64_t user_data, fsys_op *ret_op) noexcept {
    return with_options(
        handle, options, kReplaceFlags, kReplaceKeeps, ret_report, true,
        [&](const Call &call, Start &start, const files::ReplaceSettings &settings,
            Detail &detail) -> int {
            if (path == nullptr || (data == nullptr && length != 0)) {
                return no_path(detail);
            }
            return submit_task(call, std::move(start), user_data, ret_op,
                               [&engine = call.engine(), settings, detail, name = std::string(path),
                                data, length, ret_report](const Start &place) {
                                   return run_replace(engine, place, settings, detail, name, data,
                                                      length, ret_report);
                               });
        });
}

int fsys_replace_begin(fsys *handle, const char *path, const fsys_replace_options *options,
                       fsys_replacement **ret_replacement) noexcept {
    return with_options(
        handle, options, kReplaceFlags, kReplaceKeeps, nullptr, false,
        [&](const Call &call, const Start &start, const files::ReplaceSettings &settings,
            Detail &detail) -> int {
            if (path == nullptr || ret_replacement == nullptr) {
                return no_path(detail);
            }
            Engine &engine = call.engine();
            auto replacement = std::make_unique<files::Replacement>(engine.sys, settings, detail);
            Object *object = call.objects().allocate();
            if (object == nullptr) {
                return detail.say(-EMFILE, "too many objects are open on this handle");
            }
            const int code = guarded([&] { return replacement->begin(start.where(), path); });
            if (code < 0) {
                call.objects().give_back(*object);
                return code;
            }
            object->replacement = std::move(replacement);
            *ret_replacement = reinterpret_cast<fsys_replacement *>(
                object_id(engine.config.handle_index, object->index,
                          call.objects().open(*object, kKindReplacement), kKindReplacement));
            return 0;
        });
}

int fsys_replace_write(fsys_replacement *replacement, const void *data, size_t length) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(replacement, kKindReplacement);
        if (call.code() != 0) {
            return call.code();
        }
        if (data == nullptr && length != 0) {
            return -EINVAL;
        }
        const Turn turn(call.object());
        if (!turn) {
            return -EBUSY;
        }
        files::Replacement *mine = call.object().replacement.get();
        return mine == nullptr  ? FSYS_E_CLOSED
               : mine->failed() ? FSYS_E_POISONED
                                : mine->write(data, length);
    });
}

int fsys_replace_commit(fsys_replacement *replacement, fsys_file_report *ret_report) noexcept {
    const int code = check_size(ret_report);
    if (code != 0) {
        return code;
    }
    return take_replacement(replacement,
                            [&](const Call &, std::unique_ptr<files::Replacement> &held) -> int {
                                if (held->failed()) {
                                    return FSYS_E_POISONED;
                                }
                                const std::unique_ptr<files::Replacement> mine = std::move(held);
                                return run_commit(*mine, ret_report).code;
                            });
}

int fsys_submit_replace_commit(fsys_replacement *replacement, fsys_file_report *ret_report,
                               uint64_t user_data, fsys_op *ret_op) noexcept {
    const int code = check_size(ret_report);
    if (code != 0) {
        return code;
    }
    return take_replacement(
        replacement, [&](const Call &call, std::unique_ptr<files::Replacement> &held) -> int {
            if (held->failed()) {
                return FSYS_E_POISONED;
            }
            if (call.engine().config.caller_driven) {
                return -EOPNOTSUPP;
            }
            auto box = std::make_shared<std::unique_ptr<files::Replacement>>();
            return submit_task(
                call, Start(call, nullptr), user_data, ret_op,
                [box, ret_report](const Start &) { return run_commit(**box, ret_report); },
                [&] { *box = std::move(held); });
        });
}

int fsys_replace_abort(fsys_replacement *replacement) noexcept {
    return take_replacement(replacement,
                            [](const Call &, std::unique_ptr<files::Replacement> &held) -> int {
                                const std::unique_ptr<files::Replacement> mine = std::move(held);
                                return mine->abort();
                            });
}

int fsys_batch(fsys *handle, fsys_batch_item *items, uint32_t count,
               const fsys_replace_options *options) noexcept {
    return with_options(handle, options, kReplaceFlags | FSYS_REPLACE_STOP, kReplaceKeeps, nullptr,
                        false,
                        [&](const Call &call, const Start &start,
                            const files::ReplaceSettings &settings, Detail &detail) -> int {
                            const int code = check_items(items, count, detail);
                            return code != 0 ? code
                                             : files::run_batch(call.engine(), start.where(),
                                                                settings, detail, items, count);
                        });
}

int fsys_submit_batch(fsys *handle, fsys_batch_item *items, uint32_t count,
                      const fsys_replace_options *options, uint64_t user_data,
                      fsys_op *ret_op) noexcept {
    return with_options(
        handle, options, kReplaceFlags | FSYS_REPLACE_STOP, kReplaceKeeps, nullptr, true,
        [&](const Call &call, Start &start, const files::ReplaceSettings &settings,
            Detail &detail) -> int {
            const int code = check_items(items, count, detail);
            if (code != 0) {
                return code;
            }
            return submit_task(
                call, std::move(start), user_data, ret_op,
                [&engine = call.engine(), settings, detail, items,
                 count](const Start &place) -> TaskResult {
                    return {files::run_batch(engine, place.where(), settings, detail, items, count),
                            FSYS_FILE_STEP_NONE};
                });
        });
}

int fsys_copy(fsys *handle, const char *from, const char *to, const fsys_replace_options *options,
              fsys_file_report *ret_report) noexcept {
    return with_options(
        handle, options, kReplaceFlags | FSYS_REPLACE_REFLINK, FSYS_KEEP_MODE, ret_report, false,
        [&](const Call &call, const Start &start, const files::ReplaceSettings &settings,
            Detail &detail) -> int {
            if (from == nullptr || to == nullptr) {
                return no_path(detail);
            }
            Syscalls &sys = call.engine().sys;
            fsys_file_report report{};
            const auto done = [&](int code) {
                if (ret_report != nullptr) {
                    write_struct(report, ret_report);
                }
                return code;
            };
            Fd source(
                sys, files::open_at(sys, start.where(), from, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0));
            struct stat st {};
            int code = source ? sys.fstat(source.get(), &st) : source.get();
            if (code == 0 && !S_ISREG(st.st_mode)) {
                code = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
            }
            if (code < 0) {
                report.step = FSYS_FILE_STEP_INSPECT;
                return done(
                    detail.say(code, "copying '%s': opening it: %s", from, fsys_strerror(code)));
            }
            files::Replacement replacement(sys, settings, detail);
            replacement.keep_from(std::move(source), st);
            code = replacement.begin(start.where(), to);
            code = code < 0 ? code : replacement.copy((settings.flags & FSYS_REPLACE_REFLINK) != 0);
            code = code < 0 ? code : replacement.commit();
            report = replacement.report();
            return done(code);
        });
}
