// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How a command ends when it cannot go on. Thrown by any thread of the program, caught by the
// command (worker threads hand theirs to the thread that joins them), printed once in main.cpp.
#pragma once

#include <fmt/format.h>
#include <fsys/fsys.h>

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace cli {

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2 };

// "No space left on device (ENOSPC)": the sentence for people, the name for search engines.
inline std::string code_text(int code)
{
    return fmt::format("{} ({})", fsys_strerror(code), fsys_error_name(code));
}

// Names may hold newlines and terminal escapes; a message must stay one harmless line.
std::string printable(const std::string &name);

class Failure : public std::exception {
public:
    // `what` is a verb phrase ("cannot read"), `code` a negative errno or FSYS_E_*, 0 when the
    // phrase says it all; `offset` < 0 when there is none.
    Failure(std::string what, std::string path, int code = 0, std::int64_t offset = -1)
        : what_(std::move(what)), path_(std::move(path)), code_(code), offset_(offset)
    {
        text_ = what_;
        if (!path_.empty()) {
            text_ += fmt::format(" '{}'", printable(path_));
        }
        if (offset_ >= 0) {
            text_ += fmt::format(" at offset {}", offset_);
        }
        if (code_ != 0) {
            text_ += ": " + code_text(code_);
        }
    }

    // A sentence of the library's own, with path and reason in it.
    static Failure told(const std::string &sentence, std::string path, int code)
    {
        Failure failure("", std::move(path), code);
        failure.text_ = sentence.empty() ? code_text(code) : printable(sentence);
        return failure;
    }

    Failure &hint(const std::string &sentence)
    {
        text_ += "; " + sentence;
        return *this;
    }

    const char *what() const noexcept override { return text_.c_str(); }
    const std::string &path() const { return path_; }
    int code() const { return code_; }
    std::int64_t offset() const { return offset_; }

private:
    std::string what_;
    std::string path_;
    std::string text_;
    int code_;
    std::int64_t offset_;
};

// The command line asks for something contradictory: exit 2 with a pointer to --help.
class Usage : public std::exception {
public:
    explicit Usage(std::string text) : text_(std::move(text)) {}
    const char *what() const noexcept override { return text_.c_str(); }

private:
    std::string text_;
};

// SIGINT, SIGTERM or SIGHUP arrived and everything half-done has been put right.
struct Interrupted {
    int signal;
    std::string text;
};

}  // namespace cli
