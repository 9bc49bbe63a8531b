// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The engine under random use by many threads through its public ABI, for as long as wanted. Every
// completion must come once, be right, and leave the bytes that it claims; nothing may stand still;
// after each round nothing may be left. The main thread opens, closes, and on caller-driven handles
// drives and works; it owns everything.

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "worker.hpp"

using namespace stress;
using Clock = std::chrono::steady_clock;

namespace {

struct Settings {
    std::uint64_t seed = 0;
    double seconds = 30;
    unsigned threads = 4;
    unsigned stall = 20;
    std::vector<std::uint32_t> backends{FSYS_BACKEND_IO_URING, FSYS_BACKEND_THREADS};
    std::vector<std::uint32_t> drivers{FSYS_DRIVER_THREAD, FSYS_DRIVER_CALLER};
};

const char *backend_name(std::uint32_t backend) {
    return backend == FSYS_BACKEND_IO_URING ? "io_uring" : "threads";
}
const char *driver_name(std::uint32_t driver) {
    return driver == FSYS_DRIVER_CALLER ? "caller" : "thread";
}

constexpr const char *kUsage =
    "usage: stress_engine [options]\n"
    "  --seconds N     how long in all; default FSYS_STRESS_SECONDS, or 30\n"
    "  --share N       run for an N-th of that\n"
    "  --seed N        default: random; printed first\n"
    "  --threads N     workers, 1 to 32, default 4\n"
    "  --backend B     io_uring or threads; default: both\n"
    "  --driver D      thread or caller; default: both\n"
    "  --stall N       seconds without progress of a thread that count as a hang, default 20\n"
    "FSYS_STRESS_KEEP in the environment: a failure waits for a debugger.\n";

[[noreturn]] void usage(int code) {
    std::fputs(kUsage, code == 0 ? stdout : stderr);
    std::exit(code);
}

Settings parse(int argc, char **argv) {
    Settings s;
    if (const char *seconds = std::getenv("FSYS_STRESS_SECONDS")) {
        s.seconds = std::atof(seconds);
    }
    s.seed = std::random_device{}();
    double share = 1;
    const option options[] = {{"seconds", required_argument, nullptr, 's'},
                              {"share", required_argument, nullptr, 'p'},
                              {"seed", required_argument, nullptr, 'r'},
                              {"threads", required_argument, nullptr, 't'},
                              {"backend", required_argument, nullptr, 'b'},
                              {"driver", required_argument, nullptr, 'd'},
                              {"stall", required_argument, nullptr, 'w'},
                              {"help", no_argument, nullptr, 'h'},
                              {}};
    for (int c = 0; (c = ::getopt_long(argc, argv, "h", options, nullptr)) != -1;) {
        switch (c) {
        case 's': s.seconds = std::atof(optarg); break;
        case 'p': share = std::atof(optarg); break;
        case 'r': s.seed = std::strtoull(optarg, nullptr, 0); break;
        case 't': s.threads = static_cast<unsigned>(std::atoi(optarg)); break;
        case 'w': s.stall = static_cast<unsigned>(std::atoi(optarg)); break;
        case 'b':
            if (std::strcmp(optarg, "all") == 0) {
                break;
            }
            s.backends = {std::strcmp(optarg, "threads") == 0 ? FSYS_BACKEND_THREADS
                                                              : FSYS_BACKEND_IO_URING};
            if (std::strcmp(optarg, backend_name(s.backends[0])) != 0) {
                usage(2);
            }
            break;
        case 'd':
            if (std::strcmp(optarg, "all") == 0) {
                break;
            }
            s.drivers = {std::strcmp(optarg, "caller") == 0 ? FSYS_DRIVER_CALLER
                                                            : FSYS_DRIVER_THREAD};
            if (std::strcmp(optarg, driver_name(s.drivers[0])) != 0) {
                usage(2);
            }
            break;
        case 'h': usage(0);
        default: usage(2);
        }
    }
    if (optind != argc || s.threads < 1 || s.threads > kMostWorkers || share <= 0 || s.seconds <= 0) {
        usage(2);
    }
    s.seconds /= share;
    return s;
}

// Entries of a directory of /proc/self. The kernel's workers of io_uring ("iou-...") count as
// threads of the process and stay a while after their ring; they are not the library's.
unsigned entries_of(const char *directory) {
    unsigned count = 0;
    for (const auto &entry : std::filesystem::directory_iterator(directory)) {
        std::string name;
        std::getline(std::ifstream(entry.path() / "comm"), name);
        count += name.rfind("iou-", 0) == 0 ? 0 : 1;
    }
    return count;
}

// Threads that have been joined may be listed for some moments more.
void expect_back(const char *what, const char *directory, unsigned before) {
    unsigned now = 0;
    for (int i = 0; i < 200; ++i) {
        now = entries_of(directory);
        if (now == before) {
            return;
        }
        ::usleep(10'000);
    }
    fail("%u %s before the round, %u after it", before, what, now);
}

// Empties the completion queue; told of completions by the descriptor, or asleep in fsys_reap().
void reap_all(Round &round, Activity &activity, bool by_descriptor, std::uint64_t seed,
              const std::atomic<bool> &stop) {
    Random random(seed);
    const int fd = by_descriptor ? fsys_event_fd(round.handle) : -1;
    if (by_descriptor && fd < 0) {
        if (fd == FSYS_E_CLOSED && round.closing.load()) {
            activity.busy.store(false);
            return;
        }
        fail("fsys_event_fd gave %d", fd);
    }
    while (!stop.load()) {
        activity.now(by_descriptor ? "polling the event descriptor" : "reaping");
        int count = 0;
        if (!by_descriptor) {
            if (!reap_some(round, static_cast<std::uint32_t>(random.below(6)), 20'000'000)) {
                break;
            }
            continue;
        }
        pollfd ready{fd, POLLIN, 0};
        int told = ::poll(&ready, 1, 1000);
        if (told == 0) {
            // Silence: then there must be nothing to take, give or take what arrives just now.
            ::usleep(50'000);
            told = ::poll(&ready, 1, 0);
        }
        if (!reap_some(round, 1 + static_cast<std::uint32_t>(random.below(32)), 0, &count)) {
            break;
        }
        if (told == 0 && count > 0) {
            ready.revents = 0;
            fail("%d completions waited beside a descriptor that was not readable", count);
        }
        if (told == 1 && count == 0 && !round.closing.load()) {
            // Legal now and then (another thread was faster, a producer was slow), not for ever.
            unsigned times = 0;
            while (::poll(&ready, 1, 0) == 1 && count == 0 && ++times < 1000) {
                if (!reap_some(round, 32, 0, &count)) {
                    activity.busy.store(false);
                    return;
                }
                std::this_thread::yield();
            }
            if (times == 1000) {
                fail("the event descriptor stays readable though the queue is empty");
            }
        }
    }
    activity.busy.store(false);
}

class Program {
public:
    explicit Program(const Settings &settings);
    void run(std::uint32_t backend, std::uint32_t driver, double seconds);
    std::uint64_t rounds() const { return rounds_; }
    std::uint64_t finished() const;

private:
    void round(std::uint32_t backend, std::uint32_t driver, Clock::time_point end);
    void open_shared(fsys *handle);

    const Settings settings_;
    Random random_;
    std::vector<Activity> activities_;
    std::vector<TestFile> shared_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::uint64_t rounds_ = 0;
    std::unique_ptr<Watchdog> watchdog_;
};

Program::Program(const Settings &settings)
    : settings_(settings), random_(settings.seed), activities_(settings.threads + 3) {
    report().activities = &activities_;
    watchdog_ = std::make_unique<Watchdog>(settings.stall);
    bool direct = true;
    for (std::uint32_t i = 0; i < 4; ++i) {
        TestFile file;
        file.number = i;
        file.path = report().directory + "/shared." + std::to_string(i);
        file.owners = settings.threads;
        const int fd = ::open(file.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (i % 2 == 1 && direct) {
            const int test = ::open(file.path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
            direct = test >= 0;
            if (!direct) {
                std::printf("no O_DIRECT in this directory: buffered files only\n");
            }
            ::close(test);
        }
        file.direct = i % 2 == 1 && direct;
        file.unit = file.direct ? 4096 : 512;
        file.units.resize(std::size_t{kUnitsEach} * settings.threads);
        if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(file.size())) != 0) {
            fail("creating %s: errno %d", file.path.c_str(), errno);
        }
        ::close(fd);
        shared_.push_back(std::move(file));
    }
    for (std::uint32_t i = 0; i < settings.threads; ++i) {
        workers_.push_back(std::make_unique<Worker>(i, settings.seed, report().directory,
                                                    direct && i % 2 == 1, activities_[i]));
    }
}

std::uint64_t Program::finished() const {
    std::uint64_t sum = 0;
    for (const auto &worker : workers_) {
        sum += worker->finished();
    }
    return sum;
}

void Program::open_shared(fsys *handle) {
    for (TestFile &file : shared_) {
        fsys_file_options options{};
        options.struct_size = sizeof options;
        options.flags = FSYS_FILE_READ | FSYS_FILE_WRITE | (file.direct ? FSYS_FILE_DIRECT : 0);
        const int code = fsys_file_open(handle, file.path.c_str(), &options, &file.handle);
        if (code != 0) {
            fail("opening %s gave %d (%s)", file.path.c_str(), code, fsys_error_name(code));
        }
    }
}

void Program::round(std::uint32_t backend, std::uint32_t driver, Clock::time_point end) {
    static constexpr std::uint32_t kOps[] = {6, 16, 64, 512, 4096};
    const unsigned fds = entries_of("/proc/self/fd");
    const unsigned threads = entries_of("/proc/self/task");
    const bool caller = driver == FSYS_DRIVER_CALLER;
    Activity &main_activity = activities_[settings_.threads];

    fsys_options options{};
    options.struct_size = sizeof options;
    options.backend = backend;
    options.driver = driver;
    options.max_ops = kOps[random_.below(5)];
    options.pool_threads = 1 + static_cast<std::uint32_t>(random_.below(4));
    options.registered_files = random_.one_in(3) ? UINT32_MAX : random_.one_in(2) ? 16 : 0;
    options.submit_timeout_ns = 100'000'000;
    const bool race = random_.one_in(4);     // close while the workers are still at it
    const bool abandon = random_.one_in(4);  // leave ops in flight to the close
    // Reads of pipes that nobody feeds any more end only when the close cancels them.
    options.close_timeout_ns = race ? 500'000'000 : 3'000'000'000;
    char text[256] = "";
    options.error_text = text;
    options.error_text_size = sizeof text;

    Round round;
    const int code = fsys_open(&options, &round.handle);
    if (code != 0) {
        fail("fsys_open gave %d (%s): %s", code, fsys_error_name(code), text);
    }
    main_activity.now("beginning");
    main_activity.busy.store(true);
    round.caller_driven = caller;
    const auto reapers = static_cast<unsigned>(random_.below(3));
    round.own_reaper = reapers != 0;
    round.shared = &shared_;
    round.workers = &workers_;
    char title[256];
    std::snprintf(title, sizeof title,
                  "%s, driver %s, max_ops %u, pool %u, registered_files %u, %s%s, %u threads%s%s",
                  backend_name(backend), driver_name(driver), options.max_ops, options.pool_threads,
                  options.registered_files,
                  reapers == 0 ? "workers reap" : reapers == 1 ? "one reaper" : "two reapers",
                  reapers == 1 ? " by descriptor" : "", settings_.threads,
                  race ? ", closed under the workers" : "", abandon ? ", ops abandoned" : "");
    report().title = title;
    report().handle.store(round.handle);
    open_shared(round.handle);
    for (auto &worker : workers_) {
        worker->begin(round);
    }

    const auto most = std::chrono::milliseconds(200 + random_.below(1200));
    const auto until = std::min(end, Clock::now() + most);
    std::vector<std::thread> running;
    std::atomic<unsigned> ended{0};
    for (std::size_t i = caller ? 1 : 0; i < workers_.size(); ++i) {
        activities_[i].busy.store(true);
        running.emplace_back([&, i] {
            Worker &worker = *workers_[i];
            while (!round.stop.load(std::memory_order_relaxed)) {
                if (!worker.step()) {
                    break;
                }
            }
            // Threads that find the handle closed have nothing to collect.
            if (!round.closing.load()) {
                worker.end(abandon);
            }
            worker.activity().busy.store(false);
            ended.fetch_add(1);
        });
    }
    std::atomic<bool> reap_end{false};
    std::vector<std::thread> reaping;
    for (unsigned i = 0; i < reapers; ++i) {
        Activity &activity = activities_[settings_.threads + 1 + i];
        activity.busy.store(true);
        const std::uint64_t seed = random_.next();
        // The descriptor of a caller-driven handle is for its driver.
        const bool by_descriptor = reapers == 1 && !caller;
        reaping.emplace_back([&, seed, by_descriptor] {
            // Goes on until the workers have collected everything.
            reap_all(round, activity, by_descriptor, seed, reap_end);
        });
    }

    const auto drive = [&] {
        const int polled = fsys_poll(round.handle, random_.one_in(2) ? 0 : 1'000'000);
        if (polled < 0) {
            fail("fsys_poll gave %d (%s)", polled, fsys_error_name(polled));
        }
    };
    while (Clock::now() < until) {
        main_activity.now("driving");
        if (caller) {
            activities_[0].busy.store(true);
            workers_[0]->step();
            activities_[0].busy.store(false);
            drive();
        } else {
            ::usleep(20'000);
        }
    }
    if (race) {
        round.closing.store(true);
    }
    round.stop.store(true);
    if (!race) {
        if (caller) {
            main_activity.now("ending its own work");
            activities_[0].busy.store(true);
            while (ended.load() != running.size()) {
                main_activity.now("driving for the others");
                activities_[0].now("driving for the others");
                drive();
            }
            workers_[0]->end(abandon);
            activities_[0].busy.store(false);
        }
        for (auto &thread : running) {
            main_activity.now("joining");
            thread.join();
        }
        running.clear();
    }
    reap_end.store(true);
    if (!race) {
        for (auto &thread : reaping) {
            thread.join();
        }
        reaping.clear();
        fsys_counters counters{};
        counters.struct_size = sizeof counters;
        if (!abandon && (fsys_stats(round.handle, &counters) != 0 || counters.in_flight != 0)) {
            fail("%" PRIu64 " ops are in flight though all were collected", counters.in_flight);
        }
    }
    main_activity.now("closing");
    const int closed = fsys_close(round.handle);
    report().handle.store(nullptr);
    if (closed != 0) {
        fail("fsys_close gave %d (%s)", closed, fsys_error_name(closed));
    }
    main_activity.now("joining after the close");
    for (auto &thread : running) {
        thread.join();
    }
    for (auto &thread : reaping) {
        thread.join();
    }
    main_activity.now("verifying");
    for (auto &worker : workers_) {
        worker->forget();
        for (TestFile &file : shared_) {
            worker->verify_on_disk(file, true);
        }
        worker->verify_on_disk(worker->private_file(), true);
    }
    main_activity.busy.store(false);
    expect_back("descriptors", "/proc/self/fd", fds);
    expect_back("threads", "/proc/self/task", threads);
    report().round.store(++rounds_);
}

void Program::run(std::uint32_t backend, std::uint32_t driver, double seconds) {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(seconds));
    const std::uint64_t before = rounds_;
    const std::uint64_t ops = finished();
    while (Clock::now() < end) {
        round(backend, driver, end);
    }
    std::printf("%s, driver %s: %" PRIu64 " rounds, %" PRIu64 " ops checked\n",
                backend_name(backend), driver_name(driver), rounds_ - before, finished() - ops);
    std::fflush(stdout);
    if (finished() == ops) {
        fail("not one op was checked");
    }
}

}  // namespace

int main(int argc, char **argv) {
    const Settings settings = parse(argc, argv);
    std::printf("stress_engine --seed %" PRIu64 " --threads %u, %.1f s\n", settings.seed,
                settings.threads, settings.seconds);
    std::fflush(stdout);
    report().seed = settings.seed;
    char directory[] = "stress.XXXXXX";
    if (::mkdtemp(directory) == nullptr) {
        std::perror("mkdtemp");
        return 1;
    }
    report().directory = directory;

    // io_uring is left out only where the machine has none; where it has, the handle must use it.
    std::vector<std::uint32_t> backends;
    for (const std::uint32_t backend : settings.backends) {
        fsys_options options{};
        options.struct_size = sizeof options;
        options.backend = backend;
        char text[256] = "";
        options.error_text = text;
        options.error_text_size = sizeof text;
        fsys *handle = nullptr;
        const int code = fsys_open(&options, &handle);
        if (code == FSYS_E_URING_SETUP) {
            std::printf("skipped: io_uring: %s\n", text);
            continue;
        }
        if (code != 0 || fsys_close(handle) != 0) {
            fail("a first fsys_open gave %d: %s", code, text);
        }
        backends.push_back(backend);
    }
    if (!backends.empty()) {
        Program program(settings);
        const double each =
            settings.seconds / static_cast<double>(backends.size() * settings.drivers.size());
        for (const std::uint32_t backend : backends) {
            for (const std::uint32_t driver : settings.drivers) {
                program.run(backend, driver, each);
            }
        }
    }
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    return backends.empty() ? 77 : 0;
}
