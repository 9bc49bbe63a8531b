// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the two output streams can show. stdout carries the result, stderr everything else.
#pragma once

#include <string>

namespace cli {

// Colour of a stream: a terminal, NO_COLOR unset or empty, TERM not "dumb".
bool colours(int fd);
bool utf8_locale();           // bars may use block elements
int terminal_width(int fd);   // columns, 80 when unknown
bool is_terminal(int fd);

// Wraps `text` in an SGR sequence when `on`.
std::string bold(const std::string &text, bool on);
std::string dim(const std::string &text, bool on);
std::string green(const std::string &text, bool on);
std::string yellow(const std::string &text, bool on);
std::string red(const std::string &text, bool on);

// A horizontal bar of `width` columns, `fraction` (0..1) of them filled.
std::string bar(double fraction, int width, bool utf8);

void warn(const std::string &text);  // "fsys: warning: ..." on stderr

}  // namespace cli
