#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Compiles one public header alone, twice included, and uses it from a tiny function.

usage: compile_header.py NAME LANGUAGE STANDARD INCLUDE_DIR -- COMPILER... FLAGS...
"""
import subprocess
import sys

name, language, standard, include = sys.argv[1:5]
command = sys.argv[6:]

# Included first, so that it cannot lean on a header included before it; twice, for its guard.
source = f"#include <fsys/{name}>\n#include <fsys/{name}>\nint use(void);\nint use(void) {{ return 0; }}\n"
command += ["-x", "c" if language == "c" else "c++", standard, "-I", include, "-fsyntax-only", "-"]
result = subprocess.run(command, input=source, text=True)
if result.returncode != 0:
    sys.exit(f"<fsys/{name}> does not compile alone: {' '.join(command)}")
print(f"<fsys/{name}> compiles alone with {standard}")
