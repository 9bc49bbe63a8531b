// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Options that several commands have. Main thread, while the command line is read.
#include "options.hpp"

#include "units.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace cli {

CLI::Option *add_size(CLI::App &app, const char *name, std::uint64_t &value,
                      const char *description)
{
    return app
        .add_option_function<std::string>(
            name, [name, &value](const std::string &text) { value = parse_size(name, text); },
            description)
        ->type_name("SIZE")
        ->take_last();
}

void add_backend(CLI::App &app, std::string &value)
{
    app.add_option("--backend", value, "auto (default), io_uring or threads")
        ->type_name("NAME")
        ->take_last()
        ->check([](const std::string &text) {
            return text == "auto" || text == "io_uring" || text == "threads"
                       ? std::string()
                       : fmt::format("'{}' is not auto, io_uring or threads", text);
        });
}

void add_progress(CLI::App &app, ProgressMode &mode)
{
    app.add_option_function<std::string>(
           "--progress",
           [&mode](const std::string &text) {
               const std::map<std::string, ProgressMode> modes{{"auto", ProgressMode::kAuto},
                                                               {"always", ProgressMode::kAlways},
                                                               {"never", ProgressMode::kNever}};
               const auto found = modes.find(text);
               if (found == modes.end()) {
                   throw CLI::ValidationError(
                       "--progress", fmt::format("'{}' is not auto, always or never", text));
               }
               mode = found->second;
           },
           "auto (default: on a terminal), always or never")
        ->type_name("WHEN")
        ->take_last();
}

std::function<std::string(const std::string &)> one_of(std::vector<std::string> names)
{
    return [names = std::move(names)](const std::string &text) {
        return std::find(names.begin(), names.end(), text) != names.end()
                   ? std::string()
                   : fmt::format("'{}' is not one of {}", text, fmt::join(names, ", "));
    };
}

}  // namespace cli
