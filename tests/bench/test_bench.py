# SPDX-License-Identifier: Apache-2.0 OR MIT
"""tools/bench: its command line, its statistics, and the result file it writes from the samples of
a run. No benchmark runs here."""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ["FSYS_SOURCE_ROOT"]
sys.path.insert(0, os.path.join(ROOT, "benchmarks", "suite"))
sys.dont_write_bytecode = True

import figures  # noqa: E402
import headline  # noqa: E402
import result  # noqa: E402


def bench(*words):
    return subprocess.run([sys.executable, os.path.join(ROOT, "tools", "bench"), *words],
                          capture_output=True, text=True, check=False, timeout=50)


def variant(name, *rates, latency=None):
    made = {"name": name, "threads": 1,
            "rounds": [{"ops_per_second": rate, "cpu_ns_per_op": 5e8 / rate} for rate in rates]}
    if latency:
        made["latency_ns"] = latency
    return made


def goal(what, limit, measured, reached, bound="at_most", **more):
    value = None if measured is None else figures.spread(measured)
    return {"what": what, "bound": bound, "limit": limit, "unit": "x pread", "how": "time per op",
            "comparison": "single", "measured": value, "reached": reached, **more}


def point(x, *ours, ratio=1.0):
    return {"x": x, "ours": figures.spread(ours),
            "ratio": figures.spread([ratio, ratio, ratio])}


def a_run():
    """Samples as the programs write them, with a failure and absences of each kind."""
    return {
        "head": {"title": "6.18.0, Test CPU", "kernel": "Linux 6.18.0 x86_64",
                 "load": "0.01 0.02 0.03 before, 1.00 0.50 0.20 after"},
        "parts": {
            "engine": {
                "notes": [], "tables": [],
                "goals": [goal("blocking fsys_read", 1.05, [1.00, 1.02, 1.04], True),
                          goal("submit + wait", 1.05, [1.2, 1.3, 1.4], False),
                          goal("the same, hinted (not a row of its own)", 1.05, [1.1], False),
                          goal("recovery | scan", 0.8, None, None, bound="at_least")],
                "comparisons": [{
                    "id": "single/cached-read/t1", "title": "reads", "error": "", "drift": 0.021,
                    "variants": [
                        variant("pread", 1e6, 2e6, 1e6, latency=[[1000, 98], [5000, 1], [9000, 1]]),
                        variant("fsys blocking", 9e5, 1.9e6, 9.5e5)]},
                    {"id": "nop/b32", "title": "NOPs", "error": "ring: no memory", "drift": 0,
                     "variants": []}]},
            "peers": {"notes": ["peer libuv: not run: built without libuv"], "goals": [
                goal("blocking fsys_read", 1.05, None, None)], "comparisons": []},
            "rust": {"missing": "there is no cargo"},
            "growth": {"curves": [{
                "id": "growth/files", "title": "reads", "x": "open files", "unit": "ns/op",
                "peer": "pread", "points": [point(1, 900, 1000, 1100), point(100, 1010),
                                            point(10000, 4000, ratio=1.3)]}]},
        },
        "commands": ["tools/bench --dir /data"], "plots": {},
    }


