// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A sequence that grows at its end and goes at its front, as the list of segments does. Unlike a
// std::deque it asks for no memory once it has had its greatest length twice over, and gives none
// back.
//
// Not locked: belongs to whoever owns what it lists.
#pragma once

#include <cstddef>
#include <vector>

namespace libfsys::journal {

template <class T>
class Fifo {
public:
    bool empty() const { return begin_ == items_.size(); }
    std::size_t size() const { return items_.size() - begin_; }
    T &front() { return items_[begin_]; }
    T &back() { return items_.back(); }
    T &operator[](std::size_t i) { return items_[begin_ + i]; }
    auto begin() { return items_.begin() + static_cast<std::ptrdiff_t>(begin_); }
    auto end() { return items_.end(); }

    void push_back(const T &item) {
        // Moved to the front when at least as many have gone as are left: each is moved once for
        // each that goes, whatever the length.
        if (items_.size() == items_.capacity() && begin_ != 0 && begin_ >= size()) {
            items_.erase(items_.begin(), begin());
            begin_ = 0;
        }
        items_.push_back(item);
    }
    void reserve(std::size_t count) { items_.reserve(count); }
    void pop_back() { items_.pop_back(); }
    void pop_front(std::size_t count = 1) { begin_ += count; }
    void clear() {
        items_.clear();
        begin_ = 0;
    }

private:
    std::vector<T> items_;
    std::size_t begin_ = 0;
};

}  // namespace libfsys::journal
