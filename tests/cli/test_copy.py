# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys copy: what arrives is what was there, for every shape of file and tree."""

import json
import os
import socket
import subprocess

import support


class Trees(support.Case):
    def test_tree_on_both_backends(self):
        source = self.path("source")
        support.make_tree(source)
        for backend in support.backends():
            for extra in ([], ["--durable"], ["--threads", "1", "--depth", "1"],
                          ["--threads", "7", "--depth", "3"], ["--block", "1000"]):
                with self.subTest(backend=backend, extra=extra):
                    target = self.path("target-" + backend + "".join(extra))
                    done = self.succeed("copy", source, target, "--verify", "--json", "--backend",
                                        backend, *(["--block", "64K"] + extra))
                    report = json.loads(done.stdout)
                    self.assert_same_tree(source, target)
                    self.assertEqual(report["backend"], backend)
                    self.assertIs(report["verified"], True)
                    self.assertEqual(report["symlinks"], 5)
                    self.assertEqual(report["skipped"], 0)
                    self.assertEqual(report["durable"], "--durable" in extra)
                    found = support.listing(source, False).values()
                    self.assertEqual(report["files"],
                                     sum(entry[0] == "file" for entry in found))
                    self.assertEqual(report["bytes"],
                                     sum(entry[1] for entry in found if entry[0] == "file"))
                    self.assertGreaterEqual(sum(report["lanes"].values()), report["files"])
                    if backend == "threads":
                        self.assertEqual(report["lanes"]["ring"], 0)

    def test_direct(self):
        probe = json.loads(self.succeed("probe", "--json", self.dir).stdout)
        source = self.path("source")
        support.make_tree(source)
        if not probe["direct"]["available"]:
            self.fail_with(1, "copy", "--direct", source, self.path("target"),
                           says=["O_DIRECT"])
            self.skipTest("no O_DIRECT on " + probe["file_system"] + "; refused as it should be")
        for backend in support.backends():
            with self.subTest(backend=backend):
                target = self.path("direct-" + backend)
                done = self.succeed("copy", source, target, "--direct", "--verify", "--json",
                                    "--block", "64K", "--backend", backend)
                self.assert_same_tree(source, target)
                if backend == "io_uring":
                    self.assertGreater(json.loads(done.stdout)["lanes"]["ring"], 0,
                                       "O_DIRECT blocks did not take the ring")

    def test_one_big_file_is_shared_by_workers(self):
        source = self.write("big", os.urandom(1 << 20) * 100 + b"tail")
        done = self.succeed("copy", source, self.path("copy"), "--threads", "4", "--verify",
                            "--json")
        self.assertEqual(subprocess.run(["cmp", source, self.path("copy")], check=False,
                                        timeout=60).returncode, 0)
        self.assertEqual(json.loads(done.stdout)["bytes"], 100 * (1 << 20) + 4)

    def test_paths_longer_than_the_kernel_takes(self):
        source = self.path("source")
        os.mkdir(source)
        here = os.open(source, os.O_RDONLY)
        for _ in range(60):
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        with os.fdopen(os.open("file", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here), "wb") as file:
            file.write(b"deep down")
        os.symlink("file", "link", dir_fd=here)
        os.close(here)
        self.addCleanup(subprocess.run, ["rm", "-rf", self.dir], check=False)
        self.succeed("copy", "--verify", "--durable", source, self.path("target"))
        here = os.open(self.path("target"), os.O_RDONLY)
        for _ in range(60):
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        self.assertEqual(sorted(os.listdir(here)), ["file", "link"])
        self.assertEqual(os.readlink("link", dir_fd=here), "file")
        with os.fdopen(os.open("file", os.O_RDONLY, dir_fd=here), "rb") as file:
            self.assertEqual(file.read(), b"deep down")
        os.close(here)

    def test_special_files_are_skipped_with_a_warning(self):
        source = self.path("source")
        self.write("source/file", b"x")
        os.mkfifo(os.path.join(source, "fifo"))
        with socket.socket(socket.AF_UNIX) as sock:
            os.chdir(source)  # socket paths are short
            sock.bind("socket")
            os.chdir("/")
        done = self.succeed("copy", source, self.path("target"), "--json")
        self.assertEqual(json.loads(done.stdout)["skipped"], 2)
        self.assertIn("fifo", done.stderr)
        self.assertIn("socket", done.stderr)
        self.assertEqual(os.listdir(self.path("target")), ["file"])

    def test_a_file_without_a_size_is_read_to_its_end(self):
        # Files of /proc have size 0 and content.
        self.succeed("copy", "/proc/self/limits", self.path("limits"))
        with open(self.path("limits"), "rb") as file:
            self.assertIn(b"Max open files", file.read())


