// SPDX-License-Identifier: Apache-2.0 OR MIT
// Facts for the head of the report: kernel, processor, memory, file system, disk, compiler and the
// method's parameters.
#include "machine.hpp"

#include <fmt/format.h>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <fstream>
#include <thread>

namespace bench {

namespace {

std::string first_line(const std::string &path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::string line_starting(const std::string &path, const std::string &start) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
        if (line.starts_with(start)) {
            const std::size_t at = line.find_first_not_of(" \t:", start.size());
            return at == std::string::npos ? std::string() : line.substr(at);
        }
    }
    return "?";
}

std::string file_system_of(const std::string &directory) {
    struct stat status {};
    if (stat(directory.c_str(), &status) != 0)
        return "?";
    const std::string device = fmt::format("{}:{}", major(status.st_dev), minor(status.st_dev));
    // mountinfo: id parent major:minor root mount-point options ... - type source super-options
    std::ifstream mounts("/proc/self/mountinfo");
    std::string line;
    while (std::getline(mounts, line)) {
        const std::size_t dash = line.find(" - ");
        if (line.find(" " + device + " ") == std::string::npos || dash == std::string::npos)
            continue;
        std::string disk;
        const std::string queue = "/sys/dev/block/" + device + "/queue/";
        if (const std::string scheduler = first_line(queue + "scheduler"); !scheduler.empty())
            disk =
                fmt::format("; scheduler {}, {}, {}", scheduler, first_line(queue + "write_cache"),
                            first_line(queue + "fua") == "1" ? "FUA" : "no FUA");
        return line.substr(dash + 3) + disk;
    }
    return "device " + device;
}

}  // namespace

std::string load_average() { return first_line("/proc/loadavg"); }

Machine describe_machine(const Settings &settings) {
    utsname name{};
    uname(&name);
    Machine machine;
    auto &facts = machine.facts;
    facts.emplace_back("command", settings.command);
    facts.emplace_back("kernel", fmt::format("{} {} {}", name.sysname, name.release, name.machine));
    facts.emplace_back("processor",
                       fmt::format("{}, {} cpus", line_starting("/proc/cpuinfo", "model name"),
                                   std::thread::hardware_concurrency()));
    facts.emplace_back("memory", line_starting("/proc/meminfo", "MemTotal"));
    facts.emplace_back("file system", file_system_of(settings.directory));
    facts.emplace_back("compiler", BENCH_BUILD);
    facts.emplace_back(
        "method", fmt::format("{} interleaved rounds of {} ms per row after {} ms of warm-up each, "
                              "files of {} MiB, nothing pinned",
                              settings.rounds, settings.slice.count(), settings.warm_up.count(),
                              settings.file_bytes >> 20));
    facts.emplace_back("load before", load_average());
    return machine;
}

}  // namespace bench
