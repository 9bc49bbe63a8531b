// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// SIGINT, SIGTERM and SIGHUP ask the running command to stop between two ops and tidy up; the
// second such signal ends the process at once, for the case that an op hangs.
#pragma once

namespace cli {

void catch_interrupts();      // once, before threads start
int interrupted() noexcept;   // 0 or the signal number; any thread

}  // namespace cli
