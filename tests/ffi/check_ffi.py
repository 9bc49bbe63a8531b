#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Runs one program of examples/ffi against an installed libfsys: headers, libfsys.so.1 and fsys.pc in
a folder of their own, nothing else of the build or source tree.

usage: check_ffi.py LANGUAGE SOURCE_ROOT BUILD_ROOT [COMPILER...]

LANGUAGE: c, python, go, java, node. Exit code 77 with the reason when the language is not here.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

KOFFI = "koffi@3.3.4"
JAVA_NEEDS = 22  # the first with the final foreign-function API (JEP 454)

language, source_root, build_root = sys.argv[1:4]
compiler = sys.argv[4:]
examples = os.path.join(source_root, "examples", "ffi")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def run(command, env=None, timeout=240, **more):
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, timeout=timeout, check=False, **more)


def must(command, env=None, **more):
    result = run(command, env, **more)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}")
    return result.stdout


def tool(name):
    path = shutil.which(name)
    if not path:
        skip(f"no {name} in PATH")
    return path


def find(root, name):
    for folder, _, files in os.walk(root):
        if name in files:
            return folder
    return sys.exit(f"{name} is not installed")


class Installed:
    """A copy that was installed, and the environment in which a program finds it."""

    def __init__(self, root):
        must([tool("meson"), "install", "-C", build_root, "--no-rebuild", "--destdir", root,
              "--tags", "devel,runtime"])
        self.env = dict(os.environ, LD_LIBRARY_PATH=find(root, "libfsys.so.1"),
                        PKG_CONFIG_PATH=find(root, "fsys.pc"), PKG_CONFIG_SYSROOT_DIR=root,
                        PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1", LC_ALL="C.UTF-8")

    def flags(self, *what):
        return must([tool("pkg-config"), *what, "fsys"], self.env).split()


def c(installed, scratch):
    program = os.path.join(scratch, "dlopen")
    must(compiler + ["-std=gnu11", "-Wall", "-Wextra", "-Werror", os.path.join(examples, "dlopen.c"),
                     "-o", program, "-ldl"] + installed.flags("--cflags"))
    return [program]


def python(installed, scratch):
    return [sys.executable, os.path.join(examples, "fsys_ctypes.py")]


def go(installed, scratch):
    program = os.path.join(scratch, "cgo")
    tool("go")
    tool("pkg-config")
    # Go's build cache does not notice that pkg-config answers differently; it does notice CGO_LDFLAGS.
    installed.env.update(CGO_ENABLED="1", GOFLAGS="", GOTOOLCHAIN="local", CC=compiler[-1],
                         CGO_LDFLAGS=" ".join(installed.flags("--libs-only-L")))
    if "HOME" not in installed.env:
        installed.env.setdefault("GOCACHE", os.path.join(build_root, "go-cache"))
    must([tool("go"), "build", "-o", program, os.path.join(examples, "cgo.go")], installed.env)
    return [program]


def java(installed, scratch):
    found = [os.path.join(os.environ["JAVA_HOME"], "bin", "java")] if "JAVA_HOME" in os.environ else []
    found += [shutil.which("java")] + sorted(glob.glob("/usr/lib/jvm/*/bin/java"))
    versions = []
    for path in filter(None, found):
        match = os.path.exists(path) and re.search(r'version "(\d+)', run([path, "-version"]).stdout)
        if match:
            versions.append(int(match.group(1)))
            if versions[-1] >= JAVA_NEEDS:
                return [path, "-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED",
                        os.path.join(examples, "Ffm.java")]
    have = f", only {sorted(set(versions))}" if versions else ""
    return skip(f"no Java {JAVA_NEEDS} or later{have}")


def node(installed, scratch):
    path = tool("node")
    modules = os.path.join(build_root, "node")
    installed.env["NODE_PATH"] = os.path.join(modules, "node_modules")
    if run([path, "-e", "require('koffi')"], installed.env).returncode != 0:
        os.makedirs(modules, exist_ok=True)
        try:
            result = run([tool("npm"), "install", "--prefix", modules, "--ignore-scripts", "--no-audit",
                          "--no-fund", "--no-save", "--prefer-offline", KOFFI], timeout=90)
        except subprocess.TimeoutExpired:
            skip(f"npm did not get {KOFFI} in time")
        if result.returncode != 0:
            skip(f"npm cannot get {KOFFI}: {(result.stdout.strip().splitlines() or ['?'])[0]}")
    return [path, os.path.join(examples, "koffi.js")]


def main():
    # A path that stays the same from run to run, for Go's sake (see above).
    root = os.path.join(build_root, "ffi", language)
    shutil.rmtree(root, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="fsys-ffi-") as scratch:
        installed = Installed(root)
        command = {"c": c, "python": python, "go": go, "java": java, "node": node}[language](
            installed, scratch)
        work = os.path.join(scratch, "work")
        os.mkdir(work)
        print(must(command + [work], installed.env, timeout=60), end="")
        with open(os.path.join(work, "ffi.dat"), "rb") as written:
            if written.read().rstrip(b"\0") != b"safe at last":
                sys.exit("the file holds something else")


main()
