// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Whole files and names: methods of fsys.Handle, and ranges of fsys.File. Entered with the GIL, which
// is given up around each call: they block for as long as the disk takes.

#include <cerrno>

#include "file.hpp"
#include "records.hpp"

namespace binding {
namespace {

uint32_t durability_of(const std::string &name) {
    constexpr const char *kNames[] = {"default", "none", "data", "full", "device"};
    for (uint32_t i = 0; i < std::size(kNames); ++i) {
        if (name == kNames[i]) {
            return i;
        }
    }
    throw py::value_error("durability must be 'none', 'data', 'full' or 'device'");
}

uint32_t keep_of(const py::object &names) {
    if (names.is_none()) {
        return FSYS_KEEP_DEFAULT;
    }
    uint32_t keep = 0;
    for (const py::handle item : names) {
        const auto name = item.cast<std::string>();
        if (name == "mode") {
            keep |= FSYS_KEEP_MODE;
        } else if (name == "owner") {
            keep |= FSYS_KEEP_OWNER;
        } else if (name == "xattrs") {
            keep |= FSYS_KEEP_XATTRS;
        } else if (name == "acl") {
            keep |= FSYS_KEEP_ACL;
        } else if (name == "times") {
            keep |= FSYS_KEEP_TIMES;
        } else {
            throw py::value_error("keep may have 'mode', 'owner', 'xattrs', 'acl', 'times'");
        }
    }
    return keep == 0 ? FSYS_KEEP_NOTHING : keep;
}

struct ReplaceOptions {
    ReplaceOptions(const std::string &durability, const py::object &keep, uint32_t permissions,
                   uint32_t flags) {
        options.struct_size = sizeof options;
        options.flags = flags;
        options.durability = durability_of(durability);
        options.keep = keep_of(keep);
        options.mode = permissions;
        options.error_text = text;
        options.error_text_size = sizeof text;
        report.struct_size = sizeof report;
    }

    fsys_replace_options options{};
    fsys_file_report report{};
    char text[512] = "";
};

// The report says how far it came, also when it failed.
py::object finish(int code, const ReplaceOptions &call, const py::object &path) {
    const py::object report = file_report(call.report);
    if (code < 0) {
        const py::object error = make_error(code, path, call.text);
        error.attr("report") = report;
        PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(error.ptr())), error.ptr());
        throw py::error_already_set();
    }
    return report;
}

py::object replace(const Handle &handle, const py::object &path, const py::object &data,
                   const std::string &durability, const py::object &keep, uint32_t permissions,
                   bool exclusive, bool existing, bool nofollow, bool keep_try) {
    const Name name = Name::path_only(path);
    const View view(data, View::kRead);
    ReplaceOptions call(durability, keep, permissions,
                        (exclusive ? FSYS_REPLACE_NEW : 0) |
                            (existing ? FSYS_REPLACE_EXISTING : 0) |
                            (nofollow ? FSYS_REPLACE_NOFOLLOW : 0) |
                            (keep_try ? FSYS_REPLACE_KEEP_TRY : 0));
    fsys *const h = handle.engine->handle();
    const int code = without_gil([&] {
        return fsys_replace(h, name.c_str(), view.data(), view.size(), &call.options,
                            &call.report);
    });
    return finish(code, call, name.given);
}

py::object copy(const Handle &handle, const py::object &from, const py::object &to,
                const std::string &durability, const py::object &keep, uint32_t permissions,
                bool reflink) {
    const Name source = Name::path_only(from);
    const Name target = Name::path_only(to);
    ReplaceOptions call(durability, keep, permissions, reflink ? FSYS_REPLACE_REFLINK : 0);
    fsys *const h = handle.engine->handle();
    const int code = without_gil([&] {
        return fsys_copy(h, source.c_str(), target.c_str(), &call.options, &call.report);
    });
    return finish(code, call, target.given);
}

struct PathOptions {
    explicit PathOptions(const std::string &durability = "default", uint32_t flags = 0,
                         uint32_t mode = 0) {
        options.struct_size = sizeof options;
        options.flags = flags;
        options.durability = durability_of(durability);
        options.mode = mode;
        options.error_text = text;
        options.error_text_size = sizeof text;
    }

