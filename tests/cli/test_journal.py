# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys journal: append, cat, verify and salvage, on sound, torn and damaged journals."""

import glob
import json
import os
import shutil
import signal
import subprocess

import support


class Journal(support.Case):
    def append(self, lines, *args, name="wal"):
        done = subprocess.run([support.PROGRAM, "journal", "append", self.path(name), "--json",
                               *args], input="".join(line + "\n" for line in lines),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                              timeout=support.TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def first_segment(self, name="wal"):
        return sorted(glob.glob(self.path(name, "*.fsj")))[0]

    def flip(self, path, needle):
        with open(path, "r+b") as file:
            at = file.read().index(needle)
            file.seek(at)
            file.write(bytes([needle[0] ^ 1]))

    def test_what_is_appended_is_read(self):
        for commit in ("each", "end"):
            name = "wal-" + commit
            lines = ["one", "", "drei \u00fc", "x" * 100_000]
            report = self.append(lines, "--commit", commit, name=name)
            self.assertEqual(report["records"], 4)
            report = self.append(["five"], name=name)  # a second opening goes on behind
            cat = self.succeed("journal", "cat", self.path(name)).stdout
            self.assertEqual(cat, "".join(line + "\n" for line in lines + ["five"]))
            records = [json.loads(line) for line in self.succeed(
                "journal", "cat", self.path(name), "--json").stdout.splitlines()]
            self.assertEqual([record["data"] for record in records], lines + ["five"])
            lsns = [record["lsn"] for record in records]
            self.assertEqual(lsns, sorted(set(lsns)))
            self.assertEqual(lsns[-1], report["last_lsn"])
            self.assertLess(records[0]["epoch"], records[-1]["epoch"])
            rest = self.succeed("journal", "cat", self.path(name), "--from", str(lsns[3])).stdout
            self.assertEqual(rest, "five\n")
            verdict = json.loads(self.succeed("journal", "verify", self.path(name),
                                              "--json").stdout)
            self.assertEqual((verdict["verdict"], verdict["records"]), ("clean", 5))

    def test_damage_is_found_and_the_rest_saved(self):
        self.append([f"record number {number}" for number in range(20)], "--commit", "each")
        self.flip(self.first_segment(), b"record number 7")
        done = support.run("journal", "verify", self.path("wal"), "--json")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(json.loads(done.stdout)["verdict"], "damaged")
        done = support.run("journal", "verify", self.path("wal"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("damaged", done.stdout)
        self.assertIn("damage    at LSN", done.stdout)
        done = support.run("journal", "cat", self.path("wal"))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.splitlines(),
                         [f"record number {number}" for number in range(7)])
        self.assertIn("FSYS_E_CORRUPT", done.stderr)
        saved = json.loads(self.succeed("journal", "salvage", self.path("wal"),
                                        self.path("saved"), "--json").stdout)
        self.assertEqual((saved["records"], saved["lost_ranges"]), (19, 1))
        self.assertNotIn("number 7\n", self.succeed("journal", "cat", self.path("saved")).stdout)
        self.assertEqual(support.run("journal", "verify", self.path("wal")).returncode, 2)

    def test_killed_writer(self):
        writer = subprocess.Popen([support.PROGRAM, "journal", "append", self.path("wal"),
                                   "--commit", "each"], stdin=subprocess.PIPE)
        for number in range(50):
            writer.stdin.write(b"line %d\n" % number)
        writer.stdin.flush()
        # Read while it is written: the records come as they become durable.
        deadline = 200
        seen = ""
        while seen.count("\n") < 50 and deadline:
            deadline -= 1
            seen = support.run("journal", "cat", self.path("wal")).stdout
        self.assertEqual(seen, "".join(f"line {number}\n" for number in range(50)))
        writer.kill()
        writer.wait()
        writer.stdin.close()
        self.assertEqual(support.run("journal", "cat", self.path("wal")).stdout, seen)
        # The last record destroyed: torn, or damage where the watermark of the killed writer says
        # that it was durable. Never clean, and the exit status says which.
        copy = self.path("copy")
        shutil.copytree(self.path("wal"), copy)
        with open(self.first_segment("copy"), "r+b") as file:
            bytes_ = file.read()
            at = bytes_.index(b"line 49")
            file.seek(at)
            file.write(b"\0" * 7)
        done = support.run("journal", "verify", copy, "--json")
        self.assertIn(json.loads(done.stdout)["verdict"], ("torn", "damaged"))
        self.assertEqual(done.returncode,
                         {"torn": 1, "damaged": 2}[json.loads(done.stdout)["verdict"]])

    def test_follow_ends_by_interrupt(self):
        self.append(["one"])
        writer = subprocess.Popen([support.PROGRAM, "journal", "append", self.path("wal"),
                                   "--commit", "each"], stdin=subprocess.PIPE)
        writer.stdin.write(b"two\n")
        writer.stdin.flush()
        while "two" not in support.run("journal", "cat", self.path("wal")).stdout:
            pass
        reader = subprocess.Popen([support.PROGRAM, "journal", "cat", self.path("wal"),
                                   "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(reader.stdout.readline(), b"one\n")
        self.assertEqual(reader.stdout.readline(), b"two\n")
        writer.stdin.write(b"three\n")
        writer.stdin.flush()
        self.assertEqual(reader.stdout.readline(), b"three\n")
        reader.send_signal(signal.SIGINT)
        reader.communicate(timeout=30)
        self.assertEqual(reader.returncode, 128 + signal.SIGINT)
        second = support.run("journal", "append", self.path("wal"))
        self.assertEqual(second.returncode, 1)
        self.assertIn("FSYS_E_LOCKED", second.stderr)
        writer.stdin.close()
        self.assertEqual(writer.wait(timeout=30), 0)

    def test_refusals(self):
        self.fail_with(1, "journal", "cat", self.path("none"), says=["none", "ENOENT"])
        done = support.run("journal", "verify", self.path("none"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("ENOENT", done.stdout)
        self.write("foreign/file", b"x")
        self.fail_with(1, "journal", "append", self.path("foreign"), says=["other files"])
        self.fail_with(2, "journal", says=["--help"])
        self.fail_with(2, "journal", "append", self.path("j"), "--commit", "never",
                       says=["never"])


if __name__ == "__main__":
    support.main()
