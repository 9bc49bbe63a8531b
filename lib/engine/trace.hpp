// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Static probes (USDT) of provider `fsys`: submit(slot, opcode, length), claim(slot, opcode,
// thread's lane), complete(slot, lane, result). A NOP instruction each until a tracer attaches.
#pragma once

#ifdef FSYS_HAVE_SDT
#include <sys/sdt.h>
#define FSYS_PROBE3(name, a, b, c) DTRACE_PROBE3(fsys, name, a, b, c)
#else
#define FSYS_PROBE3(name, a, b, c) \
    do {                           \
    } while (false)
#endif