class Statistics(unittest.TestCase):
    def test_quantiles_are_interpolated(self):
        self.assertEqual(figures.quantile([4, 1, 3, 2], 0.5), 2.5)
        self.assertEqual(figures.quantile([7], 0.25), 7)
        self.assertTrue(math.isnan(figures.quantile([], 0.5)))

    def test_ratios_are_paired_by_round(self):
        # The machine halves its speed in round 2: the ratio must not notice.
        self.assertEqual(figures.ratios(variant("a", 100, 50), variant("b", 200, 100)),
                         [0.5, 0.5])

    def test_percentiles_are_upper_bounds_of_buckets(self):
        buckets = [[1000, 98], [5000, 1], [9000, 1]]
        self.assertEqual(figures.percentile(buckets, 0.5), 1000)
        self.assertEqual(figures.percentile(buckets, 0.98), 1000)
        self.assertEqual(figures.percentile(buckets, 0.99), 5000)
        self.assertEqual(figures.percentile(buckets, 0.999), 9000)

    def test_the_rust_benchmark_is_read(self):
        text = """read of 4096 bytes, cached, ns per op; median (quartiles), fastest tenth of 31 rounds
  fsys_read (C)            554.0 (550.1 .. 560.2), 549.0   over C   +0.0 (+0.0 .. +0.0), +0.0
  File::read_at            561.0 (555.0 .. 570.0), 550.5   over C   +6.1 (-1.2 .. +9.0), +1.5
submit_read + wait, 64 in flight: 812 ns per op
backend: IoUring
"""
        self.assertEqual(figures.overhead_table(text)["rows"], [
            ["read of 4096 bytes", "fsys_read (C)", "554.0", "550.1..560.2", "549.0", "+0.0",
             "+0.0..+0.0"],
            ["read of 4096 bytes", "File::read_at", "561.0", "555.0..570.0", "550.5", "+6.1",
             "-1.2..+9.0"],
            ["async", "submit_read + wait, 64 in flight", "812", "-", "-", "-", "-"]])
        self.assertEqual(figures.overhead_table("error: no library")["rows"], [])

    def test_the_python_benchmark_is_read(self):
        text = """
1,000 concurrent 4 KiB reads under asyncio   (goal: best peer >= 5 x fsys.aio)
  fsys.aio, gather of read                        2.00 us/op      500,000 op/s   least 1.90 us/op
  aiofiles (seek, read) / fsys.aio, gather of read = 20.50  [19.00 .. 22.00], of the least 19.80; goal >= 5.0: reached
"""
        samples = {"facts": {"peers": {"aiofiles": "24.1.0", "aiofile": None}}, "results": [
            {"title": "1,000 concurrent 4 KiB reads under asyncio",
             "times": {"fsys.aio, gather of read": [2e-6, 4e-6], "aiofiles": [4e-5, 8e-5]}}]}
        made = figures.python_document(samples, text)
        base, peer = made["comparisons"][0]["variants"]
        self.assertAlmostEqual(figures.ratios(peer, base)[1], 0.05)
        self.assertEqual([(goal["limit"], goal["bound"], goal["reached"], goal["within_noise"])
                          for goal in made["goals"]], [(5.0, "at_least", True, False)])
        self.assertIn("peer aiofile: not run: it is not installed", made["notes"])
        result.markdown({**a_run(), "parts": {"python": made}})

    def test_shapes(self):
        def of(function, sizes=(1, 10, 100, 1000)):
            return figures.shape([(x, function(x)) for x in sizes])

        self.assertTrue(of(lambda x: 100 + x % 7).startswith("flat from 1 to 1000"))
        self.assertIn("in proportion from", of(lambda x: 3 * x))
        self.assertNotIn("slower", of(lambda x: 3 * x))
        self.assertIn("slower than in proportion", of(lambda x: 3 * x ** 0.5))
        self.assertTrue(of(lambda x: 100 / x).startswith("falls"))
        self.assertIn("without a trend", of(lambda x: 100 if x != 10 else 140))
        self.assertAlmostEqual(figures.slope([(1, 2), (10, 20), (100, 200)]), 1.0)


class Result(unittest.TestCase):
    def setUp(self):
        self.text = result.markdown(a_run())

    def test_goals_are_counted_once_and_without_the_rows_for_comparison(self):
        self.assertIn("1 of 2 measured goals are reached; 1 were not run.", self.text)
        self.assertEqual(self.text.count("| blocking fsys_read |"), 1)
        self.assertIn("| blocking fsys_read | <= 1.05 x pread | 1.020 [1.010..1.030] | yes |",
                      self.text)
        self.assertIn("| 1.300 [1.250..1.350] | **no** |", self.text)
        self.assertIn("| recovery \\| scan | >= 0.8 x pread | - | not run |", self.text)

    def test_what_is_absent_is_named_with_its_reason(self):
        section = self.text.split("## Not run, or failed")[1].split("\n## ")[0]
        for words in ("there is no cargo", "built without libuv", "nop/b32: ring: no memory"):
            self.assertIn(words, section)

    def test_comparisons_show_ratio_spread_and_drift(self):
        line = next(one for one in self.text.splitlines() if one.startswith("| fsys blocking |"))
        self.assertIn("| 0.950 | 0.925..0.950 | 0.900..0.950 |", line)
        self.assertIn("3 rounds; pread drifted +2.1 %", self.text)
        self.assertIn("| pread | 1.000 | 1.000 | 5.000 | 9.000 | 100 |", self.text)

    def test_growth_has_its_sentence(self):
        self.assertIn("Cost per op: grows, but slower", figures.curve_sentence(
            a_run()["parts"]["growth"]["curves"][0]))
        self.assertIn("from 1 to 10^4", self.text)

    def test_every_table_is_rectangular(self):
        cells = None
        for line in self.text.splitlines():
            if not line.startswith("|"):
                cells = None
                continue
            count = len(re.findall(r"(?<!\\)\|", line))
            self.assertIn(cells, (None, count), line)
            cells = count

    def test_file_names_are_plain(self):
        self.assertEqual(result.file_name("6.1.0-18-amd64", "Intel(R) Xeon(R) CPU @ 2.20GHz"),
                         "6.1.0-18-amd64-intel-xeon-2.20ghz")


