#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Runs cargo's tests, the examples, clippy and rustfmt against the library of a build folder.

usage: run_tests.py CARGO BUILD_ROOT LAYOUT_PROGRAM     CARGO empty: there is none

Everything that cargo writes goes below BUILD_ROOT. The crates' only foreign dependency is tokio
(optional): it is downloaded when it is not in cargo's cache yet. Where that cannot be done a copy of the
crates without it is tested. Exit code 77: there is no cargo.
"""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOKIO_NEEDS = (1, 71)  # of the version in Cargo.lock
CLIPPY_OF = (1, 95)  # other versions have other opinions: theirs are printed, and count for nothing


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def version_of(rustc):
    text = subprocess.run([rustc, "-vV"], stdout=subprocess.PIPE, text=True, check=True).stdout
    number = re.search(r"^release: (\d+)\.(\d+)", text, re.MULTILINE)
    return tuple(map(int, number.groups())), re.search(r"^host: (\S+)", text, re.MULTILINE).group(1)


class Runner:
    def __init__(self, cargo, build, layout):
        self.cargo = cargo
        self.root = HERE
        work = os.path.join(build, "bindings", "rust")
        self.target = os.path.join(work, "target")
        self.scratch = os.path.join(work, "scratch")
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.makedirs(self.scratch)
        self.env = dict(
            os.environ, PKG_CONFIG_PATH=os.path.join(build, "meson-uninstalled"),
            LD_LIBRARY_PATH=os.path.join(build, "lib"), CARGO_TARGET_DIR=self.target,
            TMPDIR=self.scratch, FSYS_LAYOUT_PROGRAM=layout, CARGO_TERM_COLOR="never",
            CARGO_PROFILE_DEV_DEBUG="0")
        self.passed = self.failed = self.skipped = 0

    def run(self, *command, timeout=500):
        """(exit code, output), also printed."""
        try:
            result = subprocess.run(command, cwd=self.root, env=self.env, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, timeout=timeout)
            code, output = result.returncode, result.stdout
        except subprocess.TimeoutExpired:
            code, output = -1, f"no end after {timeout} s\n"
        except OSError as error:
            code, output = -1, f"{error}\n"
        print(f"$ {' '.join(command)}\n{output}", end="", flush=True)
        return code, output

    def count(self, name, code):
        self.passed += code == 0
        self.failed += code != 0
        if code != 0:
            print(f"failed: {name}")

    def fetch(self, host):
        command = [self.cargo, "fetch", "--locked", "--target", host]
        return (self.run(*command, "--offline")[0] == 0
                or self.run(*command, timeout=90)[0] == 0)

    def leave_tokio_out(self):
        """Cargo wants to know even optional dependencies: a copy that has none."""
        copy = os.path.join(self.target, "..", "without-tokio")
        shutil.rmtree(copy, ignore_errors=True)
        self.root = os.path.join(copy, "bindings", "rust")
        shutil.copytree(HERE, self.root, ignore=shutil.ignore_patterns("target", "Cargo.lock"))
        os.mkdir(os.path.join(copy, "docs"))
        shutil.copy(os.path.join(HERE, "..", "..", "docs", "rust.md"), os.path.join(copy, "docs"))
        manifest = os.path.join(self.root, "fsys", "Cargo.toml")
        with open(manifest, encoding="utf-8") as file:
            blocks = file.read().split("\n\n")
        blocks = [re.sub(r"^tokio = .*$", "", b, flags=re.MULTILINE) for b in blocks
                  if 'name = "tokio"' not in b and not b.startswith("[features]")]
        with open(manifest, "w", encoding="utf-8") as file:
            file.write("\n\n".join(blocks) + "\n\n[features]\ntokio = []\n")
        os.remove(os.path.join(self.root, "fsys", "examples", "tokio.rs"))
        os.remove(os.path.join(self.root, "fsys", "tests", "tokio.rs"))

    def tests(self, *options):
        code, output = self.run(self.cargo, "test", *options, "--", "--show-output")
        before = self.failed
        for passed, failed in re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed", output,
                                         re.MULTILINE):
            self.passed += int(passed)
            self.failed += int(failed)
        skipped = len(re.findall(r"^skipped: ", output, re.MULTILINE))
        self.skipped += skipped
        self.passed -= skipped
        if code != 0 and self.failed == before:
            self.count("cargo test", code)

    def example(self, name, *arguments):
        program = os.path.join(self.target, "debug", "examples", name)
        self.count("example " + name, self.run(program, *arguments, timeout=60)[0])

    def lint(self, options, version):
        if self.run(self.cargo, "clippy", "--version")[0] == 0:
            code, _ = self.run(self.cargo, "clippy", "--workspace", "--all-targets", *options, "--",
                               "-D", "warnings")
            if version == CLIPPY_OF:
                self.count("clippy", code)
        if self.run(self.cargo, "fmt", "--version")[0] == 0:
            self.count("rustfmt", self.run(self.cargo, "fmt", "--all", "--check")[0])


def main():
    cargo, build, layout = sys.argv[1:4]
    if not cargo:
        skip("cargo is not installed")
    version, host = version_of(os.environ.get("RUSTC", "rustc"))
    runner = Runner(cargo, build, layout)
    options = ["--offline", "--locked", "--features", "libfsys/tokio-multi-thread"]
    with_tokio = version >= TOKIO_NEEDS and runner.fetch(host)
    if not with_tokio:
        print("skipped: tokio is neither in cargo's cache nor to be had from the registry"
              if version >= TOKIO_NEEDS else
              f"skipped: tokio needs Rust {TOKIO_NEEDS[0]}.{TOKIO_NEEDS[1]}, this is "
              f"{version[0]}.{version[1]}")
        runner.skipped += 1
        runner.leave_tokio_out()
        options = ["--offline"]
    runner.tests("--workspace", *options)
    # What was built for that, on the other backend.
    runner.env["FSYS_BACKEND"] = "threads"
    runner.tests("--package", "libfsys", "--test", "suite", *options)
    del runner.env["FSYS_BACKEND"]
    runner.example("copy", layout, os.path.join(runner.scratch, "copied"))
    with open(layout, "rb") as one, open(os.path.join(runner.scratch, "copied"), "rb") as other:
        runner.count("copying", one.read() != other.read())
    runner.example("journal", os.path.join(runner.scratch, "journal"))
    if with_tokio:
        runner.example("tokio", runner.scratch)
    runner.lint(options, version)
    print(f"test cases: {runner.passed} passed, {runner.failed} failed, {runner.skipped} skipped")
    sys.exit(1 if runner.failed else 0)


main()
