// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What lies underneath a file, and flushing it. Entered with the GIL, which is given up around each
// call: devices are asked.

#include "file.hpp"
#include "records.hpp"

namespace binding {
namespace {

template <class Call>
py::object probed(const py::object &name, Call &&call) {
    auto report = std::make_unique<fsys_probe_report>();
    report->struct_size = sizeof *report;
    checked(without_gil([&] { return call(report.get()); }), name);
    return probe_report(*report);
}

py::object probe(const py::object &path) {
    const Name name(path);
    return probed(name.given, [&](fsys_probe_report *report) {
        return name.fd >= 0 ? fsys_probe_fd(name.fd, 0, report)
                            : fsys_probe(name.c_str(), 0, report);
    });
}

uint32_t ways_of(const py::object &names) {
    uint32_t ways = 0;
    if (!names.is_none()) {
        for (const py::handle item : names) {
            ways |=
                1u << choice(item.cast<std::string>(), {"ioctl", "uring", "block"}, "each of ways");
        }
        if (ways == 0) {
            throw py::value_error("ways must name a way, or be None");
        }
    }
    return ways;
}
static_assert(FSYS_FLUSH_IOCTL == 1u << 0 && FSYS_FLUSH_URING == 1u << 1 &&
              FSYS_FLUSH_BLOCK == 1u << 2);

// The report says how far it came, also when it failed.
template <class Call>
py::object flushed(const py::object &name, Call &&call) {
    fsys_flush_report report{};
    report.struct_size = sizeof report;
    const int code = without_gil([&] { return call(&report); });
    const py::object result = flush_report(report);
    if (code < 0) {
        const py::object error = make_error(code, name, report.text);
        error.attr("report") = result;
        raise(error);
    }
    return result;
}

py::object device_flush(const py::object &path, const py::object &ways) {
    const Name name(path);
    const uint32_t allowed = ways_of(ways);
    return flushed(name.given, [&](fsys_flush_report *report) {
        return name.fd >= 0 ? fsys_device_flush_fd(name.fd, allowed, report)
                            : fsys_device_flush(name.c_str(), allowed, report);
    });
}

}  // namespace

void bind_device(py::module_ &module) {
    module.def("probe", &probe, py::arg("path"),
               "Tells what lies underneath a file, directory or block device (a path or a "
               "descriptor): file system, devices, caches, power-loss protection, atomic units. "
               "Returns a ProbeReport; what nobody knows is None in it. Raises the OSError of "
               "finding the file.");
    module.def(
        "device_flush", &device_flush, py::arg("path"), py::arg("ways") = py::none(),
        "Makes a file (a path or a descriptor) durable down to the device's own flush: "
        "fsync(2), then a flush of each disk underneath. ways: those that may be used, of "
        "'ioctl', 'uring' (both NVMe passthrough) and 'block' (None: all). Returns a "
        "FlushReport.\n\nRaises OSError with the FlushReport as `report` (ENODEV: no device is "
        "known underneath; EOPNOTSUPP, EACCES, ENXIO, EIO; the errno of fsync), Error "
        "(E_UNKNOWN: not every device is known to have flushed). report.committed tells "
        "whether the file system's own commit succeeded.");

    auto file = py::reinterpret_borrow<py::class_<File, FilePtr>>(module.attr("File"));
    file.def(
            "probe",
            [](const File &self) {
                return probed(self.name(), [&](fsys_probe_report *report) {
                    return fsys_probe_file(self.get(), 0, report);
                });
            },
            "What lies underneath the file, see fsys.probe().")
        .def(
            "device_flush",
            [](const File &self, const py::object &ways) {
                const uint32_t allowed = ways_of(ways);
                return flushed(self.name(), [&](fsys_flush_report *report) {
                    return fsys_device_flush_file(self.get(), allowed, report);
                });
            },
            py::arg("ways") = py::none(),
            "sync(), then a flush of each disk underneath, see fsys.device_flush(). A failed sync "
            "poisons the file; PoisonedError when one had failed before.");
}

}  // namespace binding
