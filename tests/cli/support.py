# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the tests of the fsys program share: running it, and trees to copy."""

import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ["FSYS_PROGRAM"]
TIMEOUT = 120  # seconds; a hung program fails, it does not hang the suite


def io_uring_problem():
    """None where this process can have a ring, else why not: asked of the kernel, not of fsys."""
    libc = ctypes.CDLL(None, use_errno=True)
    params = (ctypes.c_uint32 * 30)()
    fd = libc.syscall(425, 4, ctypes.byref(params))  # io_uring_setup, same number everywhere
    if fd >= 0:
        os.close(fd)
        return None
    return "io_uring_setup: " + os.strerror(ctypes.get_errno())


def backends():
    """The backends to test, and why io_uring is not among them if it is not."""
    problem = io_uring_problem()
    if problem is None:
        return ["io_uring", "threads"]
    print("SKIPPED for backend io_uring: " + problem, file=sys.stderr)
    return ["threads"]


def clean_environment():
    env = dict(os.environ, LC_ALL="C.UTF-8")
    env.pop("NO_COLOR", None)
    return env


def default_signals():
    """For a child that is to be stopped: nohup, and some CI runners, leave SIGHUP ignored."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def run(*args, timeout=TIMEOUT, **options):
    """Runs fsys; returns the completed process with text in stdout and stderr."""
    options.setdefault("env", clean_environment())
    return subprocess.run([PROGRAM, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout, encoding="utf-8",
                          errors="surrogateescape", **options)


def nobody_can_run():
    """As root, permission tests run the program as nobody; why that is impossible, or None."""
    if os.geteuid() != 0:
        return None
    probe = subprocess.run([PROGRAM, "--version"], preexec_fn=become_nobody,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False) \
        if reachable(PROGRAM) else None
    return None if probe is not None and probe.returncode == 0 else \
        "root is never refused, and user 65534 cannot execute " + PROGRAM


def reachable(path):
    path = os.path.abspath(path)
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


def become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


class Case(unittest.TestCase):
    """A test with a directory of its own."""

    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="fsys-cli-", dir=os.environ.get("FSYS_TEST_DIR"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def succeed(self, *args, **options):
        done = run(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def fail_with(self, code, *args, says=(), **options):
        """Exit `code`, every word of `says` in the message, nothing on stdout (unless --json)."""
        done = run(*args, **options)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        for words in says:
            self.assertIn(words, done.stderr)
        if "--json" in args and code == 1:
            document = json.loads(done.stdout)
            self.assertIs(document["ok"], False)
            self.assertTrue(document["error"]["message"])
        else:
            self.assertEqual(done.stdout, "")
        return done

    def assert_same_tree(self, left, right, metadata=True):
        self.assertEqual(listing(left, metadata), listing(right, metadata))


def listing(root, metadata):
    """Everything below `root` that a copy keeps, by relative name."""
    root = os.fsencode(root)
    found = {}
    for directory, names, files in os.walk(root):
        for name in names + files + [b"."]:
            path = os.path.join(directory, name)
            facts = os.lstat(path)
            key = os.path.relpath(path, root)
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
                continue
            kept = (oct(facts.st_mode), facts.st_mtime_ns) if metadata else ()
            if os.path.isdir(path):
                found[key] = ("directory", *kept)
            else:
                with open(path, "rb") as file:
                    content = file.read()
                found[key] = ("file", len(content), hash(content), *kept)
    return found


def make_tree(root, seed=1, block=65536):
    """Sizes around the block, odd names, links, modes, times, depth."""
    rng = random.Random(seed)
    os.makedirs(root)

    def put(name, size, mode=0o644):
        path = os.path.join(root, name) if isinstance(name, str) else \
            os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(rng.randbytes(size))
        os.chmod(path, mode)
        os.utime(path, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321 + size))

    sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, block - 1, block, block + 1, 2 * block - 1,
             2 * block, 2 * block + 1, 5 * block + 17, 3 * 1024 * 1024 + 5]
    for size in sizes:
        put(f"sizes/{size}", size)
    for number in range(100):
        put(f"many/{number % 7}/{number}", rng.randrange(0, 9000))
    for name in [" leading", "trailing ", "new\nline", "tab\t", "quote'\"", "back\\slash", "-dash",
                 "ünï-日本語-🗂", "*?[x]", "a" * 255, "é" * 127, "%s%n", "\x1b[31mred"]:
        put("names/" + name, 100)
    put(b"names/not-utf8-\xff\xfe", 100)
    for mode in [0o400, 0o444, 0o600, 0o640, 0o755, 0o777, 0o4755]:
        put(f"modes/{mode:o}", 10, mode)
    put("/".join(["deep"] * 120) + "/bottom", 1000)
    os.makedirs(os.path.join(root, "empty/in/side"))
    links = {"links/file": "../sizes/4096", "links/directory": "../many", "links/dangling": "no",
             "links/absolute": "/etc/passwd", "links/long": "x/" * 1000 + "y"}
    os.makedirs(os.path.join(root, "links"))
    for name, target in links.items():
        os.symlink(target, os.path.join(root, name))
    os.chmod(os.path.join(root, "modes"), 0o711)
    os.chmod(os.path.join(root, "empty"), 0o555)
    for directory, _, _ in os.walk(root):
        os.utime(directory, ns=(1_600_000_000_000_000_000, 1_400_000_000_000_000_000))


def main():
    unittest.main(verbosity=2)
