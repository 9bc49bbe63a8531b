#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Installs into a temporary folder and builds and runs a program against it through pkg-config;
then does the same against the build folder's uninstalled .pc file.

usage: check_install.py SOURCE_ROOT BUILD_ROOT PKG_CONFIG VERSION -- COMPILER...
"""
import os
import shutil
import subprocess
import sys
import tempfile

source_root, build_root, pkg_config, version = sys.argv[1:5]
compiler = sys.argv[6:]
consumer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "consumer.c")


def run(command, env=None):
    result = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}")
    return result.stdout


def build_and_run(what, pc_dir, sysroot, library_dir, scratch):
    env = dict(os.environ, PKG_CONFIG_PATH=pc_dir, PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1")
    if sysroot:
        env["PKG_CONFIG_SYSROOT_DIR"] = sysroot
    flags = run([pkg_config, "--cflags", "--libs", "fsys"], env).split()
    stated = run([pkg_config, "--modversion", "fsys"], env).strip()
    if stated != version:
        sys.exit(f"{what}: fsys.pc states version {stated}, the header {version}")
    for flag in flags:
        if flag.startswith("-l") and flag != "-lfsys":
            sys.exit(f"{what}: fsys.pc makes every user link {flag}")
    program = os.path.join(scratch, what)
    run(compiler + ["-std=c11", "-Wall", "-Wextra", "-Werror", consumer, "-o", program] + flags)
    env = dict(os.environ, LD_LIBRARY_PATH=library_dir)
    print(f"{what}: {run([program], env).strip()} ({' '.join(flags)})")


def find(root, name):
    for folder, _, files in os.walk(root):
        if name in files:
            return folder
    sys.exit(f"{name} is not installed")


with tempfile.TemporaryDirectory(prefix="fsys-install-") as scratch:
    destination = os.path.join(scratch, "root")
    # By Meson's own command, without building anything: the test depends on what it needs.
    meson = shutil.which("meson")
    if not meson:
        print("skipped: no meson command in PATH")
        sys.exit(77)
    run([meson, "install", "-C", build_root, "--no-rebuild", "--destdir", destination, "--tags",
         "devel,runtime,doc"])
    for name in ("fsys.h", "error.h", "version.h", "LICENSE"):
        find(destination, name)
    library_dir = find(destination, "libfsys.so.1")
    for name in ("libfsys.so", "libfsys.so.1"):
        path = os.path.join(library_dir, name)
        if not os.path.islink(path) or not os.path.exists(path):
            sys.exit(f"{name} is not a link to the library")
    pc_dir = find(destination, "fsys.pc")
    with open(os.path.join(pc_dir, "fsys.pc"), encoding="utf-8") as pc:
        if source_root in pc.read():
            sys.exit("fsys.pc names the source tree")
    build_and_run("installed", pc_dir, destination, library_dir, scratch)
    build_and_run("uninstalled", os.path.join(build_root, "meson-uninstalled"), None,
                  os.path.join(build_root, "lib"), scratch)
