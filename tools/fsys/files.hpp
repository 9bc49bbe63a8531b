// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `fsys put` and `fsys sync`, as main.cpp sees them.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

struct PutOptions {
    std::string path;
    std::string source;  // "": standard input
    std::string durability = "full";
    std::vector<std::string> keep;
    std::string mode;
    bool fresh = false;
    bool existing = false;
    bool nofollow = false;
    bool json = false;
};

struct SyncOptions {
    std::vector<std::string> paths;
    bool data = false;
    bool device = false;
    bool file_system = false;
    bool no_parent = false;
    bool json = false;
};

class FileCommands {
public:
    explicit FileCommands(CLI::App &app);

    bool parsed() const { return put_->parsed() || sync_->parsed(); }
    bool json() const { return put_->parsed() ? put_options_.json : sync_options_.json; }
    std::string name() const { return put_->parsed() ? "put" : "sync"; }
    int run() const;
    // The long texts, once a help is asked for.
    void describe() const;

private:
    PutOptions put_options_;
    SyncOptions sync_options_;
    CLI::App *put_;
    CLI::App *sync_;
};

}  // namespace cli
