// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Names and directories: methods of fsys.Handle, and ranges of fsys.File. Entered with the GIL, which
// is given up around each call: they block for as long as the disk takes.

#include <cerrno>

#include "whole.hpp"

namespace binding {

uint32_t durability_of(const std::string &name) {
    return choice(name, {"default", "none", "data", "full", "device"}, "durability");
}

uint32_t lifetime_of(const std::string &name) {
    return choice(name, {"unset", "none", "short", "medium", "long", "extreme"}, "lifetime");
}

namespace {

uint64_t append(const Handle &handle, const py::object &path, const py::object &data,
                const std::string &durability, bool parent, bool nofollow, const FilePtr &dir) {
    const Name name = Name::path_only(path);
    const View view(data, View::kRead);
    PathOptions call(dir, durability,
                     (parent ? FSYS_PATH_SYNC_PARENT : 0) | (nofollow ? FSYS_PATH_NOFOLLOW : 0));
    uint64_t offset = 0;
    const int code = without_gil([&] {
        return fsys_append(handle.engine->handle(), name.c_str(), view.data(), view.size(),
                           &call.options, &offset);
    });
    checked(code, name.given, call.text);
    return offset;
}

py::bytes read_file(const Handle &handle, const py::object &path, uint64_t max_bytes,
                    bool nofollow, const FilePtr &dir) {
    const Name name = Name::path_only(path);
    PathOptions call(dir, "default", nofollow ? FSYS_PATH_NOFOLLOW : 0);
    void *data = nullptr;
    size_t length = 0;
    const int code = without_gil([&] {
        return fsys_read_file(handle.engine->handle(), name.c_str(), max_bytes, &call.options,
                              &data, &length);
    });
    checked(code, name.given, call.text);
    PyObject *bytes = PyBytes_FromStringAndSize(static_cast<const char *>(data),
                                                static_cast<Py_ssize_t>(length));
    fsys_free(data);
    if (bytes == nullptr) {
        throw py::error_already_set();
    }
    return py::reinterpret_steal<py::bytes>(bytes);
}

using OneName = int (*)(fsys *, const char *, const fsys_path_options *);
using TwoNames = int (*)(fsys *, const char *, const char *, const fsys_path_options *);

void call_one(const Handle &handle, OneName call, const py::object &path, PathOptions options) {
    const Name name = Name::path_only(path);
    options.options.error_text = options.text;
    const int code =
        without_gil([&] { return call(handle.engine->handle(), name.c_str(), &options.options); });
    checked(code, name.given, options.text);
}

void call_two(const Handle &handle, TwoNames call, const py::object &from, const py::object &to,
              PathOptions options) {
    const Name first = Name::path_only(from);
    const Name second = Name::path_only(to);
    options.options.error_text = options.text;
    const int code = without_gil([&] {
        return call(handle.engine->handle(), first.c_str(), second.c_str(), &options.options);
    });
    checked(code, first.given, options.text);
}

uint32_t sweep(const Handle &handle, const py::object &path, double min_age,
               const FilePtr &dir) {
    const Name name = Name::path_only(path);
    PathOptions call(dir);
    uint32_t removed = 0;
    const auto age = static_cast<uint64_t>(nanoseconds(py::float_(min_age)));
    const int code = without_gil([&] {
        return fsys_sweep(handle.engine->handle(), name.c_str(), age, &call.options, &removed);
    });
    checked(code, name.given, call.text);
    return removed;
}

template <class Call>
void on_file(const File &file, Call &&call) {
    checked(without_gil([&] { return call(file.get()); }), file.name());
}

}  // namespace

void bind_whole(py::module_ &module) {
    auto handle = py::reinterpret_borrow<py::class_<Handle>>(module.attr("Handle"));
    handle
        .def("append", &append, py::arg("path"), py::arg("data"), py::kw_only(),
             py::arg("durability") = "full", py::arg("parent") = false,
             py::arg("nofollow") = false, py::arg("dir") = py::none(),
             "Appends to a file, creating it (and syncing its directory) when absent; returns where "
             "the bytes begin. Not atomic: for records use a journal.\n\n"
             "parent: sync the directory of the name, whoever made it. nofollow: a symbolic link is "
             "ELOOP. dir, here and in the other calls on names: a directory, opened as a File, "
             "beneath which paths are resolved and which they cannot leave (EXDEV).")
        .def("read_file", &read_file, py::arg("path"), py::kw_only(), py::arg("max_bytes") = 0,
             py::arg("nofollow") = false, py::arg("dir") = py::none(),
             "Reads a whole file; OSError (EFBIG) when it has more than max_bytes (0: no limit). "
             "nofollow: a symbolic link is ELOOP.")
        .def("rename",
             [](const Handle &self, const py::object &from, const py::object &to,
                const std::string &durability, bool exclusive, bool exchange,
                const FilePtr &dir) {
                 call_two(self, &fsys_rename, from, to,
                          PathOptions(dir, durability, (exclusive ? FSYS_PATH_NEW : 0) |
                                          (exchange ? FSYS_PATH_EXCHANGE : 0)));
             },
             py::arg("source"), py::arg("target"), py::kw_only(), py::arg("durability") = "full",
             py::arg("exclusive") = false, py::arg("exchange") = false, py::arg("dir") = py::none(),
             "Renames, durably: the file is synced before, the directories after.")
        .def("link",
             [](const Handle &self, const py::object &from, const py::object &to,
                const std::string &durability, const FilePtr &dir) {
                 call_two(self, &fsys_link, from, to, PathOptions(dir, durability));
             },
             py::arg("source"), py::arg("target"), py::kw_only(), py::arg("durability") = "full",
             py::arg("dir") = py::none(), "Gives a file a second name, durably.")
        .def("unlink",
             [](const Handle &self, const py::object &path, bool missing_ok,
                const std::string &durability, const FilePtr &dir) {
                 call_one(self, &fsys_unlink, path,
                          PathOptions(dir, durability, missing_ok ? FSYS_PATH_MISSING_OK : 0));
             },
             py::arg("path"), py::kw_only(), py::arg("missing_ok") = false,
             py::arg("durability") = "full", py::arg("dir") = py::none(),
             "Removes a file's name and syncs the directory.")
        .def("mkdir",
             [](const Handle &self, const py::object &path, bool parents, uint32_t permissions,
                const std::string &durability, const FilePtr &dir) {
                 call_one(self, &fsys_mkdir, path,
                          PathOptions(dir, durability, parents ? FSYS_PATH_PARENTS : 0, permissions));
             },
             py::arg("path"), py::kw_only(), py::arg("parents") = false,
             py::arg("permissions") = 0777, py::arg("durability") = "full",
             py::arg("dir") = py::none(),
             "Makes a directory and syncs the one it is in. parents: missing ones above, too.")
        .def("rmdir",
             [](const Handle &self, const py::object &path, bool missing_ok,
                const std::string &durability, const FilePtr &dir) {
                 call_one(self, &fsys_rmdir, path,
                          PathOptions(dir, durability, missing_ok ? FSYS_PATH_MISSING_OK : 0));
             },
             py::arg("path"), py::kw_only(), py::arg("missing_ok") = false,
             py::arg("durability") = "full", py::arg("dir") = py::none(),
             "Removes an empty directory, durably.")
        .def("sync_path",
             [](const Handle &self, const py::object &path, const std::string &durability,
                bool parent, bool file_system, bool nofollow, const FilePtr &dir) {
                 call_one(self, &fsys_sync_path, path,
                          PathOptions(dir, durability, (parent ? FSYS_PATH_SYNC_PARENT : 0) |
                                          (file_system ? FSYS_PATH_FILE_SYSTEM : 0) |
                                          (nofollow ? FSYS_PATH_NOFOLLOW : 0)));
             },
             py::arg("path"), py::kw_only(), py::arg("durability") = "full",
             py::arg("parent") = false, py::arg("file_system") = false,
             py::arg("nofollow") = false, py::arg("dir") = py::none(),
             "Makes durable what others wrote to a file or directory; parent: the directory of the "
             "name, too; file_system: all of it; nofollow: a symbolic link is ELOOP.")
        .def("sweep", &sweep, py::arg("path"), py::kw_only(), py::arg("min_age") = 0.0,
             py::arg("dir") = py::none(),
             "Removes temporary files that killed processes left behind in a directory, older than "
             "min_age seconds (0: 60); returns how many.");

    auto file = py::reinterpret_borrow<py::class_<File, FilePtr>>(module.attr("File"));
    file.def("truncate",
             [](const File &self, uint64_t length, const std::string &durability) {
                 const uint32_t wanted = durability_of(durability);
                 on_file(self, [&](fsys_file *f) { return fsys_truncate(f, length, wanted); });
             },
             py::arg("length"), py::kw_only(), py::arg("durability") = "full",
             "Cuts or extends the file: ftruncate(2).")
        .def("preallocate",
             [](const File &self, uint64_t offset, uint64_t length, bool keep_size,
                const std::string &durability) {
                 const uint32_t wanted = durability_of(durability);
                 on_file(self, [&](fsys_file *f) {
                     return fsys_preallocate(f, offset, length, keep_size ? FSYS_KEEP_SIZE : 0,
                                             wanted);
                 });
             },
             py::arg("offset"), py::arg("length"), py::kw_only(), py::arg("keep_size") = false,
             py::arg("durability") = "full",
             "Allocates a range as allocate() does, durably: writing there cannot meet a full disk "
             "then, also after power loss.")
        .def("punch_hole",
             [](const File &self, uint64_t offset, uint64_t length,
                const std::string &durability) {
                 const uint32_t wanted = durability_of(durability);
                 on_file(self,
                         [&](fsys_file *f) { return fsys_punch_hole(f, offset, length, wanted); });
             },
             py::arg("offset"), py::arg("length"), py::kw_only(), py::arg("durability") = "full",
             "Gives blocks back to the file system; the range then reads as zeros.")
        .def("zero_range",
             [](const File &self, uint64_t offset, uint64_t length, bool keep_size,
                const std::string &durability) {
                 const uint32_t wanted = durability_of(durability);
                 on_file(self, [&](fsys_file *f) {
                     return fsys_zero_range(f, offset, length, keep_size ? FSYS_KEEP_SIZE : 0,
                                            wanted);
                 });
             },
             py::arg("offset"), py::arg("length"), py::kw_only(), py::arg("keep_size") = false,
             py::arg("durability") = "full", "Makes a range zeros that are allocated.")
        .def("set_lifetime",
             [](const File &self, const std::string &lifetime) {
                 const uint32_t hint = lifetime_of(lifetime);
                 on_file(self, [&](fsys_file *f) { return fsys_set_lifetime(f, hint); });
             },
             py::arg("lifetime"),
             "Tells how long the file's blocks will live, so that a device can keep them apart: "
             "'unset', 'none' (no hint), 'short', 'medium', 'long' or 'extreme'. Belongs to the inode "
             "in memory: fcntl(2) F_SET_RW_HINT.")
        .def("advise",
             [](const File &self, uint64_t offset, uint64_t length, const std::string &advice) {
                 const uint32_t kind = choice(
                     advice,
                     {"normal", "random", "sequential", "will_need", "dont_need", "once"},
                     "advice");
                 on_file(self, [&](fsys_file *f) { return fsys_advise(f, offset, length, kind); });
             },
             py::arg("offset"), py::arg("length"), py::arg("advice"),
             "Tells the kernel how a range will be used: posix_fadvise(2).");
}

}  // namespace binding
