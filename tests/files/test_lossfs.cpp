// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Whole files through the kernel, on the FUSE file system that forgets what was not synced: power
// that goes at any operation, and operations that fail.

#include "files/files.hpp"
#include "lossfs/lossfs.hpp"
#include "sim/sim_disk.hpp"

using namespace files_test;

namespace {

std::uint64_t number_from(const char *variable, std::uint64_t otherwise) {
    const char *text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

unsigned temp_files(const std::string &directory) {
    unsigned count = 0;
    for (const auto &entry : std::filesystem::directory_iterator(directory)) {
        count += entry.path().filename().string().rfind(".fsys-tmp.", 0) == 0;
    }
    return count;
}

}  // namespace

TEST_CASE("R5: power loss on lossfs leaves old or new, and what was acknowledged", "[lossfs]") {
    const std::uint64_t seed = number_from("FSYS_CRASH_SEED", 20261124);
    const std::uint64_t cycles = number_from("FSYS_LOSSFS_CYCLES", 400);
    lossfs::LossFs fs;
    if (!fs.missing().empty()) {
        FSYS_SKIP(fs.missing());
    }
    sim::Random random(seed);
    constexpr unsigned kFiles = 3;
    // What each file must show; of a call that did not return, what it may show instead.
    std::string shown[kFiles];
    std::string instead[kFiles];
    std::uint64_t replaced = 0;
    const auto fresh_text = [&] {
        std::string text = std::to_string(++replaced) + ":";
        text.resize(text.size() + random.below(9000), static_cast<char>('a' + replaced % 26));
        return text;
    };
    for (unsigned i = 0; i < kFiles; ++i) {
        shown[i] = instead[i] = "(missing)";
    }
    for (std::uint64_t cycle = 0; cycle < cycles; ++cycle) {
        INFO("seed " << seed << ", cycle " << cycle);
        fs.power_off_after(random.below(40));
        {
            const Handle handle(FSYS_BACKEND_DEFAULT);
            for (int code = 0; code == 0;) {
                if (random.chance(25)) {
                    std::string paths[kFiles];
                    fsys_batch_item items[kFiles];
                    for (unsigned i = 0; i < kFiles; ++i) {
                        paths[i] = fs / std::to_string(i);
                        instead[i] = fresh_text();
                        items[i] = item(paths[i], instead[i]);
                    }
                    code = fsys_batch(handle, items, kFiles, nullptr);
                    for (unsigned i = 0; i < kFiles; ++i) {
                        if (items[i].result == 0) {
                            shown[i] = instead[i];
                        }
                    }
                } else {
                    const auto i = static_cast<unsigned>(random.below(kFiles));
                    instead[i] = fresh_text();
                    code = replace(handle, fs / std::to_string(i), instead[i]);
                    if (code == 0) {
                        shown[i] = instead[i];
                    }
                }
            }
        }
        fs.power_off();
        if (random.chance(50)) {
            fs.power_on();
        } else {
            fs.power_on(random.next() >> 1);
        }
        for (unsigned i = 0; i < kFiles; ++i) {
            const std::string text = contents(fs / std::to_string(i));
            INFO("file " << i << ": " << text.substr(0, 20) << ", " << text.size()
                         << " bytes; shown " << shown[i].substr(0, 20) << ", or instead "
                         << instead[i].substr(0, 20));
            REQUIRE((text == shown[i] || text == instead[i]));
            shown[i] = instead[i] = text;
        }
        const Handle handle(FSYS_BACKEND_DEFAULT);
        REQUIRE(fsys_sweep(handle, fs.path().c_str(), 1, nullptr, nullptr) == 0);
        REQUIRE(temp_files(fs.path()) == 0);
    }
    std::printf("lossfs, seed %llu: %llu cycles, %llu replacements begun, 0 torn, 0 lost\n",
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(cycles),
                static_cast<unsigned long long>(replaced));
}

TEST_CASE("lossfs: each kind of call fails once: the error, the old file, no second sync",
          "[lossfs]") {
    lossfs::LossFs fs;
    if (!fs.missing().empty()) {
        FSYS_SKIP(fs.missing());
    }
    const Handle handle(FSYS_BACKEND_DEFAULT);
    struct Kind {
        const char *name;
        int error;
        std::uint32_t step;
    };
    std::string old = "old";
    REQUIRE(replace(handle, fs / "f", old) == 0);
    for (const Kind &kind :
         {Kind{"create", ENOSPC, FSYS_FILE_STEP_CREATE},
          Kind{"write", ENOSPC, FSYS_FILE_STEP_WRITE}, Kind{"fsync", EIO, FSYS_FILE_STEP_SYNC},
          Kind{"rename", EIO, FSYS_FILE_STEP_RENAME},
          Kind{"fsyncdir", EIO, FSYS_FILE_STEP_SYNC_DIRECTORY}}) {
        INFO(kind.name);
        const std::uint64_t file_syncs = fs.calls("fsync");
        const std::uint64_t directory_syncs = fs.calls("fsyncdir");
        fs.fail(kind.name, kind.error);
        ReplaceOptions options;
        Report report;
        const std::string fresh = std::string("new after ") + kind.name;
        CHECK(replace(handle, fs / "f", fresh, &options, &report) == -kind.error);
        CHECK(report.step == kind.step);
        CHECK(std::string(options.text).find(fs / "f") != std::string::npos);
        const bool visible = kind.step == FSYS_FILE_STEP_SYNC_DIRECTORY;
        CHECK(report.visible == (visible ? 1u : 0u));
        CHECK(contents(fs / "f") == (visible ? fresh : old));
        CHECK(fs.calls("fsync") - file_syncs == (kind.step >= FSYS_FILE_STEP_SYNC ? 1 : 0));
        CHECK(fs.calls("fsyncdir") - directory_syncs == (visible ? 1 : 0));
        CHECK(temp_files(fs.path()) == 0);
        old = contents(fs / "f");
    }
    // A disk that is full: right code, the old file, and room again once there is.
    fs.set_space(5000);
    CHECK(replace(handle, fs / "f", std::string(50'000, 'x')) == -ENOSPC);
    CHECK(contents(fs / "f") == old);
    CHECK(temp_files(fs.path()) == 0);
    CHECK(replace(handle, fs / "f", "small") == 0);
}
