// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Structs of the C library as the dataclasses of fsys._types.

#pragma once

#include "common.hpp"
#include "fsys/device.h"
#include "fsys/files.h"
#include "fsys/journal.h"

namespace binding {

py::object handle_info(fsys *handle);
py::object counters(fsys *handle);
py::object file_info(fsys_file *file, const py::object &name);
py::object journal_report(const fsys_journal_report &report);
py::object journal_stats(const fsys_journal_stats &stats);
py::object journal_frontiers(const fsys_journal_frontiers &frontiers);
py::object file_report(const fsys_file_report &report);
py::object probe_report(const fsys_probe_report &report);
py::object journal_segment(const fsys_journal_segment &segment);
py::object journal_pin(const fsys_journal_pinned &pin);
py::object journal_finding(const fsys_journal_finding &finding);
py::object batch_result(const fsys_batch_item &item, const py::object &path);
py::object flush_report(const fsys_flush_report &report);
py::object scan_entry(const fsys_scan_entry &entry, bool as_bytes);

}  // namespace binding
