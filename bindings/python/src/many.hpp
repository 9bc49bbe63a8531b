// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A run of reads or writes of one file, and its memory.

#pragma once

#include <vector>

#include "file.hpp"

namespace binding {

struct Many {
    std::vector<fsys_request> requests;
    Loan loan;  // `bytes` is a list of bytes objects for reads without buffers

    /// Cuts the block of a read to what was read.
    void cut(size_t i, int64_t length);
};

Many many_reads(const File &file, const py::object &offsets, size_t length);
Many many_transfers(const File &file, const py::object &buffers, const py::object &offsets,
                    uint32_t opcode, uint32_t flags);

}  // namespace binding
