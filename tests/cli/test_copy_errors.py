# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys copy when something fails or someone stops it: a message that names the place, and never a
partial file."""

import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import termios
import time

import support


def everything_below(path):
    return sorted(os.path.relpath(os.path.join(directory, name), path)
                  for directory, _, names in os.walk(path) for name in names)


class Failures(support.Case):
    def test_missing_source(self):
        done = self.fail_with(1, "copy", "--json", self.path("absent"), self.path("x"),
                              says=["absent", "ENOENT"])
        self.assertEqual(json.loads(done.stdout)["error"]["name"], "ENOENT")
        self.assertFalse(os.path.exists(self.path("x")))

    def test_missing_target_directory(self):
        file = self.write("file", b"x")
        self.fail_with(1, "copy", file, self.path("no", "where"), says=["no", "ENOENT"])
        self.fail_with(1, "copy", file, self.path("nowhere") + "/", says=["nowhere"])

    def test_special_source(self):
        os.mkfifo(self.path("fifo"))
        self.fail_with(1, "copy", self.path("fifo"), self.path("x"), says=["fifo"], timeout=20)
        self.fail_with(1, "copy", "/dev/null", self.path("x"), says=["/dev/null"], timeout=20)

    def as_nobody(self):
        problem = support.nobody_can_run()
        if problem is not None:
            self.skipTest(problem)
        os.chmod(self.dir, 0o777)
        return {"preexec_fn": support.become_nobody}

    def test_unreadable_source(self):
        options = self.as_nobody()
        os.mkdir(self.path("source"))
        os.chmod(self.path("source"), 0o755)
        for name in ("a", "b", "c"):
            os.chmod(self.write("source/" + name, b"x"), 0o000 if name == "b" else 0o644)
        self.fail_with(1, "copy", self.path("source"), self.path("target"),
                       says=["source/b", "EACCES"], **options)
        self.assertNotIn("b", everything_below(self.path("target")))
        os.chmod(self.path("source"), 0o000)
        self.fail_with(1, "copy", self.path("source"), self.path("target2"),
                       says=["source", "EACCES"], **options)

    def test_unwritable_target(self):
        options = self.as_nobody()
        file = self.write("file", b"x")
        os.chmod(file, 0o644)
        os.mkdir(self.path("closed"), 0o755)
        os.chmod(self.path("closed"), 0o555)
        self.fail_with(1, "copy", file, self.path("closed"), says=["closed/file", "EACCES"],
                       **options)

    def test_a_limit_on_file_size_names_path_and_offset(self):
        source = self.path("source")
        for name, size in (("a-small", 1000), ("b-big", 3 << 20), ("c-small", 1000)):
            self.write("source/" + name, os.urandom(size))
        limit = 1 << 20
        for backend in support.backends():
            for target, extra in (("tree", []), ("tree-durable", ["--durable"]),
                                  ("tree-single", ["--threads", "1", "--depth", "2"])):
                with self.subTest(backend=backend, target=target):
                    path = self.path(target + backend)
                    done = self.fail_with(
                        1, "copy", "--json", "--block", "64K", "--backend", backend, *extra,
                        source, path, says=["b-big", "EFBIG", "offset"],
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                              (limit, limit)))
                    self.assertGreaterEqual(json.loads(done.stdout)["error"]["offset"], limit)
                    left = everything_below(path)
                    self.assertNotIn("b-big", left)
                    for name in left:
                        self.assertEqual(os.path.getsize(os.path.join(path, name)), 1000, name)

    def test_a_failed_replacement_leaves_the_old_file(self):
        source = self.write("new", os.urandom(3 << 20))
        old = self.write("keep/old", b"precious")
        self.fail_with(1, "copy", "--force", source, old, says=["EFBIG"],
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                             (1 << 20, 1 << 20)))
        with open(old, "rb") as file:
            self.assertEqual(file.read(), b"precious")
        self.assertEqual(os.listdir(self.path("keep")), ["old"])

    def test_full_disk(self):
        """ENOSPC on a small tmpfs in a mount namespace of its own."""
        self.write("source/a", os.urandom(300 << 10))
        self.write("source/b", os.urandom(4 << 20))
        os.mkdir(self.path("mount"))
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        mount = f"mount -t tmpfs -o size=1m none '{self.path('mount')}'"
        if subprocess.run([*unshare, "sh", "-c", mount], check=False, timeout=20,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no mount namespace with a tmpfs here")
        for backend in support.backends():
            with self.subTest(backend=backend):
                script = (mount + f" && cd '{self.dir}' && '{support.PROGRAM}' copy --backend "
                          f"{backend} source mount/x; echo \"exit $?\"; cd mount/x; "
                          "find . ! -name . -printf '%f %s\\n'")
                done = subprocess.run([*unshare, "sh", "-c", script], check=False, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      timeout=support.TIMEOUT)
                lines = done.stdout.split("\n")
                self.assertEqual(lines[0], "exit 1", done.stderr)
                # Which of the two finds the disk full is a race; what is left is complete.
                self.assertRegex(done.stderr, "mount/x/[ab]' at offset .*ENOSPC")
                self.assertNotIn("b 4194304", lines)
                for line in lines[1:]:
                    self.assertIn(line, ("", f"a {300 << 10}"))

    def test_a_source_that_shrinks_is_not_a_copy(self):
        # Listed with one size, read with another: sysfs attributes say 4096 and hold less.
        path = "/sys/kernel/mm/transparent_hugepage/enabled"
        if not os.path.exists(path):
            self.skipTest(path + " is not here")
        self.assertEqual(os.path.getsize(path), 4096)
        self.fail_with(1, "copy", path, self.path("x"), says=[path, "shorter"])
        self.assertFalse(os.path.exists(self.path("x")))


class Stopping(support.Case):
    def start_slow_copy(self, target, *extra):
        """A copy of 2 GiB of nothing in small steps, returned once its file is being written."""
        source = self.path("sparse")
        with open(source, "wb") as file:
            file.truncate(2 << 30)
        process = subprocess.Popen(
            [support.PROGRAM, "copy", "--block", "4K", "--depth", "2", *extra, source, target],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
            env=support.clean_environment(), preexec_fn=support.default_signals)
        self.addCleanup(process.kill)
        return process

    def wait_for_growth(self, directory, known):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for name in set(os.listdir(directory)) - known:
                if os.path.getsize(os.path.join(directory, name)) > 1 << 20:
                    return
            time.sleep(0.005)
        self.fail("the copy did not start within 30 s")

    def test_signals_leave_no_partial_file(self):
        for backend in support.backends():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                for threads in ("1", "4"):
                    with self.subTest(backend=backend, signal=number, threads=threads):
                        process = self.start_slow_copy(self.path("partial"), "--threads", threads,
                                                       "--backend", backend, "--json")
                        self.wait_for_growth(self.dir, {"sparse"})
                        process.send_signal(number)
                        out, err = process.communicate(timeout=30)
                        self.assertEqual(process.returncode, 128 + number, err)
                        self.assertIn("interrupted", err)
                        self.assertEqual(json.loads(out)["error"]["signal"], number)
                        self.assertEqual(os.listdir(self.dir), ["sparse"])

    def test_an_interrupted_replacement_leaves_the_old_file(self):
        old = self.write("into/old", b"precious")
        process = self.start_slow_copy(old, "--force")
        self.wait_for_growth(self.path("into"), {"old"})
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(os.listdir(self.path("into")), ["old"])
        with open(old, "rb") as file:
            self.assertEqual(file.read(), b"precious")


class ProgressBar(support.Case):
    def stderr_of_terminal(self, *args, **environment):
        """Runs a copy with stderr on a terminal of 120 columns; (stdout, stderr)."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        env = dict(support.clean_environment(), TERM="xterm", **environment)
        with subprocess.Popen([support.PROGRAM, "copy", *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=slave, env=env) as process:
            os.close(slave)
            shown = b""
            while select.select([master], [], [], support.TIMEOUT)[0]:
                try:
                    data = os.read(master, 65536)
                except OSError:  # the terminal's other end is closed
                    break
                shown += data
            os.close(master)
            out = process.stdout.read()
        self.assertEqual(process.returncode, 0, shown)
        return out.decode(), shown.decode()

    def test_bar_on_a_terminal_only(self):
        source = self.write("source", os.urandom(64 << 20))
        out, shown = self.stderr_of_terminal("--verify", source, self.path("one"))
        self.assertRegex(shown, r"copying.*100%.*64 MiB of 64 MiB.*1/1 files.*MiB/s.*ETA")
        self.assertIn("verifying", shown)
        self.assertIn("\x1b[32m", shown)
        self.assertTrue(shown.endswith("\r\x1b[K"), "the bar was not taken away")
        for line in re.sub("\x1b\\[[0-9;]*[a-zA-Z]", "", shown).split("\r"):
            self.assertLess(len(line), 120)
        self.assertNotIn("\x1b", out)
        self.assertIn("verified", out)

        _, shown = self.stderr_of_terminal(source, self.path("two"), NO_COLOR="1")
        self.assertNotIn("\x1b[32m", shown)
        self.assertIn("100%", shown)
        _, shown = self.stderr_of_terminal("--progress=never", source, self.path("three"))
        self.assertEqual(shown, "")

        self.assertEqual(self.succeed("copy", source, self.path("four")).stderr, "")
        forced = self.succeed("copy", "--progress=always", source, self.path("five"))
        self.assertIn("100%", forced.stderr)
        self.assertNotIn("\x1b", forced.stderr)


if __name__ == "__main__":
    support.main()
