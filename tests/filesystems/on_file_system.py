#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Runs a program with a freshly made file system as its working directory.

usage: on_file_system.py TYPE PROGRAM [ARGUMENT ...]

TYPE is ext4, xfs, btrfs (on a loop device), tmpfs, or fuse (the program in FSYS_LOSSFS). Needs root;
the mounts are in a namespace of their own, and gone with this program however it ends. Exit code 77,
with the reason, where that is not possible; otherwise the program's.
"""
import os
import shutil
import subprocess
import sys
import tempfile

MAKE = {
    "ext4": (64, ["mkfs.ext4", "-q", "-F"]),
    "xfs": (320, ["mkfs.xfs", "-q", "-f"]),
    "btrfs": (256, ["mkfs.btrfs", "-q", "-f"]),
}
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def skip(reason):
    print("skipped:", reason)
    sys.exit(77)


def attempt(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          env=dict(os.environ, PATH=PATH))
    if done.returncode != 0:
        skip(f"{' '.join(command)}: {done.stdout.strip().splitlines()[-1:] or done.returncode}")


def mount(kind, scratch):
    """Returns the mount point and the process that serves it, if any."""
    point = os.path.join(scratch, "mnt")
    os.mkdir(point)
    if kind == "tmpfs":
        attempt("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", point)
        return point, None
    if kind == "fuse":
        server = os.environ.get("FSYS_LOSSFS", "")
        if not server:
            skip("lossfs was not built (libfuse3 is missing)")
        process = subprocess.Popen([server, point], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True)
        if process.stdout.readline().strip() != "ready":
            skip("mounting FUSE is not allowed here")
        return point, process
    size, make = MAKE[kind]
    if shutil.which(make[0], path=PATH) is None:
        skip(f"{make[0]} is not installed")
    image = os.path.join(scratch, "image")
    with open(image, "wb") as file:
        file.truncate(size << 20)
    attempt(*make, image)
    attempt("mount", "-t", kind, "-o", "loop", image, point)
    return point, None


def main():
    kind, program, *arguments = sys.argv[1:]
    if os.geteuid() != 0:
        skip("not root")
    if "FSYS_OWN_MOUNTS" not in os.environ:
        if shutil.which("unshare") is None:
            skip("unshare (util-linux) is not installed")
        probe = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.PIPE, text=True,
                               check=False)
        if probe.returncode != 0:
            skip(f"a mount namespace of its own: {probe.stderr.strip()}")
        os.environ["FSYS_OWN_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--",
                              sys.executable, *sys.argv])
    program = os.path.abspath(program)
    with tempfile.TemporaryDirectory(prefix="fsys-on-", dir=os.getcwd()) as scratch:
        point, server = mount(kind, scratch)
        try:
            code = subprocess.run([program, *arguments], cwd=point, check=False).returncode
        finally:
            if server is not None:
                server.stdin.close()
                server.wait()
            subprocess.run(["umount", "--lazy", point], stderr=subprocess.DEVNULL, check=False)
    sys.exit(code)


main()
