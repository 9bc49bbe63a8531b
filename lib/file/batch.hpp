// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Many files with one wait for the disk.
#pragma once

#include "engine/engine.hpp"
#include "file/replace.hpp"

namespace libfsys::files {

// fsys_batch(), items checked. Any thread; it executes its own syncs, so that it may also run on
// the last free pool thread.
int run_batch(Engine &engine, const Where &where, const ReplaceSettings &settings, Detail detail,
              fsys_batch_item *items, std::uint32_t count);

}  // namespace libfsys::files
