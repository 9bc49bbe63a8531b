// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opening files and finding out what suits them.
#pragma once

#include <cstdint>

#include "engine/engine.hpp"
#include "platform/text.hpp"

namespace libfsys {

// Each opens (or duplicates) a descriptor, which the caller then owns, and fills `facts`.
int open_path(Engine &engine, const char *path, std::uint32_t flags, std::uint32_t mode,
              TargetFacts &facts, Detail &detail);
int adopt_fd(Engine &engine, int fd, std::uint32_t flags, TargetFacts &facts, Detail &detail);

int describe_file(Engine &engine, const Target &target, fsys_file_details &details);

}  // namespace libfsys
