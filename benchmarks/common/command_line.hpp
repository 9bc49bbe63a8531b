// SPDX-License-Identifier: Apache-2.0 OR MIT
// The options that every benchmark has. Main thread.
#pragma once

#include "settings.hpp"

#include <CLI/CLI.hpp>

namespace bench {

/// What a benchmark measures with when nothing else is asked for.
struct Defaults {
    unsigned rounds, quick_rounds;
    unsigned slice_ms, quick_slice_ms;
    unsigned size_mib, quick_size_mib;
    unsigned warm_up_ms, quick_warm_up_ms;
};

class CommandLine {
public:
    CommandLine(CLI::App &app, Settings &settings, const Defaults &defaults);
    /// Fills the settings; after parsing.
    void settle(int argc, char **argv);

private:
    Settings &settings_;
    Defaults defaults_;
    unsigned rounds_ = 0;
    unsigned slice_ = 0;
    unsigned size_ = 0;
};

}  // namespace bench