    fsys_path_options options{};
    char text[512] = "";
};

uint64_t append(const Handle &handle, const py::object &path, const py::object &data,
                const std::string &durability) {
    const Name name = Name::path_only(path);
    const View view(data, View::kRead);
    PathOptions call(durability);
    uint64_t offset = 0;
    const int code = without_gil([&] {
        return fsys_append(handle.engine->handle(), name.c_str(), view.data(), view.size(),
                           &call.options, &offset);
    });
    checked(code, name.given, call.text);
    return offset;
}

py::bytes read_file(const Handle &handle, const py::object &path, uint64_t max_bytes) {
    const Name name = Name::path_only(path);
    PathOptions call;
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

uint32_t sweep(const Handle &handle, const py::object &path, double min_age) {
    const Name name = Name::path_only(path);
    PathOptions call;
    uint32_t removed = 0;
    const auto age = static_cast<uint64_t>(nanoseconds(py::float_(min_age)));
    const int code = without_gil([&] {
        return fsys_sweep(handle.engine->handle(), name.c_str(), age, &call.options, &removed);
    });
    checked(code, name.given, call.text);
    return removed;
}

py::object probe(const py::object &path) {
    auto report = std::make_unique<fsys_probe_report>();
    report->struct_size = sizeof *report;
    const Name name(path);
    const int code = without_gil([&] {
        return name.fd >= 0 ? fsys_probe_fd(name.fd, 0, report.get())
                            : fsys_probe(name.c_str(), 0, report.get());
    });
    checked(code, name.given);
    return probe_report(*report);
}

template <class Call>
void on_file(const File &file, Call &&call) {
    checked(without_gil([&] { return call(file.get()); }), file.name());
}

}  // namespace

