# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Help, versions, exit codes and streams of the fsys program."""

import json
import os
import re
import subprocess

import support

JOURNAL_COMMANDS = ("append", "cat", "tail", "dump", "ls", "stat", "verify", "explain", "trim", "snapshot",
                    "salvage")
PIN_COMMANDS = ("list", "add", "remove")
COMMANDS = ("demo", "journal", "probe", "copy", "bench")
ALL_COMMANDS = tuple((name,) for name in COMMANDS) + \
    tuple(("journal", name) for name in JOURNAL_COMMANDS + ("pins",)) + \
    tuple(("journal", "pins", name) for name in PIN_COMMANDS)


class Help(support.Case):
    def test_every_command_has_help_with_examples(self):
        for args in (["--help"], ["-h"], *([*names, "--help"] for names in ALL_COMMANDS)):
            with self.subTest(args=args):
                done = self.succeed(*args)
                self.assertEqual(done.stderr, "")
                self.assertTrue(done.stdout.startswith("Usage: fsys"))
                self.assertIn("Examples:\n  fsys ", done.stdout)
                self.assertIn("Exit status:", done.stdout)
                self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100)

    def test_main_help_names_every_command(self):
        text = self.succeed("--help").stdout
        for name in COMMANDS:
            self.assertRegex(text, rf"(?m)^  {name} ")
        text = self.succeed("journal", "--help").stdout
        for name in JOURNAL_COMMANDS + ("pins",):
            self.assertRegex(text, rf"(?m)^  {name} ")

    def test_documented_options_exist(self):
        for names in ALL_COMMANDS:
            text = self.succeed(*names, "--help").stdout
            for option in re.findall(r"(?m)^  (?:-\w,)?(--[a-z-]+)", text):
                if option == "--help":
                    continue
                # A known option without what it needs is a different complaint.
                done = support.run(*names, option, "--no-such-option")
                self.assertEqual(done.returncode, 2)
                self.assertNotIn(f"not expected: {option}", done.stderr)

    def test_examples_parse(self):
        for names in ALL_COMMANDS:
            text = self.succeed(*names, "--help").stdout.split("Examples:")[1]
            for line in re.findall(r"(?m)^  (?:.*\| )?fsys (.*)$", text):
                words = re.split(r"\s{2,}|\s[|<&]", line)[0].split()
                # --help after it makes the parser judge the rest and run nothing.
                self.succeed(*words, "--help")


class Version(support.Case):
    def test_version(self):
        done = self.succeed("--version")
        self.assertRegex(done.stdout, r"^fsys \d+\.\d+\.\d+ \(library \d+\.\d+\.\d+\)\n$")

    def test_version_json(self):
        document = json.loads(self.succeed("--version", "--json").stdout)
        self.assertEqual(document["header"], document["library"])


class Refusals(support.Case):
    def test_unusable_command_lines(self):
        lines = [
            ([], "a command is needed"),
            (["frobnicate"], "frobnicate"),
            (["probe", "--nonsense"], "--nonsense"),
            (["probe", "a", "b"], "b"),
            (["probe", "--backend", "magic"], "magic"),
            (["copy"], "SRC"),
            (["copy", "a"], "DST"),
            (["copy", "a", "b", "c"], "c"),
            (["copy", "a", "b", "--threads", "0"], "--threads"),
            (["copy", "a", "b", "--threads", "-1"], "--threads"),
            (["copy", "a", "b", "--threads", "many"], "--threads"),
            (["copy", "a", "b", "--depth", "99999999999999999999"], "--depth"),
            (["copy", "a", "b", "--block", "12q"], "--block"),
            (["copy", "a", "b", "--block", ""], "--block"),
            (["copy", "a", "b", "--block", "0"], "--block"),
            (["copy", "a", "b", "--block", "99999999T"], "--block"),
            (["copy", "a", "b", "--direct", "--block", "1000"], "--direct"),
            (["copy", "a", "b", "--verify-only", "--force"], "--verify-only"),
            (["copy", "a", "b", "--progress", "maybe"], "--progress"),
            (["bench", "--workload", "dance"], "dance"),
            (["bench", "--mode", "wait", "--depth", "4"], "--depth"),
            (["bench", "--rate", "100", "--depth", "4"], "--rate"),
            (["bench", "--workload", "nop", "file"], "nop"),
            (["bench", "--workload", "nop", "--mode", "blocking"], "nop"),
            (["bench", "--workload", "read", "--overwrite"], "--overwrite"),
            (["bench", "--size", "1K", "--block", "4K"], "--size"),
            (["bench", "--seconds", "0"], "--seconds"),
            (["journal"], "subcommand"),
            (["journal", "append"], "JOURNAL"),
            (["journal", "append", "j", "--commit", "never"], "never"),
            (["journal", "append", "j", "--commit", "0"], "'0'"),
            (["journal", "append", "j", "--threads", "0"], "--threads"),
            (["journal", "tail", "j", "--durable", "--written"], "--written"),
            (["journal", "explain", "j"], "LSN"),
            (["journal", "explain", "j", "-5"], "-5"),
            (["journal", "trim", "j", "ten"], "ten"),
            (["journal", "pins", "j"], "j"),
            (["journal", "pins", "add", "j", "name"], "LSN"),
            (["journal", "snapshot", "j"], "TARGET"),
        ]
        for args, says in lines:
            with self.subTest(args=args):
                done = self.fail_with(2, *args, says=[says, "--help"], cwd=self.dir)
                self.assertEqual(len(done.stderr.splitlines()), 2, done.stderr)
        self.assertEqual(os.listdir(self.dir), [])

    def test_result_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([support.PROGRAM, "--help"], stdout=full,
                                  stderr=subprocess.PIPE, timeout=support.TIMEOUT, text=True,
                                  check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output", done.stderr)


if __name__ == "__main__":
    support.main()
