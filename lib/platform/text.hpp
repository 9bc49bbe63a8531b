// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Sentences into memory of the caller's. Nothing here allocates or fails.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <string>

namespace libfsys {

// As much as fits, ended by NUL.
template <std::size_t N>
void copy_text(const std::string &from, char (&to)[N]) {
    to[from.copy(to, N - 1)] = '\0';
}

// The caller's buffer for a sentence.
class Detail {
public:
    Detail(char *text, std::size_t size) : text_(text), size_(text == nullptr ? 0 : size) {
        if (size_ != 0) {
            text_[0] = '\0';
        }
    }
    // Writes the sentence and returns `code`.
    __attribute__((format(printf, 3, 4))) int say(int code, const char *format, ...) {
        if (size_ != 0) {
            va_list args;
            va_start(args, format);
            std::vsnprintf(text_, size_, format, args);
            va_end(args);
        }
        return code;
    }

private:
    char *text_;
    std::size_t size_;
};

}  // namespace libfsys
