// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys.Scan: an iterator over the names in a directory or a tree. Entered with the GIL, which is
// given up for each name: a directory may have to be read.

#include "records.hpp"
#include "whole.hpp"

namespace binding {
namespace {

class Scan {
public:
    Scan(EnginePtr engine, const py::object &path, uint32_t flags, const FilePtr &dir)
        : engine_(std::move(engine)), path_(path) {
        const Name name = Name::path_only(path);
        as_bytes_ = PyBytes_Check(path.ptr()) != 0;
        PathOptions call(dir, "default", flags);
        checked(without_gil([&] {
                    return fsys_scan_open(engine_->handle(), name.c_str(), &call.options, &scan_);
                }),
                path_, call.text);
    }
    ~Scan() { close(); }
    Scan(const Scan &) = delete;

    py::object next() {
        if (closed_) {
            throw py::stop_iteration();
        }
        fsys_scan_entry entry{};
        entry.struct_size = sizeof entry;
        const int code = without_gil([&] { return fsys_scan_next(scan_, &entry); });
        if (code == FSYS_E_NOTHING) {
            close();
            throw py::stop_iteration();
        }
        checked(code, path_);
        return scan_entry(entry, as_bytes_);
    }

    void close() {
        if (!closed()) {
            closed_ = true;
            without_gil([&] { return fsys_scan_close(scan_); });
        }
    }
    bool closed() const { return closed_ || engine_->closed(); }

private:
    EnginePtr engine_;
    py::object path_;
    fsys_scan *scan_ = nullptr;
    bool as_bytes_ = false;
    bool closed_ = false;
};

}  // namespace

void bind_scan(py::module_ &module) {
    py::class_<Scan>(
        module, "Scan",
        "Iterates over the names in a directory, see Handle.scan(). One thread at a time "
        "(EBUSY). Ends by itself after the last name; close() ends it before.")
        .def("close", &Scan::close, "Ends the scan. Twice is allowed.")
        .def_property_readonly("closed", &Scan::closed,
                               "Whether it has ended, or its handle is closed.")
        .def("__iter__", [](const py::object &self) { return self; })
        .def("__next__", &Scan::next)
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](Scan &self, const py::args &) { self.close(); });

    auto handle = py::reinterpret_borrow<py::class_<Handle>>(module.attr("Handle"));
    handle.def(
        "scan",
        [](const Handle &self, const py::object &path, bool recursive, bool one_file_system,
           const FilePtr &dir) {
            return std::make_unique<Scan>(self.engine, path,
                                          (recursive ? FSYS_PATH_RECURSIVE : 0) |
                                              (one_file_system ? FSYS_PATH_ONE_FILE_SYSTEM : 0),
                                          dir);
        },
        py::arg("path"), py::kw_only(), py::arg("recursive") = false,
        py::arg("one_file_system") = false, py::arg("dir") = py::none(),
        "Lists a directory or, with recursive, all beneath it, as a Scan that gives ScanEntry: the "
        "names of a directory in byte order, a directory before what is in it, symbolic links not "
        "followed. one_file_system: not into directories where another file system begins. What "
        "cannot be looked at is an entry with an `error`. Raises the OSError of opening the "
        "directory.");
}

}  // namespace binding
