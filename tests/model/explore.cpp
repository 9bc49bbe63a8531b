// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The runner: models as they are, then with each place weakened and each step broken in turn. One
// thread.

#include "explore.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>

#include "needless.hpp"

namespace model {
namespace {

std::vector<Model> &models() {
    static std::vector<Model> all;
    return all;
}

// Sites that the running model has passed. No vector: inside a model operator new is relacy's.
struct Recorder {
    bool on = false;
    std::size_t count = 0;
    Site sites[256];
};
Recorder g_recorder;
const Site *g_weakened = nullptr;
rl::memory_order g_weakened_to = rl::mo_relaxed;
const char *g_broken = nullptr;

const char *base_name(const char *path) {
    const char *slash = std::strrchr(path, '/');
    return slash != nullptr ? slash + 1 : path;
}

const char *name_of(rl::memory_order order) { return rl::format(order); }
const char *name_of(Access access) {
    switch (access) {
    case Access::kLoad: return "load";
    case Access::kStore: return "store";
    case Access::kRmw: return "read-modify-write";
    default: return "fence";
    }
}

// The next weaker orders of this kind of access.
std::vector<rl::memory_order> weaker(const Site &site, rl::memory_order order) {
    switch (order) {
    case rl::mo_seq_cst:
        switch (site.access) {
        case Access::kLoad: return {rl::mo_acquire};
        case Access::kStore: return {rl::mo_release};
        default: return {rl::mo_acq_rel};
        }
    case rl::mo_acq_rel:
        return {rl::mo_acquire, rl::mo_release};
    case rl::mo_acquire:
    case rl::mo_release:
        return {rl::mo_relaxed};
    default:
        return {};
    }
}

std::string describe(const Site &site) {
    return std::string(site.file) + ":" + std::to_string(site.line) + " " + site.function + " " +
           name_of(site.access) + " " + name_of(site.stated);
}

const Needless *needless(const Site &site, rl::memory_order to) {
    for (const Needless &n : kNeedless) {
        if (std::strcmp(site.file, n.file) == 0 && std::strcmp(site.function, n.function) == 0 &&
            site.access == n.access &&
            site.stated == n.stated && to == n.enough) {
            return &n;
        }
    }
    return nullptr;
}

}  // namespace

void add(Model model) { models().push_back(std::move(model)); }

rl::memory_order order_at(Access access, rl::memory_order stated, const rl::debug_info &where) {
    if (g_weakened != nullptr) {
        return where.line_ == g_weakened->line && access == g_weakened->access &&
                       stated == g_weakened->stated &&
                       std::strcmp(base_name(where.file_), g_weakened->file) == 0
                   ? g_weakened_to
                   : stated;
    }
    if (g_recorder.on && stated != rl::mo_relaxed && std::strcmp(where.func_, "kept") != 0) {
        const Site site{base_name(where.file_), where.line_, access, stated, where.func_};
        Site *end = g_recorder.sites + g_recorder.count;
        if (std::find(g_recorder.sites, end, site) == end && g_recorder.count < 256) {
            *end = site;
            ++g_recorder.count;
        }
    }
    return stated;
}

bool broken(const char *step) { return g_broken != nullptr && std::strcmp(g_broken, step) == 0; }

}  // namespace model

using namespace model;

int main(int argc, char **argv) {
    unsigned passed = 0;
    unsigned failed = 0;
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&start] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const auto wanted = [&](const Model &m) {
        return argc < 2 || std::any_of(argv + 1, argv + argc, [&](const char *argument) {
                   return m.name.find(argument) != std::string::npos;
               });
    };
    std::vector<Site> sites;
    std::map<std::size_t, std::vector<const Model *>> users;  // of a site
    for (const Model &m : models()) {
        if (!wanted(m)) {
            continue;
        }
        const double before = seconds();
        g_recorder.count = 0;
        g_recorder.on = true;
        Outcome outcome = m.run();
        g_recorder.on = false;
        std::printf("%-44s %9llu interleavings %6.2f s %s\n", m.name.c_str(),
                    static_cast<unsigned long long>(outcome.iterations), seconds() - before,
                    outcome.failed ? "FAILED" : "hold");
        std::fflush(stdout);
        if (outcome.failed) {
            ++failed;
            std::printf("%s\n", outcome.text.c_str());
            continue;
        }
        ++passed;
        for (std::size_t i = 0; i < g_recorder.count; ++i) {
            const Site &site = g_recorder.sites[i];
            const auto at = static_cast<std::size_t>(
                std::find(sites.begin(), sites.end(), site) - sites.begin());
            if (at == sites.size()) {
                sites.push_back(site);
            }
            users[at].push_back(&m);
        }
        for (const std::string &step : m.steps) {
            g_broken = step.c_str();
            outcome = m.run();
            g_broken = nullptr;
            std::printf("  without \"%s\": %s after %llu\n", step.c_str(),
                        outcome.failed ? "caught" : "NOT CAUGHT",
                        static_cast<unsigned long long>(outcome.iterations));
            outcome.failed ? ++passed : ++failed;
        }
    }
    for (std::size_t i = 0; i < sites.size(); ++i) {
        // Weaker and weaker, as long as nothing is caught.
        std::vector<rl::memory_order> todo = weaker(sites[i], sites[i].stated);
        std::vector<rl::memory_order> tried;
        while (!todo.empty()) {
            const rl::memory_order to = todo.back();
            todo.pop_back();
            if (std::find(tried.begin(), tried.end(), to) != tried.end()) {
                continue;
            }
            tried.push_back(to);
            g_weakened = &sites[i];
            g_weakened_to = to;
            const Model *by = nullptr;
            for (const Model *m : users[i]) {
                if (m->run().failed) {
                    by = m;
                    break;
                }
            }
            g_weakened = nullptr;
            const Needless *known = needless(sites[i], to);
            const bool ok = (by != nullptr) != (known != nullptr);
            std::printf("%-66s to %-8s %s%s\n", describe(sites[i]).c_str(), name_of(to),
                        by != nullptr ? by->name.c_str() : "no model fails",
                        by == nullptr && known != nullptr ? (std::string(": ") + known->why).c_str()
                        : ok                              ? ""
                        : by != nullptr ? ", though needless.hpp lists it"
                                        : ": FAILED");
            std::fflush(stdout);
            ok ? ++passed : ++failed;
            if (by == nullptr) {
                for (const rl::memory_order next : weaker(sites[i], to)) {
                    todo.push_back(next);
                }
            }
        }
    }
    std::printf("%.1f s\ntest cases: %u passed, %u failed, 0 skipped\n", seconds(), passed, failed);
    return failed == 0 && passed != 0 ? 0 : 1;
}
