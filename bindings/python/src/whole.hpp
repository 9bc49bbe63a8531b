// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Options of calls on whole files and names, as Python gives them.

#pragma once

#include "file.hpp"
#include "fsys/files.h"

namespace binding {

uint32_t durability_of(const std::string &name);
uint32_t lifetime_of(const std::string &name);

struct PathOptions {
    explicit PathOptions(const FilePtr &dir, const std::string &durability = "default",
                         uint32_t flags = 0, uint32_t mode = 0) {
        options.struct_size = sizeof options;
        options.flags = flags;
        options.durability = durability_of(durability);
        options.mode = mode;
        options.dir = dir ? dir->get() : nullptr;
        options.error_text = text;
        options.error_text_size = sizeof text;
    }

    fsys_path_options options{};
    char text[512] = "";
};

}  // namespace binding
