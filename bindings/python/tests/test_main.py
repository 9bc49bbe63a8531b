# SPDX-License-Identifier: Apache-2.0 OR MIT
"""python -m fsys."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

import fsys
from fsys import _bench
from fsys.__main__ import main


def test_probe(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "file system" in out and fsys.probe(tmp_path).file_system in out
    assert main(["probe", str(tmp_path / "missing")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_journal(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "j"
    with fsys.Handle() as handle, handle.journal(path, segment_bytes=65536) as journal:
        lsns = [journal.commit(b"record %d\n" % i) for i in range(3)]
        name = journal.segments()[0].name
    assert main(["journal", "dump", str(path), "--after", str(lsns[0])]) == 0
    out = capsys.readouterr().out
    assert "record 1." in out and "record 0" not in out and str(lsns[2]) in out
    assert main(["journal", "follow", str(path), "--count", "3"]) == 0
    assert capsys.readouterr().out.count("record") == 3
    assert main(["journal", "verify", str(path)]) == 0
    assert "clean" in capsys.readouterr().out
    with open(path / name, "r+b") as raw:
        raw.seek(raw.read().index(b"record 1"))
        raw.write(b"X")
    assert main(["journal", "verify", str(path)]) == 1
    assert "damaged" in capsys.readouterr().out
    assert main(["journal", "dump", str(path)]) == 1
    captured = capsys.readouterr()
    assert "record 2" in captured.out and "damage" in captured.err


def test_raw_dump_and_follow_as_programs(tmp_path: pathlib.Path) -> None:
    with fsys.Handle() as handle, handle.journal(tmp_path / "j", segment_bytes=65536) as journal:
        journal.commit(b"a\n")
        follow = subprocess.Popen(
            [sys.executable, "-m", "fsys", "journal", "follow", "--count", "2", "--width", "9",
             str(tmp_path / "j")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert follow.stdout is not None
        follow.stdout.readline()
        assert "a." in follow.stdout.readline()
        journal.commit(b"second")
        assert "second" in follow.stdout.readline()
        assert follow.wait(30) == 0
        follow.stdout.close()
    done = subprocess.run(
        [sys.executable, "-m", "fsys", "journal", "dump", "--raw", str(tmp_path / "j")],
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"a\nsecond" and done.returncode == 0


def test_bench(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--seconds", "0.02", "--size", str(1 << 20), "--dir", str(tmp_path)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "read_many_into 256" in out and "asyncio" in out and "journal commit" in out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["plot.png", "plot.html"])
def test_plot(tmp_path: pathlib.Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    try:
        import matplotlib
    except ImportError:
        # The extra is not there: a sentence that says what to do, and nothing is measured.
        assert main(["bench", "--plot", str(path)]) == 2
        assert "fsys[plot]" in capsys.readouterr().err and not path.exists()
        return
    series = [_bench.Series("a < b", [1e-6 * i for i in range(1, 50)], [1e6, 2e6, 3e6], 4096)]
    _bench.plot(series, str(path), "title")
    start = path.read_bytes()[:15]
    assert start.startswith(b"\x89PNG" if name.endswith("png") else b"<!doctype html>")
