// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Journals that are not open here: functions of the module, which need no handle. Entered with the
// GIL, which is given up while the files are read.

#include "journal.hpp"

namespace binding {
namespace {

py::object check(const py::object &path, bool deep) {
    const Name name = Name::path_only(path);
    fsys_journal_report report{};
    report.struct_size = sizeof report;
    const int code = without_gil(
        [&] { return fsys_journal_check(name.c_str(), deep ? FSYS_JOURNAL_DEEP : 0, &report); });
    if (code != FSYS_E_CORRUPT) {
        checked(code, name.given, report.text);
    }
    return journal_report(report);
}

py::tuple salvage(const py::object &from, const py::object &to) {
    const Name source = Name::path_only(from);
    const Name target = Name::path_only(to);
    uint64_t records = 0;
    uint64_t lost = 0;
    const int code = without_gil(
        [&] { return fsys_journal_salvage(source.c_str(), target.c_str(), &records, &lost); });
    checked(code, source.given);
    return py::make_tuple(records, lost);
}

void snapshot(const py::object &from, const py::object &to, uint64_t lsn) {
    const Name source = Name::path_only(from);
    const Name target = Name::path_only(to);
    const int code = without_gil(
        [&] { return fsys_journal_snapshot_path(source.c_str(), lsn, target.c_str()); });
    checked(code, source.given);
}

py::object explain(const py::object &path, uint64_t position) {
    const Name name = Name::path_only(path);
    fsys_journal_finding finding{};
    finding.struct_size = sizeof finding;
    const int code =
        without_gil([&] { return fsys_journal_explain(name.c_str(), position, &finding); });
    checked(code, name.given);
    return journal_finding(finding);
}

py::list segments(const py::object &path) {
    const Name name = Name::path_only(path);
    return journal_segments(name.given, [&](fsys_journal_segment *all, uint32_t max) {
        return fsys_journal_list_segments(name.c_str(), all, max);
    });
}

py::list pins(const py::object &path) {
    const Name name = Name::path_only(path);
    return journal_pins(name.given, [&](fsys_journal_pinned *all, uint32_t max) {
        return fsys_journal_list_pins(name.c_str(), all, max);
    });
}

}  // namespace

void bind_check(py::module_ &module) {
    module.def("check_journal", &check, py::arg("path"), py::kw_only(), py::arg("deep") = false,
               "Comes to the verdict that opening the journal would, and changes nothing. deep: "
               "reads every record. Returns a JournalReport, also of a damaged journal; raises "
               "OSError when it could not be read.");
    module.def("salvage_journal", &salvage, py::arg("source"), py::arg("target"),
               "Copies every readable record of a closed journal into a new one. Returns how many "
               "were copied and how many ranges could not be read.");
    module.def(
        "snapshot_journal", &snapshot, py::arg("source"), py::arg("target"), py::arg("lsn") = 0,
        "Copies a journal that is not open here, also beside its writer in another process, "
        "into a new directory as a clean journal with the same LSNs: what is kept up to `lsn` "
        "(0: all that is durable, or without a writer all that opening would keep).\n\n"
        "Raises OSError (ENOTEMPTY: `target` holds something; EINVAL: `lsn` is not durable or "
        "not the LSN of a kept record; EAGAIN: it was trimmed while it was copied, remove "
        "`target` and repeat), CorruptError. After a failure `target` is no whole journal.");
    module.def(
        "explain_journal", &explain, py::arg("path"), py::arg("position"),
        "Tells what lies at a position (a byte of the log: a record's bytes lie below its "
        "LSN), by which rule and what proves it, as a JournalFinding. Changes nothing. Raises "
        "OSError when it could not be read.");
    module.def("list_segments", &segments, py::arg("path"),
               "The segment files of a journal that is not open here, oldest first, as a list of "
               "Segment. Raises OSError, CorruptError (a header does not check).");
    module.def("list_pins", &pins, py::arg("path"),
               "The pins of a journal that is not open here, by name, as a list of Pin. Raises "
               "OSError, CorruptError.");
}

}  // namespace binding
