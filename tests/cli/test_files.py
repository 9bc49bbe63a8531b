# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys put and fsys sync: content, what is kept, every refusal, a producer that is stopped."""

import json
import os
import signal
import stat
import subprocess
import time

import support


def put(*args, data=b"", **options):
    return subprocess.run([support.PROGRAM, "put", *args], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=support.TIMEOUT, check=False, **options)


class Put(support.Case):
    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def put(self, *args, **options):
        done = put(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def names(self):
        return sorted(os.listdir(self.dir))

    def test_new_then_replaced(self):
        data = os.urandom(3_000_001)
        self.put(self.path("f"), data=data)
        self.assertEqual(self.read("f"), data)
        os.chmod(self.path("f"), 0o640)
        for durability in ("none", "data", "full"):
            done = self.put(self.path("f"), "--durability", durability, "--json",
                            data=durability.encode())
            document = json.loads(done.stdout)
            self.assertIs(document["ok"], True)
            self.assertEqual(document["durability"], durability)
            self.assertEqual(document["bytes"], len(durability))
            self.assertEqual(self.read("f"), durability.encode())
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o640)
        self.assertEqual(self.names(), ["f"])

    def test_empty_input_makes_an_empty_file(self):
        self.write("f", b"old")
        self.put(self.path("f"))
        self.assertEqual(self.read("f"), b"")

    def test_from_a_file(self):
        self.write("src", b"source")
        self.put(self.path("f"), "--from", self.path("src"))
        self.assertEqual(self.read("f"), b"source")
        done = put(self.path("f"), "--from", self.path("no"))
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No such file", done.stderr)
        done = put(self.path("f"), "--from", self.dir)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.read("f"), b"source")
        self.assertEqual(self.names(), ["f", "src"])

    def test_keep(self):
        path = self.write("f", b"old")
        os.chmod(path, 0o604)
        try:
            os.setxattr(path, "user.note", b"kept")
        except OSError as error:
            self.skipTest(f"extended attributes here: {error}")
        os.utime(path, ns=(1_000_000_000, 2_000_000_007))
        self.put(path, "--keep", "all", data=b"new")
        self.assertEqual(os.getxattr(path, "user.note"), b"kept")
        self.assertEqual(os.stat(path).st_mtime_ns, 2_000_000_007)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o604)
        self.put(path, "--keep", "mode,times", data=b"newer")
        self.assertEqual(os.listxattr(path), [])
        self.assertEqual(os.stat(path).st_mtime_ns, 2_000_000_007)
        self.put(path, "--keep", "nothing", "--mode", "600", data=b"newest")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_refusals(self):
        self.write("f", b"old")
        os.mkdir(self.path("d"))
        os.symlink("f", self.path("link"))
        os.mkfifo(self.path("p"))
        for args, says in [((self.path("f"), "--new"), b"EEXIST"),
                           ((self.path("no"), "--existing"), b"ENOENT"),
                           ((self.path("link"), "--nofollow"), b"ELOOP"),
                           ((self.path("d"),), b"EISDIR"),
                           ((self.path("p"),), b"EINVAL"),
                           ((self.path("no/f"),), b"ENOENT")]:
            done = put(*args, "--json", data=b"new")
            self.assertEqual(done.returncode, 1, args)
            self.assertIn(args[0].encode(), done.stderr)
            error = json.loads(done.stdout)["error"]
            self.assertEqual(error["name"].encode(), says)
            self.assertEqual(error["path"], args[0])
        for args in (["--durability", "most"], ["--keep", "colour"], ["--mode", "888"],
                     ["--new", "--existing"], ["--keep", "nothing,mode"], []):
            done = put(*([self.path("f")] if args else []), *args)
            self.assertEqual(done.returncode, 2, args)
        self.assertEqual(self.read("f"), b"old")
        self.assertEqual(self.names(), ["d", "f", "link", "p"])
        self.put(self.path("link"), data=b"through")
        self.assertTrue(os.path.islink(self.path("link")))
        self.assertEqual(self.read("f"), b"through")

    def test_hard_links_are_told_of(self):
        self.write("f", b"old")
        os.link(self.path("f"), self.path("g"))
        done = self.put(self.path("f"), "--json", data=b"new")
        self.assertIn(b"hard link", done.stderr)
        self.assertEqual(json.loads(done.stdout)["other_links"], 1)
        self.assertEqual(self.read("g"), b"old")

    def test_stopped_by_a_signal(self):
        self.write("f", b"old")
        process = subprocess.Popen([support.PROGRAM, "put", self.path("f")], stdin=subprocess.PIPE,
                                   stderr=subprocess.PIPE, preexec_fn=support.default_signals)
        process.stdin.write(b"half")
        process.stdin.flush()
        deadline = time.monotonic() + support.TIMEOUT
        while len(self.names()) != 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        # The input stays open: the signal alone must end it.
        self.assertEqual(process.wait(timeout=support.TIMEOUT), 128 + signal.SIGTERM)
        self.assertIn(b"as it was", process.stderr.read())
        process.stdin.close()
        process.stderr.close()
        self.assertEqual(self.names(), ["f"])
        self.assertEqual(self.read("f"), b"old")

    def test_no_room_for_it(self):
        self.write("f", b"old")
        # A limit on the file size; the shell so that only the program has it.
        done = subprocess.run(["bash", "-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "bash",
                               support.PROGRAM, "put", self.path("f")], input=bytes(100_000),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"writing", done.stderr)
        self.assertEqual(self.read("f"), b"old")
        self.assertEqual(self.names(), ["f"])


class Sync(support.Case):
    def test_files_and_directories(self):
        one = self.write("d/one", b"1")
        two = self.write("two", b"2")
        for args in ([], ["--data"], ["--no-parent"], ["--file-system"]):
            self.assertEqual(self.succeed("sync", *args, one, two, self.path("d")).stdout, "")
        document = json.loads(self.succeed("sync", "--json", one, two).stdout)
        self.assertIs(document["ok"], True)
        self.assertEqual(document["paths"], [one, two])
        self.assertEqual(document["durability"], "full")
        self.succeed("sync", ".", cwd=self.dir)

    def test_creates_nothing_and_says_why(self):
        self.fail_with(1, "sync", self.path("no"), "--json", says=[self.path("no"), "No such file"])
        self.assertEqual(os.listdir(self.dir), [])
        self.fail_with(2, "sync", says=["PATH"])
        self.fail_with(2, "sync", "--data", "--device", self.dir, says=["--data"])


if __name__ == "__main__":
    support.main()
