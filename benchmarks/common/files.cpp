// SPDX-License-Identifier: Apache-2.0 OR MIT
// Thin owners of descriptors and memory. No state of its own.
#include "files.hpp"

#include "runner.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

namespace bench {

void fail_with_errno(const std::string &what, const std::string &path) {
    throw Failure(what + " " + path + ": " + std::strerror(errno));
}

Descriptor::Descriptor(const std::string &path, int flags)
    : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    if (fd_ < 0)
        fail_with_errno("open", path);
}

Descriptor::~Descriptor() { close(fd_); }

Pages::Pages(std::size_t bytes, bool huge)
    : memory_(static_cast<char *>(std::aligned_alloc(huge ? std::size_t{2} << 20 : 4096, bytes))) {
    if (!memory_)
        throw std::bad_alloc();
    if (huge)
        madvise(memory_.get(), bytes, MADV_HUGEPAGE);
    std::memset(memory_.get(), 0x5a, bytes);
}

void Pages::Release::operator()(char *memory) const { std::free(memory); }

void write_back(const std::string &directory) {
    const Descriptor root(directory, O_RDONLY | O_DIRECTORY);
    if (syncfs(root.get()) != 0)
        fail_with_errno("syncfs", directory);
}

}  // namespace bench
