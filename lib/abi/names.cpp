// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points for names, directories and whole contents. Any thread, on the calling thread; scans
// belong to the engine's object table.

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "abi/whole.hpp"
#include "fsys/files.h"

namespace libfsys {

int configure(const fsys_path_options &o, std::uint32_t allowed, files::PathSettings &settings) {
    settings.detail = Detail(o.error_text, o.error_text_size);
    if ((o.flags & ~allowed) != 0) {
        return settings.detail.say(FSYS_E_BAD_FLAG, "flags 0x%x do not belong to this call",
                                   o.flags & ~allowed);
    }
    if (o.durability > FSYS_DURABILITY_DEVICE) {
        return settings.detail.say(FSYS_E_BAD_FLAG, "unknown durability %u", o.durability);
    }
    if ((o.mode & ~07777u) != 0) {
        return settings.detail.say(-EINVAL, "mode 0%o has bits beyond 07777", o.mode);
    }
    settings.flags = o.flags;
    settings.durability = durability_of(o.durability);
    settings.mode = o.mode;
    return 0;
}

}  // namespace libfsys

using namespace libfsys;

namespace {

// What every call here begins with: the handle, the options, the start of paths. `body(call,
// settings)` does the rest.
template <class Body>
int with_options(fsys *handle, const fsys_path_options *options, std::uint32_t allowed,
                 bool arguments_given, Body &&body) noexcept {
    return guarded([&]() -> int {
        fsys_path_options o{};
        int code = read_struct(options, o);
        if (code != 0) {
            return code;
        }
        files::PathSettings settings;
        const Call call(handle);
        code = configure(o, allowed, settings);
        if (call.code() != 0) {
            return settings.detail.say(call.code(), "%s", fsys_strerror(call.code()));
        }
        if (code != 0) {
            return code;
        }
        if (!arguments_given) {
            return settings.detail.say(-EINVAL, "a path, or where a result goes, is NULL");
        }
        const Start start(call, o.dir);
        if (start.code() != 0) {
            return settings.detail.say(start.code(), "the directory of the options is not open");
        }
        settings.where = start.where();
        return body(call, settings);
    });
}

}  // namespace

int fsys_append(fsys *handle, const char *path, const void *data, size_t length,
                const fsys_path_options *options, uint64_t *ret_offset) noexcept {
    return with_options(handle, options, FSYS_PATH_SYNC_PARENT | FSYS_PATH_NOFOLLOW,
                        path != nullptr && (data != nullptr || length == 0),
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            return files::append(call.engine().sys, settings, path, data, length,
                                                 ret_offset);
                        });
}

int fsys_read_file(fsys *handle, const char *path, uint64_t max_bytes,
                   const fsys_path_options *options, void **ret_data, size_t *ret_length) noexcept {
    return with_options(handle, options, FSYS_PATH_NOFOLLOW,
                        path != nullptr && ret_data != nullptr && ret_length != nullptr,
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            return files::read_file(call.engine().sys, settings, path, max_bytes,
                                                    ret_data, ret_length);
                        });
}

void fsys_free(void *data) noexcept { std::free(data); }

int fsys_rename(fsys *handle, const char *from, const char *to,
                const fsys_path_options *options) noexcept {
    return with_options(handle, options, FSYS_PATH_NEW | FSYS_PATH_EXCHANGE,
                        from != nullptr && to != nullptr,
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            return files::rename(call.engine().sys, settings, from, to);
                        });
}

int fsys_link(fsys *handle, const char *existing, const char *path,
              const fsys_path_options *options) noexcept {
    return with_options(handle, options, 0, existing != nullptr && path != nullptr,
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            return files::link(call.engine().sys, settings, existing, path);
                        });
}

int fsys_unlink(fsys *handle, const char *path, const fsys_path_options *options) noexcept {
    return with_options(handle, options, FSYS_PATH_MISSING_OK, path != nullptr,
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            return files::unlink(call.engine().sys, settings, path);
                        });
}

int fsys_mkdir(fsys *handle, const char *path, const fsys_path_options *options) noexcept {
    return with_options(handle, options, FSYS_PATH_PARENTS, path != nullptr,
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            return files::mkdir(call.engine().sys, settings, path);
                        });
}

int fsys_rmdir(fsys *handle, const char *path, const fsys_path_options *options) noexcept {
    return with_options(handle, options, FSYS_PATH_MISSING_OK, path != nullptr,
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            return files::rmdir(call.engine().sys, settings, path);
                        });
}

int fsys_sync_path(fsys *handle, const char *path, const fsys_path_options *options) noexcept {
    return with_options(
        handle, options, FSYS_PATH_SYNC_PARENT | FSYS_PATH_FILE_SYSTEM | FSYS_PATH_NOFOLLOW,
        path != nullptr, [&](const Call &call, files::PathSettings &settings) -> int {
            return files::sync_path(call.engine().sys, settings, path);
        });
}

int fsys_sweep(fsys *handle, const char *path, uint64_t min_age_ns,
               const fsys_path_options *options, uint32_t *ret_removed) noexcept {
    return with_options(handle, options, 0, path != nullptr,
                        [&](const Call &call, files::PathSettings &settings) -> int {
                            std::uint32_t removed = 0;
                            const int code = files::sweep(call.engine().sys, settings, path,
                                                          min_age_ns, removed);
                            if (ret_removed != nullptr) {
                                *ret_removed = removed;
                            }
                            return code;
                        });
}

int fsys_scan_open(fsys *handle, const char *path, const fsys_path_options *options,
                   fsys_scan **ret_scan) noexcept {
    return with_options(
        handle, options, FSYS_PATH_RECURSIVE | FSYS_PATH_ONE_FILE_SYSTEM,
        path != nullptr && ret_scan != nullptr,
        [&](const Call &call, files::PathSettings &settings) -> int {
            auto scan = std::make_unique<files::Scan>(call.engine().sys, settings.flags);
            const int code = scan->begin(settings, path);
            if (code < 0) {
                return code;
            }
            Object *object = call.objects().allocate();
            if (object == nullptr) {
                return settings.detail.say(-EMFILE, "too many objects are open on this handle");
            }
            object->scan = std::move(scan);
            *ret_scan = reinterpret_cast<fsys_scan *>(
                object_id(call.engine().config.handle_index, object->index,
                          call.objects().open(*object, kKindScan), kKindScan));
            return 0;
        });
}

int fsys_scan_next(fsys_scan *scan, fsys_scan_entry *ret_entry) noexcept {
    return guarded([&]() -> int {
        const ObjectCall call(scan, kKindScan);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_entry == nullptr) {
            return -EINVAL;
        }
        int code = check_size(ret_entry);
        if (code != 0) {
            return code;
        }
        const Turn turn(call.object());
        if (!turn) {
            return -EBUSY;
        }
        fsys_scan_entry entry{};
        code = call.object().scan->next(entry);
        return code != 0 ? code : write_struct(entry, ret_entry);
    });
}

int fsys_scan_close(fsys_scan *scan) noexcept {
    return guarded([&]() -> int {
        ObjectCall call(scan, kKindScan);
        if (call.code() != 0) {
            return call.code();
        }
        Object &object = call.object();
        call.drop_use();
        return call.engine_call().objects().close(object, call.generation());
    });
}
