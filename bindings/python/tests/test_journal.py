# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The journal and its readers."""

from __future__ import annotations

import errno
import os
import pathlib
import threading
import time
from typing import List

import pytest

import fsys


def small(handle: fsys.Handle, path: pathlib.Path) -> fsys.Journal:
    return handle.journal(path, segment_bytes=65536, buffer_bytes=65536, spare_segments=0)


def data_of(reader: fsys.Reader) -> List[bytes]:
    return [record.data for record in reader if record.kind is fsys.RecordKind.RECORD]


def test_append_commit_read(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "j"
    with small(handle, path) as journal:
        assert journal.report.verdict == "fresh"
        first = journal.append(b"one")
        second = journal.commit(b"two")
        third = journal.append_pieces([b"th", bytearray(b"r"), memoryview(b"ee")])
        batch = journal.append_batch([b"four", b"", b"five"])
        assert first < second < third < batch[0] < batch[1] < batch[2]
        assert journal.sync(batch[-1]) == batch[-1]
        assert journal.sync() >= batch[-1]
        frontiers = journal.frontiers()
        assert frontiers.durable >= batch[-1] and frontiers.unknown_hi == 0
        reader = journal.reader()
        assert data_of(reader) == [b"one", b"two", b"three", b"four", b"", b"five"]
        assert reader.next() is None and reader.report is None
        reader.seek(first)
        record = reader.next()
        assert record is not None and record.data == b"two" and record.lsn == second
        assert journal.stats().syncs > 0 and journal.cause() == ""
    assert journal.closed and reader.closed
    with pytest.raises(fsys.ClosedError):
        journal.append(b"late")
    with handle.journal(path, existing=True) as journal:
        assert journal.report.verdict == "clean" and journal.report.records == 6
        assert data_of(journal.reader(second))[0] == b"three"


def test_errors(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        handle.journal(tmp_path / "j", existing=True)
    with pytest.raises(ValueError, match="mode"):
        handle.journal(tmp_path / "j", mode="fast")
    with pytest.raises(FileNotFoundError):
        handle.reader(tmp_path / "missing")
    journal = small(handle, tmp_path / "j")
    with pytest.raises(fsys.LockedError):
        small(handle, tmp_path / "j")
    with pytest.raises(OSError) as caught:
        journal.sync(1 << 40)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        journal.unpin("nobody")


def test_segments_trim_pins_snapshot(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    journal = small(handle, tmp_path / "j")
    lsns = [journal.append(bytes([i]) * 8000) for i in range(40)]
    journal.sync()
    journal.rotate()
    segments = journal.segments()
    assert len(segments) > 3 and [s.sealed for s in segments] == [True] * (len(segments) - 1) + [False]
    journal.pin("backup", lsns[20])
    assert journal.pins() == [fsys.Pin("backup", lsns[20], 0)]
    journal.trim(lsns[-1])
    reader = journal.reader()
    kept = data_of(reader)
    assert bytes([21]) * 8000 in kept and bytes([0]) * 8000 not in kept
    journal.unpin("backup")
    journal.snapshot(tmp_path / "copy", lsns[-1])
    assert data_of(handle.reader(tmp_path / "copy"))[-1] == bytes([39]) * 8000
    journal.truncate(lsns[30])
    assert data_of(journal.reader())[-1] == bytes([30]) * 8000


def test_damage(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "j"
    with small(handle, path) as journal:
        for i in range(10):
            journal.commit(bytes([65 + i]) * 100)
        name = journal.segments()[0].name
    with open(path / name, "r+b") as raw:
        content = raw.read()
        raw.seek(content.index(b"CCCC"))
        raw.write(b"x")
    report = fsys.check_journal(path, deep=True)
    assert report.verdict == "damaged" and report.text
    with pytest.raises(fsys.CorruptError) as caught:
        handle.journal(path)
    assert caught.value.report is not None and caught.value.report.verdict == "damaged"
    copied, lost = fsys.salvage_journal(path, tmp_path / "saved")
    assert copied == 9 and lost == 1
    saved = data_of(handle.reader(tmp_path / "saved"))
    assert len(saved) == 9 and b"C" * 100 not in saved


def test_follow(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    journal = small(handle, tmp_path / "j")
    inside = journal.reader()
    with fsys.Handle() as other:
        outside = other.reader(tmp_path / "j")

        def write() -> None:
            for i in range(20):
                journal.commit(b"%d" % i)

        thread = threading.Thread(target=write)
        thread.start()
        for reader in (inside, outside):
            seen: List[bytes] = []
            while len(seen) < 20:
                record = reader.next(timeout=30)
                assert record is not None
                seen.append(record.data)
            assert seen == [b"%d" % i for i in range(20)]
        thread.join()
        assert inside.next(timeout=0.01) is None


def test_close_wakes_a_sleeping_reader(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    journal = small(handle, tmp_path / "j")
    reader = journal.reader()
    outcome: List[object] = []

    def sleep() -> None:
        try:
            outcome.append(reader.next(timeout=None))
        except fsys.ClosedError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=sleep)
    thread.start()
    time.sleep(0.05)
    journal.close()  # closes its readers first
    thread.join(30)
    assert outcome == [fsys.E_CLOSED]


def test_nonblocking_append_of_a_full_buffer(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    journal = handle.journal(tmp_path / "j", buffer_bytes=65536, append_timeout=30)
    with pytest.raises(BlockingIOError):
        for _ in range(100_000):
            journal.append(b"x" * 30_000, wait=False)
    journal.append(b"x" * 30_000)
    journal.commit(os.urandom(200_000))


def test_group_commit(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    journal = small(handle, tmp_path / "j")
    lsns: List[int] = []

    def work(number: int) -> None:
        for i in range(20):
            lsns.append(journal.commit(b"%d:%d" % (number, i), timeout=60))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(lsns)) == 160
    assert [r.lsn for r in journal.reader()] == sorted(lsns)


def test_seek_into_a_segment_begun_since(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    # The reader knew the first segment only, and began again at its start.
    journal = small(handle, tmp_path / "j")
    reader = journal.reader()
    assert reader.next() is None
    journal.commit(b"first")
    journal.rotate()
    lsn = journal.commit(b"second")
    journal.append(b"x" * 5000)
    journal.rotate()
    journal.commit(b"last")
    reader.seek(lsn)
    assert data_of(reader) == [b"x" * 5000, b"last"]
