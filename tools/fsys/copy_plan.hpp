// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From two names on the command line to a CopyPlan, by the rules of cp(1); and the parts of a copy
// that are not the content of regular files.
#pragma once

#include "copy.hpp"

namespace cli {

// Resolves the names, refuses what cannot be meant, lists the source. Writes nothing, except that
// a target directory that does not exist is created.
CopyPlan make_plan(const CopyOptions &options, Progress &progress);

void make_directories(CopyPlan &plan);
void make_symlinks(const CopyOptions &options, const CopyPlan &plan);
// After everything in them has been made: permissions and times of the directories that
// make_directories() created.
void finish_directories(const CopyPlan &plan);
// Directory entries are durable only after a sync of the directory; deepest first, then the one
// that holds the target.
void sync_directories(Engine &engine, const CopyPlan &plan);

}  // namespace cli
