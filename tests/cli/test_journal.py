# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys journal: every command, in text and JSON, on sound, torn and damaged journals, and beside a
writer. Every exit status of verify and explain is forced."""

import glob
import json
import os
import shutil
import signal
import struct
import subprocess

import support

HEADER_BLOCK = 4096


class Base(support.Case):
    def append(self, lines, *args, name="wal", data=None):
        if data is None:
            data = "".join(line + "\n" for line in lines)
        # Small segments: the default is written with 64 MiB of zeros. The last option counts.
        done = subprocess.run([support.PROGRAM, "journal", "append", self.path(name), "--json",
                               "--segment", "1M", *args], input=data, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", timeout=support.TIMEOUT,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def start(self, *args, **options):
        process = subprocess.Popen([support.PROGRAM, "journal", *args], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=support.default_signals, **options)
        self.addCleanup(self.finish, process)
        return process

    def finish(self, process):
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()

    def writer(self, *lines):
        """A process that has the journal open, its lines committed."""
        process = self.start("append", self.path("wal"), "--commit", "each", "--segment", "1M")
        self.feed(process, *lines)
        for _ in range(2000):
            if lines and lines[-1] in self.cat():
                break
        else:
            self.fail("the writer did not commit")
        return process

    def feed(self, process, *lines):
        process.stdin.write("".join(line + "\n" for line in lines).encode())
        process.stdin.flush()

    def cat(self, *args):
        return support.run("journal", "cat", self.path("wal"), *args).stdout.splitlines()

    def json(self, *args, code=0):
        done = support.run("journal", *args, "--json")
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        return json.loads(done.stdout)

    def records(self, *args, name="wal"):
        text = self.succeed("journal", "cat", self.path(name), "--json", *args).stdout
        return [json.loads(line) for line in text.splitlines()]

    def segment(self, number=0, name="wal"):
        return sorted(glob.glob(self.path(name, "*.fsj")))[number]

    def change(self, path, at, data):
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(data)

    def flip(self, path, needle):
        with open(path, "rb") as file:
            at = file.read().index(needle)
        self.change(path, at, bytes([needle[0] ^ 1]))

    def tear(self, name="wal"):
        """A frame that claims the position behind the end, and does not check."""
        end = self.json("verify", self.path(name))["end_lsn"]
        path = self.segment(-1, name)
        first = int(os.path.basename(path).split("-")[0], 16)
        frame = struct.pack("<IHBBIIQQIBBH", 1, 0x4A46, 1, 0, 8, 0, end, end, 0, 0, 0, 0)
        self.change(path, HEADER_BLOCK + end - first, frame)
        return end


class Append(Base):
    def test_what_is_appended_is_read(self):
        for commit in ("each", "2", "end"):
            name = "wal-" + commit
            lines = ["one", "", "drei \u00fc", "x" * 100_000]
            report = self.append(lines, "--commit", commit, name=name)
            self.assertEqual((report["records"], report["commit"]), (4, commit))
            report = self.append(["five"], name=name)  # a second opening goes on behind
            cat = self.succeed("journal", "cat", self.path(name)).stdout
            self.assertEqual(cat, "".join(line + "\n" for line in lines + ["five"]))
            records = self.records(name=name)
            self.assertEqual([record["data"] for record in records], lines + ["five"])
            lsns = [record["lsn"] for record in records]
            self.assertEqual(lsns, sorted(set(lsns)))
            self.assertEqual(lsns[-1], report["last_lsn"])
            self.assertLess(records[0]["epoch"], records[-1]["epoch"])
            rest = self.succeed("journal", "cat", self.path(name), "--from", str(lsns[3])).stdout
            self.assertEqual(rest, "five\n")
            verdict = self.json("verify", self.path(name))
            self.assertEqual((verdict["verdict"], verdict["records"]), ("clean", 5))

    def test_file_threads_and_progress(self):
        lines = [f"{number} " + "y" * (number % 300) for number in range(3000)]
        source = self.write("lines", "\n".join(lines).encode())  # the last one without a newline
        done = self.succeed("journal", "append", self.path("wal"), source, "--threads", "8",
                            "--commit", "50", "--segment", "256K", "--progress", "always")
        self.assertIn("3,000 records durable", done.stdout)
        self.assertIn("records per sync", done.stdout)
        self.assertIn("appending", done.stderr)
        self.assertEqual(sorted(self.cat()), sorted(lines))
        self.assertGreater(len(self.json("ls", self.path("wal"))["segments"]), 1)
        report = self.append([], "--threads", "4", "--commit", "each",
                             data="".join(f"more {number}\n" for number in range(200)))
        self.assertLessEqual(report["syncs"], 200)
        self.assertEqual(len(self.cat()), 3200)
        self.assertEqual(self.append([], data="")["records"], 0)

    def test_killed_writer(self):
        writer = self.writer(*(f"line {number}" for number in range(50)))
        seen = self.cat()
        self.assertEqual(seen, [f"line {number}" for number in range(50)])
        writer.kill()
        writer.wait()
        self.assertEqual(self.cat(), seen)
        self.assertEqual(self.json("verify", self.path("wal"))["verdict"], "clean")

    def test_interrupt_keeps_what_came(self):
        writer = self.writer("one", "two")
        writer.send_signal(signal.SIGTERM)  # while it waits for input
        _, errors = writer.communicate(timeout=30)
        self.assertEqual(writer.returncode, 128 + signal.SIGTERM)
        self.assertIn(b"2 records are durable", errors)
        self.assertEqual(self.cat(), ["one", "two"])


class Read(Base):
    def test_tail(self):
        lines = [f"a{number} " + "." * 1000 for number in range(500)]
        self.append(lines, "--segment", "64K")
        wal = self.path("wal")
        self.assertGreater(len(self.json("ls", wal)["segments"]), 4)
        for count in (0, 1, 10, 77, 499, 500, 1000):
            done = self.succeed("journal", "tail", wal, "-n", str(count))
            self.assertEqual(done.stdout.splitlines(),
                             lines[max(0, 500 - count):])
        self.assertEqual(len(self.succeed("journal", "tail", wal).stdout.splitlines()), 10)
        line = json.loads(self.succeed("journal", "tail", wal, "-n", "1", "--json").stdout)
        self.assertEqual((line["data"], line["length"]), (lines[-1], 1005))

    def test_follow_from_writer_to_writer(self):
        self.append(["one", "two"])
        for bound in ("--durable", "--written"):
            with self.subTest(bound=bound):
                # Nobody writes yet: it waits for somebody who does.
                reader = self.start("tail", "-f", "-n", "1", bound, self.path("wal"))
                self.assertEqual(reader.stdout.readline(), b"two\n")
                for number in range(2):
                    writer = self.start("append", self.path("wal"), "--commit", "each",
                                        "--segment", "1M")
                    self.feed(writer, f"{number} three", f"{number} four")
                    self.assertEqual(reader.stdout.readline(), b"%d three\n" % number)
                    self.assertEqual(reader.stdout.readline(), b"%d four\n" % number)
                    writer.stdin.close()
                    self.assertEqual(writer.wait(timeout=30), 0)
                reader.send_signal(signal.SIGINT)
                rest, _ = reader.communicate(timeout=30)
                self.assertEqual((reader.returncode, rest), (128 + signal.SIGINT, b""))
                self.append(["two"])

    def test_dump(self):
        data = bytes(range(256)).replace(b"\n", b"\0")
        done = subprocess.run([support.PROGRAM, "journal", "append", self.path("wal"), "--segment",
                               "1M"], input=b"first\n" + data + b"\nlast\n",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=support.TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        wal = self.path("wal")
        lsns = [record["lsn"] for record in self.records()]
        text = self.succeed("journal", "dump", wal).stdout
        self.assertEqual([line.split()[1] for line in text.splitlines() if line[:3] == "LSN"],
                         [str(lsn) for lsn in lsns])
        self.assertIn("  00000000  66 69 72 73 74                                    first\n", text)
        self.assertIn("  00000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  "
                      "@ABCDEFGHIJKLMNO\n", text)
        middle = self.succeed("journal", "dump", wal, "--json", "--from", str(lsns[0]), "--to",
                              str(lsns[1])).stdout.splitlines()
        self.assertEqual([json.loads(line)["hex"] for line in middle], [data.hex()])
        self.flip(self.segment(), data[100:110])
        done = support.run("journal", "dump", wal)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot be read", done.stdout)
        self.assertTrue(done.stdout.endswith(" last\n"))
        self.assertIn(f"damaged at LSN {lsns[0]}", done.stderr)
        self.succeed("journal", "dump", wal, "--to", str(lsns[0]))  # before the damage


class Check(Base):
    def test_clean_and_empty(self):
        self.append(["one"])
        for name, verdict in (("wal", "clean"), ("empty", "empty")):
            os.makedirs(self.path(name), exist_ok=True)
            done = self.succeed("journal", "verify", self.path(name))
            self.assertIn(verdict, done.stdout)
            self.assertEqual(self.json("verify", self.path(name))["verdict"], verdict)

    def test_torn(self):
        self.append(["one", "two"])
        end = self.tear()
        done = support.run("journal", "verify", self.path("wal"))
        self.assertEqual(done.returncode, 1, done.stdout)
        for words in ("verdict   torn", "rule      unproved", f"behind LSN {end}"):
            self.assertIn(words, done.stdout)
        report = self.json("verify", self.path("wal"), code=1)
        self.assertEqual((report["verdict"], report["rule"]), ("torn", "unproved"))
        self.assertGreater(report["torn_bytes"], 0)
        found = self.json("explain", self.path("wal"), str(end), code=1)
        self.assertEqual((found["at"]["state"], found["at"]["rule"]), ("torn", "unproved"))
        self.assertEqual(support.run("journal", "explain", self.path("wal"), str(end)).returncode,
                         1)
        self.append(["three"])  # opening cuts it, and goes on
        self.assertEqual(self.cat(), ["one", "two", "three"])
        self.assertEqual(len(glob.glob(self.path("wal", "cut-*"))), 1)

    def test_damaged(self):
        self.append([f"record number {number}" for number in range(20)], "--commit", "each")
        lsns = [record["lsn"] for record in self.records()]
        self.flip(self.segment(), b"record number 7")
        report = self.json("verify", self.path("wal"), code=2)
        self.assertEqual((report["verdict"], report["rule"]), ("damaged", "frame"))
        self.assertGreater(report["proof_durable_lsn"], report["damage_lsn"])
        done = support.run("journal", "verify", self.path("wal"))
        self.assertEqual(done.returncode, 2)
        for words in ("verdict   damaged", f"damage    at LSN {report['damage_lsn']}",
                      f"proof     the frame at LSN {report['proof_lsn']}"):
            self.assertIn(words, done.stdout)
        # The damage by its position, and the record that cannot be read by its LSN.
        for lsn, side in ((report["damage_lsn"], "at"), (lsns[7], "below")):
            found = self.json("explain", self.path("wal"), str(lsn), code=2)[side]
            self.assertEqual((found["state"], found["rule"], found["proof_lsn"], found["start"]),
                             ("damaged", "frame", report["proof_lsn"], report["damage_lsn"]))
        done = support.run("journal", "cat", self.path("wal"))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.splitlines(),
                         [f"record number {number}" for number in range(7)])
        self.assertIn("FSYS_E_CORRUPT", done.stderr)
        saved = self.json("salvage", self.path("wal"), self.path("saved"))
        self.assertEqual((saved["records"], saved["lost_ranges"]), (19, 1))
        self.assertNotIn("number 7\n", self.succeed("journal", "cat", self.path("saved")).stdout)
        stat = self.json("stat", self.path("wal"))
        self.assertEqual(stat["verdict"], "damaged")
        self.assertEqual(support.run("journal", "verify", self.path("wal")).returncode, 2)

    def test_unreadable(self):
        self.append(["one"])
        shutil.copytree(self.path("wal"), self.path("bad"))
        os.remove(self.path("bad", "watermark"))
        os.mkdir(self.path("bad", "watermark"))  # EISDIR to whoever reads
        for name, error in (("none", "ENOENT"), ("bad", "EISDIR")):
            done = support.run("journal", "verify", self.path(name))
            self.assertEqual(done.returncode, 3, done.stdout)
            self.assertIn(error, done.stdout)
            report = self.json("verify", self.path(name), code=3)
            self.assertEqual((report["verdict"], report["error"]["name"]), ("unreadable", error))
            done = support.run("journal", "explain", self.path(name), "4096")
            self.assertEqual(done.returncode, 3, done.stdout)
            self.assertIn(error, done.stdout)
            self.assertEqual(
                self.json("explain", self.path(name), "4096", code=3)["error"]["name"], error)

    def test_explain(self):
        self.append(["one", "two", "three"], "--commit", "each")
        wal = self.path("wal")
        records = self.records()
        for record in records:
            found = self.json("explain", wal, str(record["lsn"]))
            self.assertEqual(found["below"]["state"], "record")
            self.assertEqual((found["below"]["lsn"], found["below"]["length"]),
                             (record["lsn"], record["length"]))
            self.assertIn(found["below"]["rule"], ("frame", "watermark"))
            self.assertGreaterEqual(found["below"]["proof_durable_lsn"], record["lsn"])
            self.assertIn(found["at"]["state"], ("pad", "end"))
        with open(self.segment(), "rb") as file:  # the offset is that of the bytes
            file.seek(found["below"]["offset"] + 1 - 8)
            self.assertIn(b"three", file.read(8))
        text = self.succeed("journal", "explain", wal, str(records[0]["lsn"])).stdout
        for words in (f"what ends at LSN {records[0]['lsn']}", "state     record",
                      "rule      frame:", "proof     the frame at LSN"):
            self.assertIn(words, text)
        end = self.json("verify", wal)["end_lsn"]
        self.assertEqual(self.json("explain", wal, str(end + 8))["at"]["state"], "end")
        self.assertEqual(self.json("explain", wal, "0")["at"]["state"], "trimmed")


class Care(Base):
    def test_trim_and_pins(self):
        wal = self.path("wal")
        lines = [f"r{number} " + "." * 2000 for number in range(200)]
        self.append(lines, "--segment", "64K")
        lsns = [record["lsn"] for record in self.records()]
        done = self.json("pins", "add", wal, "backup", str(lsns[60]), "--max-bytes", "1G")
        self.assertEqual((done["name"], done["lsn"]), ("backup", lsns[60]))
        self.assertIn("mirror", self.succeed("journal", "pins", "add", wal, "mirror",
                                             str(lsns[120])).stdout)
        self.assertEqual(self.json("pins", "list", wal)["pins"],
                         [{"name": "backup", "lsn": lsns[60], "max_bytes": 1 << 30},
                          {"name": "mirror", "lsn": lsns[120], "max_bytes": 0}])
        text = self.succeed("journal", "pins", "list", wal).stdout
        self.assertRegex(text, rf"{lsns[60]} +1 GiB +backup\n +{lsns[120]} +no limit +mirror\n")
        stat = self.json("stat", wal)
        self.assertEqual(stat["oldest_pin"], {"name": "backup", "lsn": lsns[60]})
        kept = self.json("trim", wal, str(lsns[150]))
        self.assertGreater(kept["first_lsn"], 4096)
        self.assertLessEqual(kept["first_lsn"], lsns[60])  # no further than the pin
        self.assertEqual(self.json("explain", wal, "5000")["at"]["rule"], "trimmed")
        self.json("pins", "remove", wal, "backup")
        self.succeed("journal", "pins", "remove", wal, "mirror")
        self.assertEqual(self.json("pins", "list", wal)["pins"], [])
        self.assertIn("kept from LSN", self.succeed("journal", "trim", wal, str(lsns[150])).stdout)
        rest = self.cat()
        self.assertEqual(rest, lines[-len(rest):])
        self.assertGreaterEqual(len(rest), 49)
        self.assertLess(len(rest), 140)
        self.fail_with(1, "journal", "pins", "remove", wal, "backup", says=["ENOENT"])
        self.fail_with(1, "journal", "pins", "add", wal, "late", "4096", says=["ERANGE"])
        self.fail_with(1, "journal", "trim", wal, str(1 << 40), says=["EINVAL"])

    def test_lists_and_snapshot(self):
        wal = self.path("wal")
        lines = [f"r{number} " + "." * 2000 for number in range(100)]
        self.append(lines, "--segment", "64K")
        lsns = [record["lsn"] for record in self.records()]
        listed = self.json("ls", wal)["segments"]
        self.assertEqual([segment["name"] for segment in listed],
                         [os.path.basename(path) for path in sorted(glob.glob(wal + "/*.fsj"))])
        for here, after in zip(listed, listed[1:]):
            self.assertEqual(here["end_lsn"], after["first_lsn"])
            self.assertIs(here["sealed"], True)
        self.assertIs(listed[-1]["sealed"], False)
        text = self.succeed("journal", "ls", wal).stdout.splitlines()
        self.assertEqual(len(text), len(listed) + 1)
        self.assertIn(listed[0]["name"], text[1])
        stat = self.json("stat", wal)
        self.assertEqual((stat["first_lsn"], stat["segments"], stat["verdict"], stat["writer"]),
                         (4096, len(listed), "clean", False))
        self.assertGreater(stat["disk_bytes"], 0)
        text = self.succeed("journal", "stat", wal).stdout
        for words in ("writer    none", "verdict   clean", f"LSN 4096 to {stat['end_lsn']}"):
            self.assertIn(words, text)

        whole = self.json("snapshot", wal, self.path("whole"))
        self.assertEqual(whole["records"], 100)
        done = self.succeed("journal", "snapshot", wal, self.path("half"), "--to", str(lsns[49]))
        self.assertIn("50 records copied and checked", done.stdout)
        self.assertEqual([record["data"] for record in self.records(name="half")],
                         lines[:50])
        self.append(["goes on"], name="half")
        self.fail_with(1, "journal", "snapshot", wal, self.path("half"), says=["ENOTEMPTY"])
        self.fail_with(1, "journal", "snapshot", wal, self.path("no"), "--to", str(lsns[3] + 8),
                       says=["EINVAL"])

    def test_beside_a_writer(self):
        wal = self.path("wal")
        writer = self.writer("one", "two")
        self.assertEqual(self.json("stat", wal)["writer"], True)
        self.assertIn("has it open", self.succeed("journal", "stat", wal).stdout)
        report = self.json("verify", wal)
        self.assertEqual((report["verdict"], report["writer"], report["records"]),
                         ("clean", True, 2))
        last = self.records()[-1]["lsn"]
        found = self.json("explain", wal, str(last))
        self.assertEqual((found["below"]["rule"], found["writer"]), ("writer", True))
        self.assertEqual(len(self.json("ls", wal)["segments"]), 1)
        for args in (["append", wal], ["trim", wal, "4096"], ["pins", "add", wal, "x", "4096"],
                     ["pins", "remove", wal, "x"],
                     ["salvage", wal, self.path("copy")]):
            with self.subTest(args=args):
                self.fail_with(1, "journal", *args, says=["FSYS_E_LOCKED"])
        copied = self.json("snapshot", wal, self.path("copy"))
        self.assertEqual((copied["records"], copied["end_lsn"]), (2, report["end_lsn"]))
        self.assertEqual([record["lsn"] for record in self.records(name="copy")],
                         [record["lsn"] for record in self.records()])
        writer.stdin.close()
        self.assertEqual(writer.wait(timeout=30), 0)
        self.assertEqual(self.cat(), ["one", "two"])

    def test_refusals(self):
        for args in (["cat"], ["tail"], ["dump"], ["ls"], ["stat"], ["pins", "list"]):
            self.fail_with(1, "journal", *args, self.path("none"), says=["none", "ENOENT"])
            self.fail_with(1, "journal", *args, self.path("none"), "--json", says=["none"])
        for args in (["trim"], ["pins", "add"], ["pins", "remove"], ["snapshot"]):
            more = {"trim": ["5"], "snapshot": ["t"]}.get(args[0], ["x"])
            more += ["5"] if args[-1] == "add" else []
            self.fail_with(1, "journal", *args, self.path("none"), *more, says=["none", "ENOENT"],
                           cwd=self.dir)
        self.assertEqual(os.listdir(self.dir), [])  # nothing that only existed by mistake
        self.write("foreign/file", b"x")
        self.fail_with(1, "journal", "append", self.path("foreign"), says=["other files"])
        self.fail_with(1, "journal", "append", self.path("wal"), self.path("lines"),
                       says=["lines", "ENOENT"])
        self.append(["one"])
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([support.PROGRAM, "journal", "cat", self.path("wal")],
                                  stdout=full, stderr=subprocess.PIPE, timeout=support.TIMEOUT,
                                  text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output", done.stderr)


if __name__ == "__main__":
    support.main()
