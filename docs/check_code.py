#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Compiles and runs the code in documents.

A C block of a Markdown file, or a literal block of a manual page, that begins with #include is a
whole translation unit: it must compile without a warning, and when it has a main() it must run in
an empty directory and return 0. Other blocks are fragments and are left alone.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile


def blocks(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if path.endswith(".md"):
        found = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    else:
        found = [b.replace("\\e", "\\").replace("\\-", "-") for b in
                 re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.MULTILINE | re.DOTALL)]
    return [b for b in found if b.lstrip().startswith("#include")]


def try_block(code, options):
    """None when the block works, otherwise what went wrong."""
    folder = os.path.dirname(os.path.abspath(options.library))
    with tempfile.TemporaryDirectory() as scratch:
        source, program = os.path.join(scratch, "block.c"), os.path.join(scratch, "block")
        with open(source, "w", encoding="utf-8") as file:
            file.write(code)
        command = [options.cc, "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                   "-I", options.include, source]
        whole = re.search(r"\bmain\s*\(", code)
        command += ["-L", folder, "-lfsys", "-o", program] if whole else \
            ["-c", "-o", program + ".o"]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             check=False)
        if run.returncode != 0:
            return run.stdout
        if not whole:
            return None
        empty = os.path.join(scratch, "empty")
        os.mkdir(empty)
        run = subprocess.run([program], cwd=empty, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
                             env={**os.environ, "LD_LIBRARY_PATH": folder})
        return None if run.returncode == 0 else f"exit code {run.returncode}: {run.stdout}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--include", required=True)
    parser.add_argument("--library", required=True)
    parser.add_argument("--cc", required=True)
    parser.add_argument("documents", nargs="+")
    options = parser.parse_args()

    failed = 0
    for path in options.documents:
        found = blocks(path)
        if not found:
            print(f"{path}: no whole program in it")
            failed += 1
        for code in found:
            trouble = try_block(code, options)
            if trouble:
                print(f"{path}:\n{code}\n{trouble}")
                failed += 1
        print(f"{os.path.basename(path)}: {len(found)} tried")
    return 1 if failed else 0


sys.exit(main())
