# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys demo: commits, SIGKILL, recovery, on files whose content the test knows."""

import json
import os
import signal
import subprocess
import time

import support


class Demo(support.Case):
    def source(self, files=300):
        for number in range(files):
            self.write(f"in/{number % 7}/{number}", os.urandom(number * 37 % 40_000))
        self.write("in/empty", b"")
        return self.path("in")

    def pieces(self, root):
        """Records that the files below `root` make: one per 16 KiB, one for an empty file."""
        count = 0
        for directory, _, files in os.walk(root):
            for name in files:
                size = os.path.getsize(os.path.join(directory, name))
                count += max(1, -(-size // 16384))
        return count

    def test_what_was_promised_is_there(self):
        source = self.source()
        for threads in ("1", "16"):
            with self.subTest(threads=threads):
                target = self.path("journal-" + threads)
                done = self.succeed("demo", source, "--dir", target, "--threads", threads, "--json")
                report = json.loads(done.stdout)
                self.assertIs(report["ok"], True)
                self.assertIs(report["killed"], True)
                self.assertEqual(report["records"], self.pieces(source))
                self.assertEqual(report["records_at_end"], report["records"])
                self.assertGreaterEqual(report["acknowledged_before_kill"],
                                        report["records"] * 35 // 100)
                self.assertEqual(report["recovered"], report["acknowledged_before_kill"] +
                                 report["recovered_unacknowledged"])
                self.assertEqual(report["recovered"] + report["committed_after"],
                                 report["records"])
                self.assertLessEqual(report["recovered_unacknowledged"], int(threads))
                self.assertIn(report["recovery_verdict"], ("clean", "torn"))
                self.assertGreater(report["p99_ns"], 0)
                self.assertTrue(os.listdir(target), "--dir keeps the journal")

    def test_text_and_the_temporary_journal_goes(self):
        os.mkdir(self.path("tmp"))
        env = dict(support.clean_environment(), TMPDIR=self.path("tmp"))
        done = self.succeed("demo", self.source(), env=env)
        self.assertIn("Nothing that was acknowledged was lost.", done.stdout)
        self.assertNotIn("\x1b", done.stdout)
        self.assertEqual(os.listdir(self.path("tmp")), [])

    def test_refusals(self):
        self.fail_with(1, "demo", self.path("nowhere"), says=["nowhere", "ENOENT"])
        os.mkdir(self.path("empty"))
        self.fail_with(1, "demo", self.path("empty"), says=["no readable regular file"])
        source = self.source(20)
        self.write("foreign/file", b"x")
        self.fail_with(1, "demo", source, "--dir", self.path("foreign"), "--json",
                       says=["ENOTEMPTY", "other files"])
        self.fail_with(2, "demo", source, "--threads", "0", says=["--threads"])

    def test_interrupt_leaves_nothing(self):
        os.mkdir(self.path("tmp"))
        env = dict(support.clean_environment(), TMPDIR=self.path("tmp"))
        process = subprocess.Popen([support.PROGRAM, "demo", "--threads", "1", self.source(4000)],
                                   env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while not os.listdir(self.path("tmp")) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 128 + signal.SIGINT)
        self.assertEqual(os.listdir(self.path("tmp")), [])


if __name__ == "__main__":
    support.main()
