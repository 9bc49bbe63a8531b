// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A mounted fuse_stall file system; its path is in FSYS_FUSE_STALL (see meson.build).
#pragma once

#include "regress/support.hpp"
#include "support/mounter.hpp"

namespace regress {

class StallingFile {
public:
    // Mounts, or explains in missing() why not.
    StallingFile() {
        if (const char *program = mounter_.program("FSYS_FUSE_STALL", "the FUSE helper")) {
            mounter_.start(program, scratch_.path());
        }
    }
    StallingFile(const StallingFile &) = delete;
    StallingFile &operator=(const StallingFile &) = delete;
    const std::string &missing() const { return mounter_.missing(); }
    std::string path() const { return scratch_ / "data"; }

    void command(const std::string &text) {
        mounter_.send(text);
        wait_for("ok");
    }
    // Returns when a request has begun to wait.
    void wait_stalled() {
        if (stalled_ != 0) {
            --stalled_;
            return;
        }
        wait_for("stalled");
    }

private:
    void wait_for(const std::string &wanted) {
        for (;;) {
            const std::string line = mounter_.next_line();
            if (line == wanted) {
                return;
            }
            REQUIRE(line == "stalled");
            ++stalled_;
        }
    }

    Scratch scratch_;
    libfsys::test::Mounter mounter_;
    unsigned stalled_ = 0;
};

}  // namespace regress