void bind_whole(py::module_ &module) {
    auto handle = py::reinterpret_borrow<py::class_<Handle>>(module.attr("Handle"));
    handle
        .def("replace", &replace, py::arg("path"), py::arg("data"), py::kw_only(),
             py::arg("durability") = "full", py::arg("keep") = py::none(),
             py::arg("permissions") = 0666, py::arg("exclusive") = false,
             py::arg("existing") = false, py::arg("nofollow") = false,
             py::arg("keep_try") = false,
             "Replaces a file, or creates it: whoever opens the name gets all old or all new bytes, "
             "also after power loss, and once this returned the new ones. Returns a FileReport.\n\n"
             "durability: 'none', 'data', 'full' or 'device'. keep: what the new file takes over, "
             "of 'mode', 'owner', 'xattrs', 'acl', 'times' (None: mode, owner and acl). permissions: "
             "of a file that is new. exclusive: FileExistsError when the name is taken. existing: "
             "FileNotFoundError when it is not. keep_try: what cannot be kept is reported, no "
             "failure.\n\nRaises OSError with the FileReport as `report`: unless its step is "
             "'sync_directory' or 'sync_device' the old file is as it was.")
        .def("copy", &copy, py::arg("source"), py::arg("target"), py::kw_only(),
             py::arg("durability") = "full", py::arg("keep") = py::none(),
             py::arg("permissions") = 0666, py::arg("reflink") = false,
             "Copies a file into one that replaces `target` as replace() does, sharing blocks where "
             "it can; reflink: that or OSError (EOPNOTSUPP). Returns a FileReport.")
        .def("append", &append, py::arg("path"), py::arg("data"), py::kw_only(),
             py::arg("durability") = "full",
             "Appends to a file, creating it (and syncing its directory) when absent; returns where "
             "the bytes begin. Not atomic: for records use a journal.")
        .def("read_file", &read_file, py::arg("path"), py::kw_only(), py::arg("max_bytes") = 0,
             "Reads a whole file; OSError (EFBIG) when it has more than max_bytes (0: no limit).")
        .def("rename",
             [](const Handle &self, const py::object &from, const py::object &to,
                const std::string &durability, bool exclusive, bool exchange) {
                 call_two(self, &fsys_rename, from, to,
                          PathOptions(durability, (exclusive ? FSYS_PATH_NEW : 0) |
                                          (exchange ? FSYS_PATH_EXCHANGE : 0)));
             },
             py::arg("source"), py::arg("target"), py::kw_only(), py::arg("durability") = "full",
             py::arg("exclusive") = false, py::arg("exchange") = false,
             "Renames, durably: the file is synced before, the directories after.")
        .def("link",
             [](const Handle &self, const py::object &from, const py::object &to,
                const std::string &durability) {
                 call_two(self, &fsys_link, from, to, PathOptions(durability));
             },
             py::arg("source"), py::arg("target"), py::kw_only(), py::arg("durability") = "full",
             "Gives a file a second name, durably.")
        .def("unlink",
             [](const Handle &self, const py::object &path, bool missing_ok,
                const std::string &durability) {
                 call_one(self, &fsys_unlink, path,
                          PathOptions(durability, missing_ok ? FSYS_PATH_MISSING_OK : 0));
             },
             py::arg("path"), py::kw_only(), py::arg("missing_ok") = false,
             py::arg("durability") = "full", "Removes a file's name and syncs the directory.")
        .def("mkdir",
             [](const Handle &self, const py::object &path, bool parents, uint32_t permissions,
                const std::string &durability) {
                 call_one(self, &fsys_mkdir, path,
                          PathOptions(durability, parents ? FSYS_PATH_PARENTS : 0, permissions));
             },
             py::arg("path"), py::kw_only(), py::arg("parents") = false,
             py::arg("permissions") = 0777, py::arg("durability") = "full",
             "Makes a directory and syncs the one it is in. parents: missing ones above, too.")
        .def("rmdir",
             [](const Handle &self, const py::object &path, bool missing_ok,
                const std::string &durability) {
                 call_one(self, &fsys_rmdir, path,
                          PathOptions(durability, missing_ok ? FSYS_PATH_MISSING_OK : 0));
             },
             py::arg("path"), py::kw_only(), py::arg("missing_ok") = false,
             py::arg("durability") = "full", "Removes an empty directory, durably.")
        .def("sync_path",
             [](const Handle &self, const py::object &path, const std::string &durability,
                bool parent, bool file_system) {
                 call_one(self, &fsys_sync_path, path,
                          PathOptions(durability, (parent ? FSYS_PATH_SYNC_PARENT : 0) |
                                          (file_system ? FSYS_PATH_FILE_SYSTEM : 0)));
             },
             py::arg("path"), py::kw_only(), py::arg("durability") = "full",
             py::arg("parent") = false, py::arg("file_system") = false,
             "Makes durable what others wrote to a file or directory; parent: the directory of the "
             "name, too; file_system: all of it.")
        .def("sweep", &sweep, py::arg("path"), py::kw_only(), py::arg("min_age") = 0.0,
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
        .def("advise",
             [](const File &self, uint64_t offset, uint64_t length, const std::string &advice) {
                 constexpr const char *kNames[] = {"normal",    "random",    "sequential",
                                                   "will_need", "dont_need", "once"};
                 for (uint32_t i = 0; i < std::size(kNames); ++i) {
                     if (advice == kNames[i]) {
                         on_file(self,
                                 [&](fsys_file *f) { return fsys_advise(f, offset, length, i); });
                         return;
                     }
                 }
                 throw py::value_error("advice must be 'normal', 'random', 'sequential', "
                                       "'will_need', 'dont_need' or 'once'");
             },
             py::arg("offset"), py::arg("length"), py::arg("advice"),
             "Tells the kernel how a range will be used: posix_fadvise(2).");

    module.def("probe", &probe, py::arg("path"),
               "Tells what lies underneath a file, directory or block device (a path or a "
               "descriptor): file system, devices, caches, power-loss protection, atomic units. "
               "Returns a ProbeReport; what nobody knows is None in it. Raises the OSError of "
               "finding the file.");
}

}  // namespace binding
