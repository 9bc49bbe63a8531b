#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Runs cargo's tests, the examples, clippy and rustfmt against the library of a build folder.

usage: run_tests.py CARGO BUILD_ROOT LAYOUT_PROGRAM     CARGO empty: there is none

Everything that cargo writes goes below BUILD_ROOT. The crates' only foreign dependency is tokio
(optional): it is downloaded when it is not in cargo's cache yet. Exit code 77: cannot be run here.
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
            result = subprocess.run(command, cwd=HERE, env=self.env, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, timeout=timeout)
            code, output = result.returncode, result.stdout
        except subprocess.TimeoutExpired:
            code, output = -1, f"no end after {timeout} s\n"
        print(f"$ {' '.join(command)}\n{output}", end="", flush=True)
        return code, output

    def count(self, name, code):
        self.passed += code == 0
        self.failed += code != 0
        if code != 0:
            print(f"failed: {name}")

    def fetch(self, host):
        command = [self.cargo, "fetch", "--locked", "--target", host]
        if self.run(*command, "--offline")[0] != 0 and self.run(*command, timeout=90)[0] != 0:
            skip("tokio is not in cargo's cache and the registry cannot be reached")

    def tests(self, *options):
        code, output = self.run(self.cargo, "test", "--offline", "--locked", *options, "--",
                                "--show-output")
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

    def lint(self, features, version):
        if self.run(self.cargo, "clippy", "--version")[0] == 0:
            code, _ = self.run(self.cargo, "clippy", "--offline", "--locked", "--workspace",
                               "--all-targets", *features, "--", "-D", "warnings")
            if version == CLIPPY_OF:
                self.count("clippy", code)
        if self.run(self.cargo, "fmt", "--version")[0] == 0:
            self.count("rustfmt", self.run(self.cargo, "fmt", "--all", "--check")[0])


def main():
    cargo, build, layout = sys.argv[1:4]
    if not cargo:
        skip("cargo is not installed")
    version, host = version_of(os.environ.get("RUSTC", "rustc"))
    features = ["--features", "libfsys/tokio-multi-thread"]
    if version < TOKIO_NEEDS:
        features = []
        print(f"without tokio, which needs Rust {TOKIO_NEEDS[0]}.{TOKIO_NEEDS[1]}")
    runner = Runner(cargo, build, layout)
    runner.fetch(host)
    runner.tests("--workspace", *features)
    # What was built for that, on the other backend.
    runner.env["FSYS_BACKEND"] = "threads"
    runner.tests("--package", "libfsys", "--test", "suite", *features)
    del runner.env["FSYS_BACKEND"]
    runner.example("copy", layout, os.path.join(runner.scratch, "copied"))
    with open(layout, "rb") as one, open(os.path.join(runner.scratch, "copied"), "rb") as other:
        runner.count("copying", one.read() != other.read())
    runner.example("journal", os.path.join(runner.scratch, "journal"))
    if features:
        runner.example("tokio", runner.scratch)
    runner.lint(features, version)
    print(f"test cases: {runner.passed} passed, {runner.failed} failed, {runner.skipped} skipped")
    sys.exit(1 if runner.failed else 0)


main()
