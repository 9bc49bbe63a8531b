# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys bench: every workload and mode runs, reports consistently and leaves no file."""

import json
import os
import signal
import subprocess
import time

import support


class Bench(support.Case):
    def bench(self, *args):
        done = self.succeed("bench", "--json", "--seconds", "0.1", "--size", "2M", *args,
                            cwd=self.dir)
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)

    def check(self, report, backend):
        self.assertEqual(report["backend"], backend)
        sides = [report["fsys"]] + ([report["plain"]] if report["plain"] else [])
        for side in sides:
            self.assertGreater(side["ops"], 0)
            latency = side["latency_ns"]
            order = [latency[key] for key in ("min", "p50", "p90", "p99", "p99_9", "max")]
            self.assertEqual(order, sorted(order))
            self.assertGreater(order[0], 0)
        if report["plain"]:
            ratio = report["ratio"]
            self.assertLessEqual(ratio["min"], ratio["median"])
            self.assertLessEqual(ratio["median"], ratio["max"])
            self.assertGreater(ratio["min"], 0)
        done = sum(sum(lane.values()) for lane in report["stats"]["ops"].values())
        self.assertGreaterEqual(done, report["fsys"]["ops"])
        self.assertEqual(report["stats"]["failed"], 0)

    def test_workloads_and_modes(self):
        for backend in support.backends():
            for workload in ("nop", "read", "randread", "write", "randwrite", "append", "sync"):
                for mode in ("auto", "blocking", "wait", "batch", "pipeline"):
                    if workload == "nop" and mode == "blocking":
                        continue
                    with self.subTest(backend=backend, workload=workload, mode=mode):
                        report = self.bench("--workload", workload, "--mode", mode, "--backend",
                                            backend)
                        self.check(report, backend)
                        self.assertEqual(os.listdir(self.dir), [])

    def test_threads_and_rate(self):
        report = self.bench("--threads", "3", "--workload", "randread", "--rate", "3000",
                            "--seconds", "1")
        self.assertLess(report["fsys"]["ops_per_second"], 3300)
        self.assertEqual(report["depth"], 1)

    def test_direct_takes_the_ring(self):
        probe = json.loads(self.succeed("probe", "--json", self.dir).stdout)
        if not probe["direct"]["available"]:
            self.fail_with(1, "bench", "--direct", "--size", "1M", cwd=self.dir,
                           says=["O_DIRECT"])
            self.skipTest("no O_DIRECT on " + probe["file_system"])
        for backend in support.backends():
            report = self.bench("--direct", "--backend", backend)
            self.check(report, backend)
            if backend == "io_uring":
                self.assertGreater(report["stats"]["ops"]["ring"]["read"], 0)

    def test_text(self):
        done = self.succeed("bench", "--seconds", "0.2", "--size", "4M", cwd=self.dir)
        for words in ("ops/s", "p99.9", "x the rate of pread", "latency of fsys", "█", "inline"):
            self.assertIn(words, done.stdout)

    def test_an_existing_file_is_safe(self):
        path = self.write("data", os.urandom(1 << 20))
        with open(path, "rb") as file:
            before = file.read()
        report = self.bench("--workload", "randread", path)
        self.assertEqual(report["size"], 1 << 20)
        for workload in ("write", "randwrite", "append", "sync"):
            self.fail_with(1, "bench", "--workload", workload, path, says=[path, "--overwrite"])
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        self.bench("--workload", "randwrite", "--overwrite", path)
        self.assertTrue(os.path.exists(path))
        self.assertEqual(os.path.getsize(path), 2 << 20)

    def test_a_named_file_that_was_not_there_is_gone(self):
        self.bench("--workload", "write", self.path("named"))
        self.assertEqual(os.listdir(self.dir), [])

    def test_interrupt(self):
        process = subprocess.Popen([support.PROGRAM, "bench", "--seconds", "60", "--size", "8M"],
                                   cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        self.addCleanup(process.kill)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(out, "")
        self.assertEqual(os.listdir(self.dir), [])


if __name__ == "__main__":
    support.main()
