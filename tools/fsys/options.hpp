// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Options that several commands have, with the same words and the same refusals.
#pragma once

#include "progress.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cli {

// The end of every command's help.
inline constexpr const char *kExitCodes = R"(
Exit status: 0 success, 1 failure, 2 unusable command line, 128 + n stopped by signal n.
Sizes are bytes or a number with K, M, G or T (powers of 1024).)";

CLI::Option *add_size(CLI::App &app, const char *name, std::uint64_t &value,
                      const char *description);
void add_backend(CLI::App &app, std::string &value);
void add_progress(CLI::App &app, ProgressMode &mode);
// A check for CLI::Option::check.
std::function<std::string(const std::string &)> one_of(std::vector<std::string> names);

template <typename T>
std::function<std::string(const std::string &)> between(T least, T most)
{
    return [least, most](const std::string &text) {
        T number{};
        return CLI::detail::lexical_cast(text, number) && number >= least && number <= most
                   ? std::string()
                   : fmt::format("takes {} to {}, not '{}'", least, most, text);
    };
}

template <typename T>
CLI::Option *add_number(CLI::App &app, const char *name, T &value, T least, T most,
                        const char *description)
{
    return app.add_option(name, value, description)
        ->type_name("N")
        ->take_last()
        ->check(between(least, most));
}

}  // namespace cli
