// SPDX-License-Identifier: Apache-2.0 OR MIT
// User-space instructions per op, counted by valgrind's callgrind: a figure without noise. Each
// kind runs twice in a child process with different counts; the difference divides out start and
// end.
#include "groups.hpp"
#include "subject.hpp"
#include "subprocess.hpp"

#include <fmt/format.h>

#include <unistd.h>
#include <optional>

namespace bench {

namespace {

constexpr unsigned batch = 32;

std::unique_ptr<Worker> worker_of(const std::string &kind, const Target &target) {
    const Seat seat{0, 1, nullptr};
    if (kind == "pread")
        return syscall_worker(target, Call::plain, seat);
    if (kind == "liburing NOP, batch 32")
        return uring_nop_worker(batch, seat);
    if (kind == "fsys NOP, caller driver, batch 32")
        return caller_nop_worker(batch, nullptr, seat);
    if (kind == "fsys_read") {
        const auto engine = std::make_shared<Engine>(EngineOptions{});
        return single_worker(std::make_shared<SubjectFile>(engine, target), Single::blocking, 0,
                             seat);
    }
    throw Failure("unknown kind of instruction count: " + kind);
}

/// Instructions of the whole child, or nothing when valgrind did not work.
std::optional<double> count_child(const std::string &kind, unsigned long ops,
                                  const std::string &path, std::string &why) {
    // Resolved here: in the child /proc/self/exe is valgrind.
    char self[4096];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self);
    if (length <= 0)
        throw Failure("cannot read /proc/self/exe");
    const Output output =
        run_program({"valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                     std::string(self, static_cast<std::size_t>(length)), "--instruction-child",
                     kind, "--instruction-ops", std::to_string(ops), "--instruction-file", path});
    const std::string mark = "Collected : ";
    const std::size_t at = output.text.find(mark);
    if (output.status != 0 || at == std::string::npos) {
        why = output.status == -1 ? "valgrind is not installed" : output.text;
        return std::nullopt;
    }
    return std::stod(output.text.substr(at + mark.size()));
}

}  // namespace

int run_instruction_child(const std::string &kind, unsigned long count, const std::string &path) {
    Target target;
    target.descriptor = std::make_shared<Descriptor>(path, 0);
    target.path = path;
    target.bytes = 1U << 20;
    const std::unique_ptr<Worker> worker = worker_of(kind, target);
    for (unsigned long done = 0; done < count;)
        done += worker->step();
    return 0;
}

void measure_instructions(Report &report, const Files &files) {
    if (!report.settings().instructions)
        return;
    Table table{"User-space instructions per op (callgrind, all threads, kernel not counted)",
                {"what", "instructions/op"},
                {}};
    for (const char *kind :
         {"pread", "fsys_read", "liburing NOP, batch 32", "fsys NOP, caller driver, batch 32"}) {
        fmt::print(stderr, "  instructions: {} ...\n", kind);
        constexpr unsigned long few = 3200;
        constexpr unsigned long many = 16000;
        std::string why;
        const auto low = count_child(kind, few, files.cached.path(), why);
        const auto high = low ? count_child(kind, many, files.cached.path(), why) : std::nullopt;
        if (!high) {
            report.note(fmt::format("instruction count of \"{}\" not made: {}", kind, why));
            continue;
        }
        table.rows.push_back({kind, fmt::format("{:.1f}", (*high - *low) / double(many - few))});
    }
    if (!table.rows.empty())
        report.add(std::move(table));
}

}  // namespace bench
