// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The extension module fsys._fsys: everything that needs the C library. What Python programs import
// is the package fsys around it.

#include "engine.hpp"
#include "future.hpp"

PYBIND11_MODULE(_fsys, module) {
    namespace py = pybind11;
    module.doc() = "The C library libfsys for the package fsys; import that.";
    binding::bind_file(module);
    binding::bind_many(module);
    binding::bind_handle(module);
    binding::bind_journal(module);
    binding::bind_ticket(module);
    binding::bind_check(module);
    binding::bind_future(module);
    binding::bind_channel(module);
    binding::bind_async_file(module);
    binding::bind_whole(module);
    binding::bind_replace(module);
    binding::bind_scan(module);
    binding::bind_device(module);
    module.def("version", [] { return py::str(fsys_version_string()); },
               "The version of the C library that is loaded.");
    module.def("error_name", [](int code) { return py::str(fsys_error_name(code)); },
               py::arg("code"),
               "The name of a code: 'FSYS_E_STALE' for -4098, 'ENOSPC' for a negative errno, '?'.");
    module.def("error_text", [](int code) { return py::str(fsys_strerror(code)); }, py::arg("code"),
               "A sentence for a code of the library or a negative errno.");
    for (const char *name : {"Handle", "File", "Op", "Buffer", "Journal", "Reader", "Ticket",
                             "Replacement", "Scan"}) {
        module.attr(name).attr("__module__") = "fsys";  // where people import them from
    }
}
