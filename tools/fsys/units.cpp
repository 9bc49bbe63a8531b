// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Numbers as people write and read them. No state, any thread.
#include "units.hpp"

#include "failure.hpp"

#include <CLI/CLI.hpp>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

namespace cli {

namespace {

constexpr std::array<const char *, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};

}  // namespace

std::uint64_t parse_size(const std::string &option, const std::string &text)
{
    std::uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    std::string unit(rest, end);
    for (char &c : unit) {
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    unsigned shift = 0;
    bool known = error == std::errc() && rest != text.data();
    if (!unit.empty() && unit != "b") {
        const std::size_t power = std::string("kmgt").find(unit[0]);
        known = known && power != std::string::npos &&
                (unit.size() == 1 || unit.substr(1) == "ib" || unit.substr(1) == "b");
        shift = known ? static_cast<unsigned>(power + 1) * 10 : 0;
    }
    if (!known || (value << shift) >> shift != value || value << shift > INT64_MAX) {
        throw CLI::ValidationError(
            option, fmt::format("'{}' is not a size; write bytes or a number with K, M, G or T",
                                text));
    }
    return value << shift;
}

std::string human_bytes(std::uint64_t bytes)
{
    std::size_t unit = 0;
    double value = static_cast<double>(bytes);
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    if (value == std::floor(value)) {
        return fmt::format("{:.0f} {}", value, kUnits[unit]);
    }
    return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_rate(double bytes_per_second)
{
    std::size_t unit = 0;
    while (bytes_per_second >= 10240 && unit + 1 < kUnits.size()) {
        bytes_per_second /= 1024;
        ++unit;
    }
    return fmt::format("{:.1f} {}/s", bytes_per_second, kUnits[unit]);
}

std::string human_count(std::uint64_t count)
{
    std::string digits = fmt::format("{}", count);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, ",");
    }
    return digits;
}

std::string human_ns(double nanoseconds)
{
    if (nanoseconds < 1e3) {
        return fmt::format("{:.0f} ns", nanoseconds);
    }
    if (nanoseconds < 1e6) {
        return fmt::format("{:.{}f} us", nanoseconds / 1e3, nanoseconds < 1e5 ? 1 : 0);
    }
    if (nanoseconds < 1e9) {
        return fmt::format("{:.{}f} ms", nanoseconds / 1e6, nanoseconds < 1e8 ? 1 : 0);
    }
    return fmt::format("{:.2f} s", nanoseconds / 1e9);
}

std::string human_seconds(double seconds)
{
    if (seconds < 0.1) {
        return human_ns(seconds * 1e9);
    }
    if (seconds < 60) {
        return fmt::format("{:.2f} s", seconds);
    }
    const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
    return fmt::format("{} min {:02} s", whole / 60, whole % 60);
}

std::string clock_seconds(double seconds)
{
    const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
    if (whole >= 3600) {
        return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
    }
    return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string plural(std::uint64_t count, const char *one, const char *many)
{
    return fmt::format("{} {}", human_count(count), count == 1 ? one : many);
}

std::string printable(const std::string &name)
{
    std::string out;
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out += c;
        }
    }
    return out;
}

}  // namespace cli
