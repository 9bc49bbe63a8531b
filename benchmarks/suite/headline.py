# SPDX-License-Identifier: Apache-2.0 OR MIT
"""README's table of figures, written between two markers from the samples of a run, so that it
says what the committed result says."""

import figures
import result

BEGIN = "<!-- Written by `tools/bench --readme`: begin -->"
END = "<!-- Written by `tools/bench --readme`: end -->"

# What, against what, and the goals (words, unit) whose medians are quoted, each in a text.
ROWS = (
    ("`fsys_read`, `fsys_write`, 4 KiB, cached", "time of `pread`, `pwrite`", "{}, {}",
     (("blocking fsys_read, 4 KiB cached, 1 thread", "x pread"),
      ("blocking fsys_write, 4 KiB cached, 1 thread", "x pwrite"))),
    ("submit and wait, the same read, hinted / unhinted", "time of `pread`", "{} / {}",
     (("the same, hinted (FSYS_WAIT_SOON; not a row of its own)", "x pread"),
      ("submit + wait, same, unhinted", "x pread"))),
    ("the same by 16 threads", "throughput of `pread`; of one owner thread for all", "{}; {}",
     (("the same through 16 threads", "x pread"),
      ("the same through 16 threads", "x owner only"))),
    ("32 O_DIRECT reads in flight", "throughput of a liburing loop", "{}; caller-driven {}",
     (("O_DIRECT 4 KiB random read, depth 32", "x liburing"),
      ("the same, caller-driven handle (not a row of its own)", "x liburing"))),
    ("the same", "throughput of fio, tuned", "{}; caller-driven {}",
     (("O_DIRECT 4 KiB random read, depth 32", "x fio tuned"),
      ("the same, caller-driven handle (not a row of its own)", "x fio tuned"))),
    ("a lone journal commit, 256 B", "time of `pwrite` and `fdatasync`", "{}",
     (("lone commit, 256 B", "x pwrite + fdatasync"),)),
    ("commits by 64 threads", "throughput of RocksDB, `sync=true`; of the Rust crate `fsys`",
     "{}; {}", (("commits/s, 64 threads, 256 B", "x RocksDB, sync=true"),
                ("commits/s, 64 threads, 256 B", "x Rust crate"))),
    ("asynchronous commits, 1 thread, 1024 in flight", "", "{} M/s",
     (("asynchronous commits, 1 thread, 1024 in flight, 256 B", "M/s"),)),
    ("sustained append, 4000 B", "bytes/s of sequential O_DIRECT writes", "{}",
     (("append, sustained, 4000 B", "x sequential write"),)),
    ("recovery scan", "bytes/s of reading the file", "{}",
     (("recovery scan", "x reading the file"),)),
    ("an idle handle", "", "{} threads, {} rings, {} KiB",
     (("an idle handle: threads", ""), ("an idle handle: rings", ""),
      ("an idle handle: memory", "KiB"))),
)

# Latency at 80 % load: the table, our row, the peer's.
LATENCIES = (
    ("open-loop/direct-read", "fsys queue", "liburing", "p99 of O_DIRECT reads at 80 % load"),
    ("open-loop/direct-read", "fsys caller driver", "liburing", "the same, caller-driven"),
    ("open-loop/commit-grouped", "libfsys, 64 threads", "RocksDB sync, 64 threads",
     "p99 of commits at 80 % load"),
)


def short(value):
    """Two decimals do for a headline."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def latency_rows(run):
    tables = {one["id"]: one for document in run["parts"].values()
              for one in document.get("open_loops", [])}
    rows = []
    for name, ours, peer, text in LATENCIES:
        found = {row["name"]: row for row in tables.get(name, {}).get("rows", [])
                 if row["load"] == 0.8}
        if ours in found and peer in found:
            values = [figures.percentile(found[one]["latency_ns"], 0.99) / 1000
                      for one in (ours, peer)]
            rows.append([text, f"{peer}: {short(values[1])} us", f"{short(values[0])} us"])
    return rows


def lines(run):
    goals = {(goal["what"], goal["unit"]): goal["measured"] for goal in result.goals_of(run)}
    head = run["head"]
    rows = []
    for what, against, text, wanted in ROWS:
        measured = [goals.get(one) for one in wanted]
        # A row that this run did not measure is left out rather than filled from another one.
        if all(measured):
            rows.append([what, against, text.format(*(short(one["median"]) for one in measured))])
    if not rows:
        raise ValueError("the run has none of the figures that README quotes")
    made = [f"Ratios of medians in one run ({head['title']}; {head.get('file system', '?').split(' ')[0]}; "
            f"{head.get('date', '?')}, commit {head.get('commit', '?')}):", ""]
    return made + result.table(["what", "against", "measured"], rows + latency_rows(run))


def replace(readme, run):
    """@return the text of README with the table of this run; ValueError without both markers."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 \
            or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"README needs the two lines {BEGIN} and {END}")
    before, rest = readme.split(BEGIN)
    return before + "\n".join([BEGIN, *lines(run), END]) + rest.split(END)[1]
