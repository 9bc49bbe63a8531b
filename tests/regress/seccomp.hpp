// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Seccomp filters on the io_uring calls, for child processes: they cannot be taken off again. Raw
// BPF, so that no library is needed.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace regress {

// `number` gives `action`, every other call is allowed. The descriptor of a listener, 0, or a
// negative errno.
inline int filter_syscall(long number, std::uint32_t action, bool listener = false) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{4, code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -errno;
    }
    const long fd = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                              listener ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0u, &program);
    return fd < 0 ? -errno : static_cast<int>(fd);
}

inline int deny_syscall(long number, int error) {
    return filter_syscall(number, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error));
}

}  // namespace regress
