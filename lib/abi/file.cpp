// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Entry points for files. Any thread; they own nothing.

#include "abi/guard.hpp"
#include "abi/handles.hpp"
#include "file/open.hpp"

using namespace libfsys;

namespace {

constexpr std::uint32_t kOpenFlags = FSYS_FILE_READ | FSYS_FILE_WRITE | FSYS_FILE_CREATE |
                                     FSYS_FILE_EXCLUSIVE | FSYS_FILE_TRUNCATE | FSYS_FILE_DIRECT |
                                     FSYS_FILE_BOUNCE | FSYS_FILE_NOFOLLOW;

// Gives the opened descriptor an entry; closes it when there is none.
int enter_file(const Call &call, const TargetFacts &facts, Detail &detail, fsys_file **ret_file) {
    Engine &engine = call.engine();
    Target *target = nullptr;
    try {
        target = engine.targets.allocate();
    } catch (...) {
        engine.sys.close(facts.fd);
        throw;
    }
    if (target == nullptr) {
        engine.sys.close(facts.fd);
        return detail.say(-EMFILE, "max_files (%u) files are open on this handle",
                          engine.config.max_files);
    }
    const std::uint64_t generation = engine.targets.open(*target, facts);
    *ret_file = file_id(engine.config.handle_index, target->index, generation);
    return 0;
}

}  // namespace

int fsys_file_open(fsys *handle, const char *path, const fsys_file_options *options,
                   fsys_file **ret_file) noexcept {
    return guarded([&]() -> int {
        fsys_file_options o{};
        int code = read_struct(options, o);
        if (code != 0) {
            return code;
        }
        Detail detail(o.error_text, o.error_text_size);
        const Call call(handle);
        if (call.code() != 0) {
            return detail.say(call.code(), "%s", fsys_strerror(call.code()));
        }
        if ((o.flags & ~kOpenFlags) != 0) {
            return detail.say(FSYS_E_BAD_FLAG, "unknown file flags 0x%x", o.flags & ~kOpenFlags);
        }
        if (path == nullptr || ret_file == nullptr || o.reserved != 0) {
            return detail.say(-EINVAL, "%s", path == nullptr ? "the path is NULL"
                                             : ret_file == nullptr
                                                 ? "there is no place for the file"
                                                 : "fsys_file_options.reserved must be 0");
        }
        TargetFacts facts;
        code = open_path(call.engine(), path, o.flags, o.mode == 0 ? 0666 : o.mode, facts, detail);
        return code != 0 ? code : enter_file(call, facts, detail, ret_file);
    });
}

int fsys_file_from_fd(fsys *handle, int fd, const fsys_file_options *options,
                      fsys_file **ret_file) noexcept {
    return guarded([&]() -> int {
        fsys_file_options o{};
        int code = read_struct(options, o);
        if (code != 0) {
            return code;
        }
        Detail detail(o.error_text, o.error_text_size);
        const Call call(handle);
        if (call.code() != 0) {
            return detail.say(call.code(), "%s", fsys_strerror(call.code()));
        }
        if ((o.flags & ~(kOpenFlags | FSYS_FILE_BLOCKING_FD)) != 0) {
            return detail.say(FSYS_E_BAD_FLAG, "unknown file flags 0x%x", o.flags);
        }
        if (ret_file == nullptr) {
            return detail.say(-EINVAL, "there is no place for the file");
        }
        TargetFacts facts;
        code = adopt_fd(call.engine(), fd, o.flags, facts, detail);
        return code != 0 ? code : enter_file(call, facts, detail, ret_file);
    });
}

int fsys_file_close(fsys_file *file) noexcept {
    return guarded([&]() -> int {
        Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        Target &target = *call.target();
        call.drop_target();
        return call.engine().close_file(target, call.target_generation());
    });
}

int fsys_file_info(fsys_file *file, fsys_file_details *ret_info) noexcept {
    return guarded([&]() -> int {
        const Call call(file);
        if (call.code() != 0) {
            return call.code();
        }
        if (ret_info == nullptr) {
            return -EINVAL;
        }
        fsys_file_details details{};
        const int code = describe_file(call.engine(), *call.target(), details);
        return code != 0 ? code : write_struct(details, ret_info);
    });
}