class OpenLoop(unittest.TestCase):
    def test_table_and_headline(self):
        def row(name, p99_ns):
            return {"name": name, "load": 0.8, "wanted": 8000, "closed": 10000,
                    "achieved": figures.spread([7900, 8000]), "p99_us": figures.spread([5, 7]),
                    "max_ns": 9000, "latency_ns": [[1000, 98], [p99_ns, 2]]}
        run = a_run()
        run["parts"]["engine"]["open_loops"] = [
            {"id": "open-loop/direct-read", "title": "reads", "error": "",
             "rows": [row("liburing", 5000), row("fsys queue", 2500)]},
            {"id": "open-loop/broken", "title": "reads", "error": "no disk", "rows": []}]
        run["parts"]["engine"]["goals"].append(
            {**goal("lone commit, 256 B", 1.1, [0.9, 1.0, 1.1], True),
             "unit": "x pwrite + fdatasync"})
        text = result.markdown(run)
        self.assertIn("| fsys queue | 80 % | 8,000 | 7,950 | 1.000 | 2.500 | 2.500 | 9.000 |", text)
        self.assertIn("open-loop/broken: no disk", text)
        readme = f"a\n{headline.BEGIN}\nold\n{headline.END}\nb\n"
        made = headline.replace(readme, run)
        self.assertIn("| a lone journal commit, 256 B | time of `pwrite` and `fdatasync` | 1 |", made)
        self.assertIn("| p99 of O_DIRECT reads at 80 % load | liburing: 5 us | 2.50 us |", made)
        self.assertNotIn("old", made)
        self.assertNotIn("RocksDB", made)  # not measured in this run
        self.assertEqual(headline.replace(made, run), made)
        with self.assertRaises(ValueError):
            headline.replace("no markers", run)

    def test_readme_has_the_markers(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual((text.count(headline.BEGIN), text.count(headline.END)), (1, 1))


class CommandLine(unittest.TestCase):
    def test_help(self):
        done = bench("--help")
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("--quick", "--dir", "--only", "--no-install", "journal", "peers"):
            self.assertIn(word, done.stdout)

    def test_unknown_part_is_refused(self):
        done = bench("--only", "everything")
        self.assertEqual(done.returncode, 2)
        self.assertIn("invalid choice: 'everything'", done.stderr)

    def test_result_from_samples(self):
        with tempfile.TemporaryDirectory() as scratch:
            source = os.path.join(scratch, "run.json")
            with open(source, "w", encoding="utf-8") as file:
                json.dump(a_run(), file)
            done = bench("--from", source, "--build", os.path.join(scratch, "build"),
                         "--out", os.path.join(scratch, "out"))
            self.assertEqual(done.returncode, 0, done.stderr)
            path = done.stdout.strip()
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self.assertIn("# Benchmarks: 6.18.0, Test CPU", text)
            plots = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
            if "no matplotlib" in text:
                self.assertEqual(plots, [])
                print("no matplotlib here: the plots are not looked at")
                return
            # Goals, and the one growth curve; the engine's comparisons have no picture.
            self.assertEqual(len(plots), 2, text)
            for name in plots:
                with open(os.path.join(scratch, "out", name), encoding="utf-8") as file:
                    self.assertIn("<svg", file.read(500))


if __name__ == "__main__":
    unittest.main()
