#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Boots a Debian kernel in QEMU with emulated NVMe disks and runs the guest program as its init.

usage: run.py GUEST_PROGRAM FLAVOUR

FLAVOUR is the series of the kernel, "6.1" or "6.12". Kernels are looked for where tools/check --full
unpacks them (~/.cache/libfsys/kernels) and in /boot. No KVM, no network, no root, about ten seconds.
The guest checks what the library says and does; here QEMU's own trace is compared with the number of
flushes that the guest claims to have sent. Exit code 77: not possible here, with the reason.
"""
import glob
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile

MIB = 1 << 20
PARTITION = MIB  # offset of the partition on the first disk
LIMIT_SECONDS = 150  # ten at most on an idle machine


def skip(reason):
    print("skipped:", reason)
    sys.exit(77)


def find_kernel(flavour):
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                         "libfsys", "kernels")
    found = []
    for directory in (cache, "/boot"):
        found += glob.glob(f"{directory}/vmlinuz-{flavour}.*-cloud-amd64")
    if not found:
        skip(f"no Debian cloud kernel {flavour} in {cache} or /boot; tools/check --full unpacks one")

    def version(path):
        return [int(part) for part in re.findall(r"\d+", os.path.basename(path))]

    return max(found, key=version)


class Cpio:
    """An archive in the kernel's "newc" format (Documentation/driver-api/early-userspace)."""

    def __init__(self):
        self.data = bytearray()
        self.inode = 0

    def add(self, name, mode, content=b"", device=(0, 0)):
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, device[0], device[1],
                  len(name) + 1, 0)
        self.data += b"070701" + b"".join(b"%08x" % field for field in fields)
        self.data += name.encode() + b"\0"
        self.data += b"\0" * (-len(self.data) % 4)
        self.data += content
        self.data += b"\0" * (-len(self.data) % 4)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return bytes(self.data)


def libraries(program):
    out = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", out)))


def initramfs(program):
    archive = Cpio()
    directories = {"dev", "proc", "sys", "mnt", "tmp"}
    files = {"init": program}
    for library in libraries(program):
        name = library.lstrip("/")
        files[name] = library
        while os.path.dirname(name):
            name = os.path.dirname(name)
            directories.add(name)
    for name in sorted(directories):
        archive.add(name, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name, source in files.items():
        with open(source, "rb") as file:
            archive.add(name, stat.S_IFREG | 0o755, file.read())
    return archive.finish()


def make_disks(scratch):
    """Empty disks; the first with a partition table and an ext4 file system in its partition."""
    disks = {}
    for name in ("files", "idle", "failing", "twin"):
        disks[name] = os.path.join(scratch, name + ".img")
        with open(disks[name], "wb") as file:
            file.truncate(64 * MIB)
    with open(disks["files"], "r+b") as file:
        file.seek(446)
        file.write(struct.pack("<B3sB3sII", 0, b"\0" * 3, 0x83, b"\0" * 3, PARTITION // 512,
                               (64 * MIB - PARTITION) // 512))
        file.seek(510)
        file.write(b"\x55\xaa")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", f"offset={PARTITION}", disks["files"],
                    str((64 * MIB - PARTITION) // 1024) + "k"], check=True)
    return disks


def command(qemu, kernel, scratch, disks, trace):
    def drive(name, extra=""):
        return ["-blockdev", f"driver=file,filename={disks[name]},node-name={name}-file",
                "-blockdev", f"driver={extra or 'raw,file=' + name + '-file'},node-name={name}"]

    fault = ("blkdebug,image=failing-file,inject-error.0.event=none,inject-error.0.iotype=flush,"
             "inject-error.0.errno=5,inject-error.0.once=off")
    return [
        qemu, "-accel", "tcg,thread=single", "-cpu", "max", "-M", "q35", "-m", "384", "-smp", "1",
        "-nographic", "-no-reboot", "-nic", "none", "-kernel", kernel,
        "-initrd", os.path.join(scratch, "initrd"),
        "-append", "console=ttyS0 quiet panic=-1 rdinit=/init",
        *drive("files"), *drive("idle"), *drive("failing", fault), *drive("twin"),
        # Three namespaces of one controller.
        "-device", "nvme,serial=single,id=single",
        "-device", "nvme-ns,drive=files,bus=single,nsid=1",
        "-device", "nvme-ns,drive=idle,bus=single,nsid=2",
        "-device", "nvme-ns,drive=failing,bus=single,nsid=3",
        # One namespace of two controllers.
        "-device", "nvme-subsys,id=pair",
        "-device", "nvme,serial=pair,id=left,subsys=pair",
        "-device", "nvme,serial=pair,id=right,subsys=pair",
        "-device", "nvme-ns,drive=twin,bus=left,nsid=9,shared=on",
        "-trace", "pci_nvme_flush_ns", "-D", trace,
    ]


def main():
    program, flavour = sys.argv[1:]
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        skip("qemu-system-x86_64 is not installed; tools/check --full installs it")
    if shutil.which("mke2fs") is None:
        skip("mke2fs is not installed (e2fsprogs)")
    kernel = find_kernel(flavour)
    problems = []
    with tempfile.TemporaryDirectory(prefix="fsys-qemu-") as scratch:
        with open(os.path.join(scratch, "initrd"), "wb") as file:
            file.write(initramfs(program))
        trace = os.path.join(scratch, "trace")
        arguments = command(qemu, kernel, scratch, make_disks(scratch), trace)
        try:
            run = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=LIMIT_SECONDS, check=False)
            console = run.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as late:
            console = (late.stdout or b"").decode(errors="replace")
            problems.append(f"the guest did not end within {LIMIT_SECONDS} s")
        with open(trace, encoding="utf-8", errors="replace") as file:
            flushes = [int(found, 0) for found in
                       re.findall(r"pci_nvme_flush_ns .*?nsid (0x[0-9a-f]+|\d+)", file.read())]
    console = console.replace("\r", "")
    print(console)
    checked = len(re.findall(r"^ok ", console, re.MULTILINE))
    failed = re.findall(r"^FAILED .*", console, re.MULTILINE)
    problems += failed
    if not re.search(r"^GUEST DONE$", console, re.MULTILINE):
        problems.append("the guest did not come to its end")
    claims = re.findall(r"^sent (\d+) flushes to namespace (\d+)$", console, re.MULTILINE)
    if not claims:
        problems.append("the guest claims no flushes")
    for count, namespace in claims:
        seen = flushes.count(int(namespace))
        print(f"namespace {namespace}: {count} flushes sent, {seen} seen by the device")
        if seen != int(count):
            problems.append(f"namespace {namespace}: {count} flushes sent, {seen} arrived")
    print(f"{os.path.basename(kernel)}: {checked} checks in the guest")
    for problem in problems:
        print("problem:", problem)
    sys.exit(1 if problems or checked == 0 else 0)


main()
