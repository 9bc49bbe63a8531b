// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Page-aligned buffers from one region that is registered with the ring as a single buffer: a
// buddy allocator over it, and ordinary mappings beyond it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace libfsys {

class Engine;

class Arena {
public:
    explicit Arena(Engine &engine) : engine_(engine) {}
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;
    ~Arena();

    int allocate(std::size_t size, void **ret_buffer);  // 0 or a negative errno
    int free(void *buffer);

private:
    static constexpr std::size_t kPage = 4096;
    static constexpr unsigned kOrders = 29;  // up to 1 TiB

    void map_region();
    void *take(unsigned order);

    Engine &engine_;
    std::mutex mutex_;
    char *base_ = nullptr;
    std::size_t size_ = 0;
    bool tried_ = false;
    std::vector<std::uint32_t> free_[kOrders];          // page numbers of free blocks, by order
    std::map<std::uint32_t, unsigned> taken_;           // page number -> order
    std::map<void *, std::size_t> mappings_;            // beyond the region
};

}  // namespace libfsys
