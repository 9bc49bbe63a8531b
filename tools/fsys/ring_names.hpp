// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Names of the kernel's bits in fsys_handle_info::ring_flags and ring_features. The numbers are
// kernel ABI; they stand here because installed kernel headers may be older than the kernel.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace cli {

struct RingBit {
    const char *name;
    const char *meaning;
};

// Index = bit. IORING_SETUP_*.
inline constexpr std::array<RingBit, 18> kSetupBits{{
    {"IOPOLL", "completions are polled from the device"},
    {"SQPOLL", "a kernel thread takes submissions"},
    {"SQ_AFF", "that thread is bound to a processor"},
    {"CQSIZE", "the completion queue has a chosen size"},
    {"CLAMP", "sizes are cut to what is allowed"},
    {"ATTACH_WQ", "kernel workers are shared with another ring"},
    {"R_DISABLED", "created disabled, enabled by the thread that drives it"},
    {"SUBMIT_ALL", "one bad entry does not stop a submission"},
    {"COOP_TASKRUN", "no inter-processor interrupt for a completion"},
    {"TASKRUN_FLAG", "pending completions show in shared memory"},
    {"SQE128", "128-byte submission entries"},
    {"CQE32", "32-byte completion entries"},
    {"SINGLE_ISSUER", "one thread submits: no locking in the kernel"},
    {"DEFER_TASKRUN", "completion work runs when that thread asks for it"},
    {"NO_MMAP", "ring memory comes from the program"},
    {"REGISTERED_FD_ONLY", "the ring has no descriptor"},
    {"NO_SQARRAY", "no indirection array in front of the entries"},
    {"HYBRID_IOPOLL", "sleeps before polling"},
}};

// Index = bit. IORING_FEAT_*.
inline constexpr std::array<RingBit, 18> kFeatureBits{{
    {"SINGLE_MMAP", "both rings in one mapping"},
    {"NODROP", "completions are never dropped"},
    {"SUBMIT_STABLE", "request data may go after submission"},
    {"RW_CUR_POS", "offset -1 is the file position"},
    {"CUR_PERSONALITY", "credentials of the submitter"},
    {"FAST_POLL", "sockets and pipes wait without a thread"},
    {"POLL_32BITS", "32-bit poll masks"},
    {"SQPOLL_NONFIXED", "SQPOLL with plain descriptors"},
    {"EXT_ARG", "waits take a timeout"},
    {"NATIVE_WORKERS", "workers are threads of the process"},
    {"RSRC_TAGS", "resources can be updated one by one"},
    {"CQE_SKIP", "successes may stay silent"},
    {"LINKED_FILE", "files of linked entries resolve late"},
    {"REG_REG_RING", "registering through a registered ring"},
    {"RECVSEND_BUNDLE", "bundled socket transfers"},
    {"MIN_TIMEOUT", "waits take a minimum time"},
    {"RW_ATTR", "reads and writes carry attributes"},
    {"NO_IOWAIT", "waits need not count as iowait"},
}};

template <std::size_t N>
std::vector<RingBit> granted(const std::array<RingBit, N> &bits, std::uint32_t word)
{
    std::vector<RingBit> out;
    for (std::size_t bit = 0; bit < N; ++bit) {
        if ((word >> bit & 1) != 0) {
            out.push_back(bits[bit]);
        }
    }
    return out;
}

// What a newer kernel grants and this program cannot name, or 0.
template <std::size_t N>
std::uint32_t unnamed(const std::array<RingBit, N> &, std::uint32_t word)
{
    return word & ~((std::uint32_t{1} << N) - 1);
}

}  // namespace cli
