// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the tests of whole files share: options, contents, what is left in a directory.
#pragma once

#include <fsys/files.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "regress/support.hpp"

namespace files_test {

using regress::Handle;
using regress::Scratch;

inline std::string contents(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        return "(missing)";
    }
    return {std::istreambuf_iterator<char>(in), {}};
}
inline void put(const std::string &path, const std::string &text, mode_t mode = 0644) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    REQUIRE(::chmod(path.c_str(), mode) == 0);
}
inline mode_t mode_of(const std::string &path) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    return st.st_mode & 07777;
}
// All names in a directory, sorted, as one text: "a b c".
inline std::string names_in(const std::string &path) {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(path)) {
        names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string &name : names) {
        text += (text.empty() ? "" : " ") + name;
    }
    return text;
}

// Options with room for the sentence.
struct ReplaceOptions : fsys_replace_options {
    explicit ReplaceOptions(std::uint32_t the_flags = 0, std::uint32_t the_keep = 0)
        : fsys_replace_options{} {
        struct_size = sizeof(fsys_replace_options);
        flags = the_flags;
        keep = the_keep;
        error_text = text;
        error_text_size = sizeof text;
    }
    ReplaceOptions(const ReplaceOptions &) = delete;
    ReplaceOptions &operator=(const ReplaceOptions &) = delete;
    char text[512] = "";
};
struct PathOptions : fsys_path_options {
    explicit PathOptions(std::uint32_t the_flags = 0, std::uint32_t the_durability = 0)
        : fsys_path_options{} {
        struct_size = sizeof(fsys_path_options);
        flags = the_flags;
        durability = the_durability;
        error_text = text;
        error_text_size = sizeof text;
    }
    PathOptions(const PathOptions &) = delete;
    PathOptions &operator=(const PathOptions &) = delete;
    char text[512] = "";
};
struct Report : fsys_file_report {
    Report() : fsys_file_report{} { struct_size = sizeof(fsys_file_report); }
};

inline int replace(fsys *handle, const std::string &path, const std::string &text,
                   const fsys_replace_options *options = nullptr,
                   fsys_file_report *report = nullptr) {
    return fsys_replace(handle, path.c_str(), text.data(), text.size(), options, report);
}
inline fsys_batch_item item(const std::string &path, const std::string &text) {
    fsys_batch_item item{};
    item.path = path.c_str();
    item.data = text.data();
    item.length = text.size();
    return item;
}

}  // namespace files_test
