// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Running models: every interleaving that the search can reach must satisfy the model's assertions,
// and with any one order weakened, or any one step broken, some interleaving must violate them.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <streambuf>
#include <string>
#include <vector>

#include "model_atomics.hpp"

namespace model {

// futex(2) and the like. A thread that sleeps ends there: what it would do after a wake is done by
// the model's after(). A sleep that nobody ends is visible as asleep().
class Sleep {
public:
    // Sleeps if `still()` holds when no waker is between its change and its wake.
    template <class Still>
    bool sleep_if(Still &&still) {
        lock_.lock($);
        const bool sleeps = still();
        if (sleeps) {
            ++sleepers_;
        }
        lock_.unlock($);
        return sleeps;
    }
    void wake(unsigned most = 100) {
        lock_.lock($);
        sleepers_ -= most < sleepers_ ? most : sleepers_;
        lock_.unlock($);
    }
    // After all threads have ended: how many sleep unwoken.
    unsigned asleep() const { return sleepers_; }

private:
    rl::mutex lock_;
    unsigned sleepers_ = 0;  // under lock_
};

// An eventfd.
class Event {
public:
    void write() {
        lock_.lock($);
        count_ = 1;
        lock_.unlock($);
    }
    bool read() {
        lock_.lock($);
        const bool was = count_ != 0;
        count_ = 0;
        lock_.unlock($);
        return was;
    }
    bool readable() const { return count_ != 0; }  // after all threads have ended

private:
    rl::mutex lock_;
    unsigned count_ = 0;
};

struct Outcome {
    bool failed = false;
    std::uint64_t iterations = 0;
    std::string text;
};

struct Model {
    std::string name;
    std::function<Outcome()> run;
    // Steps that broken() asks for in this model: each must make it fail.
    std::vector<std::string> steps;
};

void add(Model model);

// relacy writes its report while operator new is its own: into memory that is there already.
class ReportBuffer : public std::streambuf {
public:
    ReportBuffer() { setp(text_, text_ + sizeof text_); }
    std::string text() const { return {pbase(), pptr()}; }

protected:
    int overflow(int c) override { return c; }  // the rest of an endless history is not wanted

private:
    char text_[64 * 1024];
};

enum class Search { kFull, kRandom };

template <class Test>
Outcome explore(Search search, std::uint64_t iterations) {
    rl::test_params params;
    const auto report = std::make_unique<ReportBuffer>();
    ReportBuffer &buffer = *report;
    std::ostream out(&buffer);
    params.output_stream = &out;
    params.progress_stream = &out;
    params.search_type = search == Search::kFull ? rl::fair_full_search_scheduler_type
                                                 : rl::random_scheduler_type;
    params.iteration_count = iterations;
    params.execution_depth_limit = 4000;
    const bool ok = rl::simulate<Test>(params);
    return {!ok, params.stop_iteration, buffer.text()};
}

// Declares a model: searched in full, and at random first, which finds most violations soon.
template <class Test>
void add(const char *name, std::vector<std::string> steps, bool full, std::uint64_t random = 20000) {
    add(Model{name,
              [full, random] {
                  Outcome outcome = explore<Test>(Search::kRandom, random);
                  if (!outcome.failed && full) {
                      Outcome all = explore<Test>(Search::kFull, 0);
                      all.iterations += outcome.iterations;
                      return all;
                  }
                  return outcome;
              },
              std::move(steps)});
}

}  // namespace model
