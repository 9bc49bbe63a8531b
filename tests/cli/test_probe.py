# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys probe: the facts are sane, and io_uring is used where the machine has it."""

import json
import os
import platform
import stat

import support

LANES = {"inline", "ring", "pool"}


class Probe(support.Case):
    def probe(self, *args):
        return json.loads(self.succeed("probe", "--json", self.dir, *args).stdout)

    def test_facts(self):
        facts = self.probe()
        self.assertEqual(facts["kernel"], "Linux " + platform.release())
        self.assertEqual(facts["processors"], os.cpu_count())
        self.assertEqual(facts["directory"], self.dir)
        self.assertTrue(facts["file_system"])
        self.assertEqual(facts["engine"]["idle_threads"], 0)
        self.assertIs(facts["engine"]["idle_ring"], False)
        self.assertGreater(facts["engine"]["max_ops"], 0)
        for kind in ("read_lane", "write_lane", "sync_lane"):
            self.assertIn(facts["buffered"][kind], LANES)
        for trial in facts["trials"]:
            self.assertIn(trial["lane"], LANES, trial)
            self.assertGreater(trial["best_ns"], 0)
        # What the file's facts promise of an unattended op is what was seen to happen.
        seen = {(trial["operation"], trial["direct"]): trial["lane"]
                for trial in facts["trials"] if trial["asked"] == "left alone"}
        self.assertEqual(seen["write", False], facts["buffered"]["write_lane"])
        self.assertEqual(seen["sync", False], facts["buffered"]["sync_lane"])
        self.assertEqual(seen["read, not cached", False], facts["buffered"]["read_lane"])
        if facts["direct"]["available"]:
            self.assertEqual(seen["read", True], facts["direct"]["read_lane"])
            self.assertEqual(seen["write", True], facts["direct"]["write_lane"])
            for kind in ("memory_alignment", "offset_alignment"):
                value = facts["direct"][kind]
                self.assertTrue(value > 0 and value & (value - 1) == 0, kind)
        self.assertGreater(facts["stats"]["bytes_read"], 0)
        self.assertGreater(facts["stats"]["bytes_written"], 0)
        self.assertEqual(facts["stats"]["failed"], 0)

    def test_ring_is_used_where_there_is_one(self):
        problem = support.io_uring_problem()
        facts = self.probe("--backend", "auto")
        if os.environ.get("FSYS_BACKEND") == "threads":
            self.assertEqual(facts["engine"]["backend"], "threads")
            self.assertEqual(facts["engine"]["reason"], "asked")
            return
        if problem is not None:
            self.assertEqual(facts["engine"]["backend"], "threads", problem)
            self.assertNotEqual(facts["engine"]["reason"], "none")
            self.assertTrue(facts["engine"]["reason_text"])
            self.skipTest(problem + "; fsys says: " + facts["engine"]["reason_text"])
        self.assertEqual(facts["engine"]["backend"], "io_uring", facts["engine"])
        self.assertEqual(facts["engine"]["reason"], "none")
        ring = facts["ring"]
        self.assertIs(ring["running"], True)
        self.assertGreater(ring["sq_entries"], 0)
        self.assertGreaterEqual(ring["cq_entries"], ring["sq_entries"])
        self.assertIn("NODROP", ring["feature_names"])
        ring_ops = facts["stats"]["ops"]["ring"]
        self.assertGreater(sum(ring_ops.values()), 0, "no op took the ring")
        self.assertGreater(facts["stats"]["enters"] + facts["stats"]["batch_enters"], 0)
        kernel = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
        if kernel >= (6, 1):
            self.assertIn("SINGLE_ISSUER", ring["flag_names"])
            self.assertIn("DEFER_TASKRUN", ring["flag_names"])

    def test_threads_backend(self):
        facts = self.probe("--backend", "threads")
        self.assertEqual(facts["engine"]["backend"], "threads")
        self.assertEqual(facts["engine"]["reason"], "asked")
        self.assertIs(facts["ring"]["running"], False)
        self.assertEqual(sum(facts["stats"]["ops"]["ring"].values()), 0)

    def test_text_names_what_matters(self):
        text = self.succeed("probe", self.dir).stdout
        for words in ("kernel", "backend", "file system", "O_DIRECT", "left alone", "waited for",
                      "Counters", "Storage of", "volatile cache", "device flush"):
            self.assertIn(words, text)
        self.assertNotIn("\x1b", text)

    def test_storage(self):
        report = self.probe("--storage")
        self.assertEqual(set(report), {"command", "ok", "storage"})
        storage = report["storage"]
        self.assertEqual(storage["path"], self.dir)
        device = os.stat(self.dir).st_dev
        self.assertEqual(storage["number"], f"{os.major(device)}:{os.minor(device)}")
        answers = {"yes", "no", "unknown"}
        for name in ("complete", "volatile_cache", "flush_reaches", "fua", "rotational",
                     "power_loss_protection", "direct", "atomic", "passthrough"):
            self.assertIn(storage[name], answers, name)
        for name in ("sync_text", "datasync_text", "flush_text", "power_text"):
            self.assertTrue(storage[name], name)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            self.assertEqual(storage["boot_id"], file.read().strip())
        self.assertEqual(len(storage["devices"]), min(storage["device_count"], 32))
        if os.major(device) != 0 and storage["complete"] == "yes":
            first = storage["devices"][0]
            self.assertEqual(first["number"], storage["number"])
            with open(f"/sys/dev/block/{first['number']}/size", encoding="ascii") as file:
                self.assertEqual(first["bytes"], int(file.read()) * 512)
        # The same is part of the whole report.
        self.assertEqual(self.probe()["storage"], storage)

    def test_storage_writes_nothing(self):
        text = self.succeed("probe", "--storage", "/proc/self").stdout
        self.assertIn("proc keeps its files in memory", text)
        self.assertNotIn("Counters", text)
        self.fail_with(1, "probe", "--storage", self.path("absent"), says=["ENOENT"])

    def test_leaves_nothing_behind(self):
        self.succeed("probe", self.dir)
        self.assertEqual(os.listdir(self.dir), [])

    def test_a_file_stands_for_its_directory(self):
        path = self.write("some/file", b"x")
        facts = json.loads(self.succeed("probe", "--json", path).stdout)
        self.assertEqual(facts["directory"], os.path.dirname(path))
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"x")

    def test_missing_path(self):
        self.fail_with(1, "probe", self.path("absent"), says=[self.path("absent"), "ENOENT"])

    def test_direct_is_required_when_asked_for(self):
        # /proc takes no files at all, so the scratch file is what fails there, by name.
        self.fail_with(1, "probe", "--direct", "/proc", says=["/proc"])
        facts = self.probe()
        done = support.run("probe", "--direct", self.dir)
        self.assertEqual(done.returncode, 0 if facts["direct"]["available"] else 1, done.stderr)

    def test_unwritable_directory(self):
        problem = support.nobody_can_run()
        if problem is not None:
            self.skipTest(problem)
        os.chmod(self.dir, stat.S_IRUSR | stat.S_IXUSR | stat.S_IROTH | stat.S_IXOTH)
        self.fail_with(1, "probe", "--json", self.dir, says=[self.dir, "EACCES"],
                       preexec_fn=support.become_nobody)


if __name__ == "__main__":
    support.main()