class Targets(support.Case):
    def setUp(self):
        super().setUp()
        self.source = self.path("source")
        self.write("source/a/file", b"new")
        self.file = self.write("file", b"content")

    def read(self, *names):
        with open(self.path(*names), "rb") as file:
            return file.read()

    def test_into_a_directory(self):
        os.mkdir(self.path("into"))
        self.succeed("copy", self.file, self.path("into"))
        self.assertEqual(self.read("into", "file"), b"content")
        self.succeed("copy", self.source, self.path("into") + "/")
        self.assertEqual(self.read("into", "source", "a", "file"), b"new")
        self.succeed("copy", self.source + "/.", self.path("into2"))
        self.assertEqual(self.read("into2", "a", "file"), b"new")

    def test_relative_names(self):
        self.succeed("copy", "file", "other", cwd=self.dir)
        self.assertEqual(self.read("other"), b"content")
        self.succeed("copy", "source/a", ".", cwd=self.dir)
        self.assertEqual(self.read("a", "file"), b"new")

    def test_existing_files_need_force(self):
        old = self.write("old", b"precious")
        for extra in ([], ["--direct"], ["--durable"]):
            self.fail_with(1, "copy", self.file, old, *extra, says=[old, "--force"])
            self.assertEqual(self.read("old"), b"precious")
        self.succeed("copy", "--force", "--verify", self.file, old)
        self.assertEqual(self.read("old"), b"content")

    def test_conflicts_are_found_before_anything_is_written(self):
        self.write("target/source/a/file", b"old")
        self.write("source/0-comes-first", b"x")
        self.fail_with(1, "copy", self.source, self.path("target"), says=["a/file", "--force"])
        self.assertEqual(os.listdir(self.path("target", "source")), ["a"])
        self.succeed("copy", "--force", self.source, self.path("target"))
        self.assertEqual(self.read("target", "source", "a", "file"), b"new")
        self.assertEqual(sorted(os.listdir(self.path("target", "source"))), ["0-comes-first", "a"])

    def test_files_and_directories_do_not_replace_each_other(self):
        os.makedirs(self.path("into", "file"))
        self.fail_with(1, "copy", "--force", self.file, self.path("into"), says=["directory"])
        self.fail_with(1, "copy", "--force", self.source, self.file, says=[self.file])
        self.write("merge/source/a", b"a file where a directory must go")
        self.fail_with(1, "copy", "--force", self.source, self.path("merge"), says=["source/a"])

    def test_a_replaced_link_does_not_reach_its_target(self):
        os.symlink(self.file, self.path("link"))
        other = self.write("other", b"other")
        self.fail_with(1, "copy", other, self.path("link"), says=["--force"])
        self.succeed("copy", "--force", other, self.path("link"))
        self.assertEqual(self.read("file"), b"content")
        self.assertEqual(self.read("link"), b"other")

    def test_onto_itself_or_into_itself(self):
        self.fail_with(1, "copy", "--force", self.file, self.file, says=["same file"])
        self.fail_with(1, "copy", "--force", self.file, self.dir, says=["same file"])
        os.link(self.file, self.path("hard"))
        self.fail_with(1, "copy", "--force", self.file, self.path("hard"), says=["same file"])
        self.fail_with(1, "copy", self.source, self.path("source", "a"), says=["into itself"])
        self.fail_with(1, "copy", self.source, self.path("source", "new"), says=["into itself"])
        os.symlink("source/a", self.path("way-in"))
        self.fail_with(1, "copy", self.source, self.path("way-in", "new"), says=["into itself"])
        self.assertEqual(os.listdir(self.path("source", "a")), ["file"])

    def test_source_named_by_a_link(self):
        os.symlink("source", self.path("link"))
        self.succeed("copy", self.path("link"), self.path("target"))
        self.assertEqual(self.read("target", "a", "file"), b"new")


class Verification(support.Case):
    def setUp(self):
        super().setUp()
        self.source = self.path("source")
        support.make_tree(self.source)
        self.target = self.path("target")
        self.succeed("copy", self.source, self.target)

    def test_an_identical_copy(self):
        report = json.loads(self.succeed("copy", "--verify-only", "--json", self.source,
                                         self.target).stdout)
        self.assertIs(report["verified"], True)
        self.assertIs(report["copied"], False)

    def test_a_planted_difference_is_found_where_it_is(self):
        cases = [("sizes/1", 0), ("sizes/4097", 4096), ("sizes/65536", 65535),
                 ("sizes/327697", 200000), ("sizes/3145733", 3145732), ("names/new\nline", 99)]
        for backend in support.backends():
            for name, offset in cases:
                with self.subTest(backend=backend, name=name):
                    path = os.path.join(self.target, name)
                    with open(path, "r+b") as file:
                        file.seek(offset)
                        byte = file.read(1)[0]
                        file.seek(offset)
                        file.write(bytes([byte ^ 0x10]))
                    done = self.fail_with(1, "copy", "--verify-only", "--json", "--backend",
                                          backend, self.source, self.target)
                    error = json.loads(done.stdout)["error"]
                    self.assertEqual(error["path"], path)
                    self.assertEqual(error["offset"], offset)
                    self.assertEqual(error["name"], "FSYS_E_MISMATCH")
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    with open(path, "r+b") as file:
                        file.seek(offset)
                        file.write(bytes([byte]))
        self.succeed("copy", "--verify-only", self.source, self.target)

    def test_lengths_links_and_absence(self):
        plants = [
            ("sizes/65536", lambda path: os.truncate(path, 65530)),
            ("sizes/0", lambda path: os.truncate(path, 1)),
            ("sizes/131072", lambda path: os.truncate(path, 131073)),
            ("many/3/3", os.unlink),
            ("empty/in/side", os.rmdir),
            ("links/file", lambda path: (os.unlink(path), os.symlink("elsewhere", path))),
        ]
        for name, plant in plants:
            with self.subTest(name=name):
                target = self.path("planted-" + name.replace("/", "-"))
                self.succeed("copy", self.source, target)
                os.chmod(os.path.join(target, "empty"), 0o755)
                plant(os.path.join(target, name))
                self.fail_with(1, "copy", "--verify-only", self.source, target,
                               says=["verification", name])

    def test_verify_after_copy_reads_again(self):
        # This file has other content at every reading.
        for backend in support.backends():
            self.fail_with(1, "copy", "--verify", "--backend", backend,
                           "/proc/sys/kernel/random/uuid", self.path("uuid-" + backend),
                           says=["differs", "uuid-" + backend, "at offset"])


if __name__ == "__main__":
    support.main()
