# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Replacing in pieces and in batches, scans, tickets, sealed segments, journals that are not open, device
flushes; the test of the list of what is bound."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import pathlib
import re
import threading
import weakref
from typing import Any, Callable, List

import numpy
import pytest
import trio

import fsys
import fsys.aio
import fsys.trio

ROOT = pathlib.Path(__file__).resolve().parents[3]

#: Functions of the library that the package has no use for, each with its reason.
NOT_BOUND = {
    "fsys_journal_check_at": "the module's functions have no handle; one with a root opens a reader",
    "fsys_journal_explain_at": "likewise",
    "fsys_journal_list_pins_at": "likewise",
    "fsys_journal_list_segments_at": "likewise",
    "fsys_journal_salvage_at": "likewise",
    "fsys_journal_snapshot_at": "likewise",
    "fsys_journal_commit": "append and sync, so that Ctrl-C ends the wait",
    "fsys_journal_submit_commit": "append and submit_sync, which share one request in a turn",
    "fsys_poll": "of caller-driven handles",
    "fsys_submit_batch": "asyncio runs the blocking call in a thread, which a cancellation waits for",
    "fsys_submit_replace": "likewise",
    "fsys_submit_replace_commit": "likewise",
    "fsys_version": "fsys_version_string says the same",
}


def small(handle: fsys.Handle, path: pathlib.Path) -> fsys.Journal:
    return handle.journal(path, segment_bytes=65536, buffer_bytes=65536, spare_segments=0)


def data_of(reader: fsys.Reader) -> List[bytes]:
    return [record.data for record in reader if record.kind is fsys.RecordKind.RECORD]


def test_everything_of_the_library_is_bound() -> None:
    exported = set(re.findall(r"\bfsys_\w+", (ROOT / "lib" / "libfsys.map").read_text()))
    sources = "".join(p.read_text() for p in (ROOT / "bindings/python/src").glob("*.cpp"))
    missing = exported - set(re.findall(r"\bfsys_\w+", sources)) - set(NOT_BOUND)
    assert not missing, "bind them in bindings/python, or say why not in NOT_BOUND"


# ------------------------------------------------------------------ replace


def test_replace_in_pieces(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with handle.begin_replace(path, durability="data", lifetime="long") as pieces:
        pieces.write(b"one")
        pieces.write(memoryview(bytearray(b", two")))
        assert path.read_bytes() == b"old" and not pieces.closed and pieces.path == path
    assert path.read_bytes() == b"one, two" and pieces.closed
    with pytest.raises(fsys.ClosedError):
        pieces.write(b"late")
    with pytest.raises(fsys.ClosedError):
        pieces.commit()
    pieces.abort()  # nothing to do

    with pytest.raises(ZeroDivisionError):
        with handle.begin_replace(path) as pieces:
            pieces.write(b"given up")
            1 // 0
    dropped = handle.begin_replace(path)
    dropped.write(b"dropped")
    del dropped
    assert path.read_bytes() == b"one, two" and os.listdir(tmp_path) == ["f"]

    report = handle.begin_replace(tmp_path / "g").commit()
    assert report.visible and report.bytes == 0 and report.step == "none"


def test_replace_in_pieces_errors(tmp_path: pathlib.Path) -> None:
    with fsys.Handle() as handle:
        path = tmp_path / "f"
        with pytest.raises(FileNotFoundError) as missing:
            handle.begin_replace(path, existing=True)
        assert missing.value.filename == path
        pieces = handle.begin_replace(path, exclusive=True)
        path.write_bytes(b"another was quicker")
        with pytest.raises(FileExistsError) as taken:
            pieces.commit()
        assert getattr(taken.value, "report").step == "rename"
        assert pieces.closed and os.listdir(tmp_path) == ["f"]
        os.link(path, tmp_path / "g")
        with pytest.raises(OSError) as links:
            handle.replace(path, b"", one_link=True)
        assert links.value.errno == errno.EMLINK
        with pytest.raises(ValueError, match="lifetime"):
            handle.begin_replace(path, lifetime="brief")
        with pytest.raises(TypeError):
            handle.begin_replace(path).write("text")  # not bytes
        left = handle.begin_replace(path)
    assert left.closed  # with the handle
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]


def test_replace_many(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    paths = [tmp_path / str(i) for i in range(20)]
    assert handle.replace_many([]) == []
    results = handle.replace_many([(path, b"%d" % i) for i, path in enumerate(paths)])
    assert [r.path for r in results] == paths
    assert all(r.visible and r.error is None and r.step == "none" for r in results)
    assert [path.read_bytes() for path in paths] == [b"%d" % i for i in range(20)]
    handle.replace_many([(paths[0], None), (tmp_path / "missing", None), (paths[1], b"")])
    assert not paths[0].exists() and paths[1].read_bytes() == b""

    items: List[Any] = [(paths[2], b"new"), (tmp_path, b"a directory"), (paths[3], b"new")]
    with pytest.raises(IsADirectoryError) as caught:
        handle.replace_many(items)
    assert caught.value.filename == tmp_path
    results = getattr(caught.value, "results")
    assert [r.error is None for r in results] == [True, False, True]
    assert isinstance(results[1].error, IsADirectoryError) and not results[1].visible
    assert paths[2].read_bytes() == paths[3].read_bytes() == b"new"
    with pytest.raises(IsADirectoryError) as caught:
        handle.replace_many([(tmp_path, b""), (paths[4], b"not done")], stop=True)
    assert getattr(caught.value, "results")[1].error.errno == errno.ECANCELED
    assert paths[4].read_bytes() == b"4"
    with pytest.raises(Exception, match="(?i)cast|pair"):
        handle.replace_many([b"no pair"])  # type: ignore[list-item]


def test_scan(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "f").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("d")
    (tmp_path / "a\udcff").write_bytes(b"")
    entries = list(handle.scan(tmp_path))
    assert [(e.path, e.type) for e in entries] == [
        ("a\udcff", "file"), ("b", "symlink"), ("d", "directory")]
    tree = {e.path: e for e in handle.scan(os.fsencode(tmp_path), recursive=True)}
    assert list(tree) == [b"a\xff", b"b", b"d", b"d/e", b"d/f"]
    found = tree[b"d/f"]
    assert (found.size, found.depth, found.links, found.error) == (5, 1, 1, None)
    assert found.inode == os.stat(tmp_path / "d" / "f").st_ino
    assert found.modified_ns == os.stat(tmp_path / "d" / "f").st_mtime_ns
    with handle.scan(tmp_path) as scan:
        next(scan)
        assert not scan.closed
    assert scan.closed and list(scan) == []
    with pytest.raises(FileNotFoundError):
        handle.scan(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        handle.scan(tmp_path / "d" / "f")


def test_beneath_a_directory(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    (tmp_path / "outside").write_bytes(b"")
    top = tmp_path / "top"
    top.mkdir()
    os.symlink("../outside", top / "leads out")
    with handle.open(top) as dir:
        handle.replace("f", b"data", dir=dir)
        handle.append("f", b"more", dir=dir, parent=True)
        assert handle.read_file("f", dir=dir) == b"datamore"
        handle.copy("f", "g", dir=dir)
        handle.rename("g", "h", dir=dir)
        handle.link("h", "i", dir=dir)
        handle.unlink("h", dir=dir)
        handle.mkdir("d", dir=dir)
        handle.replace_many([("d/f", b"")], dir=dir)
        with handle.begin_replace("d/g", dir=dir) as pieces:
            pieces.write(b"x")
        handle.sync_path("d", dir=dir)
        assert [e.path for e in handle.scan("d", dir=dir)] == ["f", "g"]
        assert handle.sweep("d", dir=dir) == 0
        handle.replace_many([("d/f", None), ("d/g", None)], dir=dir)
        handle.rmdir("d", dir=dir)
        assert sorted(os.listdir(top)) == ["f", "i", "leads out"]
        for path in ("../outside", str(tmp_path / "outside"), "leads out"):
            with pytest.raises(OSError) as caught:
                handle.replace(path, b"escaped", dir=dir)
            assert caught.value.errno == errno.EXDEV
        calls: List[Callable[[], object]] = [
            lambda: handle.read_file("leads out", dir=dir, nofollow=True),
            lambda: handle.append("leads out", b"", dir=dir, nofollow=True),
            lambda: handle.sync_path("leads out", dir=dir, nofollow=True)]
        for call in calls:
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ELOOP
    with pytest.raises(fsys.ClosedError):
        handle.read_file("f", dir=dir)
    assert (tmp_path / "outside").read_bytes() == b""


# --------------------------------------------------------------------- files


def test_lifetime_and_preallocate(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    with handle.open(tmp_path / "f", "w+") as file:
        file.set_lifetime("short")
        with pytest.raises(ValueError, match="'extreme'"):
            file.set_lifetime("fleeting")
        file.preallocate(0, 8192, durability="data")
        assert file.info().size == 8192
        file.preallocate(8192, 8192, keep_size=True)
        assert file.info().size == 8192
    with pytest.raises(fsys.ClosedError):
        file.set_lifetime("short")
    with handle.open(tmp_path / "f") as file, pytest.raises(OSError) as caught:
        file.preallocate(0, 8192)
    assert caught.value.errno == errno.EBADF


def test_device_flush(tmp_path: pathlib.Path) -> None:
    # Whether the device takes it depends on the machine; that the file system was asked does not.
    path = tmp_path / "f"
    path.write_bytes(b"x")
    with fsys.Handle() as handle, handle.open(path, "r+") as file, open(path, "rb") as plain:
        assert file.probe().file_system == fsys.probe(path).file_system
        calls: List[Callable[[], fsys.FlushReport]] = [
            lambda: fsys.device_flush(path), lambda: fsys.device_flush(plain),
            file.device_flush, lambda: file.device_flush(["block"])]
        for call in calls:
            try:
                report = call()
                assert report.reason == "done" and report.flushed == report.devices > 0
            except OSError as error:
                report = getattr(error, "report")
                assert report.reason != "done" and report.text
            assert report.committed
    with pytest.raises(OSError) as proc:
        fsys.device_flush("/proc/self/stat")
    assert not getattr(proc.value, "report").flushed
    with pytest.raises(FileNotFoundError) as missing:
        fsys.device_flush(tmp_path / "missing")
    assert getattr(missing.value, "report").reason == "no_commit"
    with pytest.raises(ValueError):
        fsys.device_flush(path, ["smoke"])
    with pytest.raises(ValueError):
        fsys.device_flush(path, [])


def test_wait_any(tmp_path: pathlib.Path) -> None:
    reading, writing = os.pipe()
    (tmp_path / "f").write_bytes(b"data")
    with fsys.Handle() as handle, fsys.Handle() as other:
        pipe = handle.open(reading).submit_read(5, 0)
        with pytest.raises(TimeoutError):
            fsys.wait_any([pipe], 0.01)
        file = handle.open(tmp_path / "f")
        quick = file.submit_read(4, 0)
        assert fsys.wait_any([pipe, quick], 30) is quick and quick.wait(0) == b"data"
        assert fsys.wait_any([pipe, quick]) is quick  # again
        os.write(writing, b"later")
        assert fsys.wait_any(iter([pipe])) is pipe and pipe.wait() == b"later"
        with pytest.raises(ValueError):
            fsys.wait_any([])
        foreign = other.open(tmp_path / "f").submit_read(4, 0)
        with pytest.raises(ValueError):
            fsys.wait_any([file.submit_read(4, 0), foreign])
        with pytest.raises((TypeError, RuntimeError)):
            fsys.wait_any([1])  # type: ignore[list-item]
    os.close(reading)
    os.close(writing)


# ------------------------------------------------------------------- tickets


def test_tickets(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"from a file")
    with small(handle, tmp_path / "j") as journal:
        ticket: Any  # an exporter, which mypy knows of since Python 3.12
        with journal.reserve(3) as ticket:
            with memoryview(ticket) as memory:
                assert not memory.readonly and len(ticket) == len(memory) == 3
                memory[:] = b"abc"
        assert ticket.lsn > 0 and not ticket.open and ticket.publish() == ticket.lsn
        with pytest.raises(BufferError):
            memoryview(ticket)

        ticket = journal.reserve(16)
        numpy.frombuffer(ticket, dtype="<u8")[:] = [1, 2]
        second = journal.reserve(11)
        assert handle.open(tmp_path / "f").read_into(second, 0) == 11
        third = journal.append(b"behind both")
        with pytest.raises(TimeoutError):  # an open ticket holds it back
            journal.sync(third, timeout=0.05)
        assert journal.stats().open_tickets == 2
        assert ticket.publish() < second.publish() < third
        assert journal.sync(third) == third

        given_up = journal.reserve(5)
        given_up.abandon()
        given_up.abandon()
        with pytest.raises(fsys.Error) as stale:
            given_up.publish()
        assert stale.value.code == fsys.E_STALE
        with pytest.raises(ZeroDivisionError), journal.reserve(5):
            1 // 0
        dropped = journal.reserve(5)
        del dropped
        assert journal.reserve(0).publish() and journal.stats().open_tickets == 0
        assert data_of(journal.reader()) == [
            b"abc", bytes([1] + [0] * 7 + [2] + [0] * 7), b"from a file", b"behind both"]
        journal.sync()
        assert data_of(journal.reader())[4:] == [b""]

        with pytest.raises(OSError) as large:
            journal.reserve(1 << 20)
        assert large.value.errno == errno.EMSGSIZE
        full = [journal.reserve(10_000) for _ in range(5)]
        with pytest.raises(BlockingIOError):
            while True:
                full.append(journal.reserve(10_000, wait=False))
    assert all(not ticket.open for ticket in full)  # abandoned by close
    with pytest.raises(fsys.ClosedError):
        full[0].publish()
    with pytest.raises(fsys.ClosedError):
        journal.reserve(1)


def test_a_ticket_that_is_looked_at_stays(tmp_path: pathlib.Path) -> None:
    with fsys.Handle() as handle:
        journal = small(handle, tmp_path / "j")
        ticket: Any = journal.reserve(4)
        memory = memoryview(ticket)
        for call in (ticket.publish, ticket.abandon, journal.close, handle.close):
            with pytest.raises(BufferError):
                call()
        assert ticket.open and not journal.closed and not handle.closed
        memory[:] = b"safe"
        array = numpy.frombuffer(memory, dtype="u1")
        del ticket, journal  # the view keeps both
        assert bytes(array) == b"safe"
        del array
        memory.release()
    with fsys.Handle() as handle:
        journal = small(handle, tmp_path / "j")
        assert data_of(journal.reader()) == []
        ticket = journal.reserve(4)
        handle.close()
        assert not ticket.open
        with pytest.raises(fsys.ClosedError):
            ticket.publish()


# -------------------------------------------------------------------- sealed


def test_next_sealed(tmp_path: pathlib.Path) -> None:
    with fsys.Handle(max_ops=4) as handle:
        journal = small(handle, tmp_path / "j")
        for _ in range(10):  # a wait that timed out does not keep a slot each time
            with pytest.raises(TimeoutError):
                journal.next_sealed(timeout=0)
        journal.commit(b"one")
        journal.rotate()
        first = journal.next_sealed(timeout=30)
        assert first.sealed and (tmp_path / "j" / first.name).is_file()
        got: List[fsys.Segment] = []
        follower = threading.Thread(target=lambda: got.append(journal.next_sealed(first.number)))
        follower.start()
        journal.commit(b"two")
        journal.rotate()
        follower.join(60)
        assert got[0].number == first.number + 1 and got[0] == journal.segments()[1]
        assert journal.next_sealed() == first
        journal.trim(first.end_lsn)
        assert journal.next_sealed(0) == got[0]  # the first one is gone
        with pytest.raises(fsys.Error) as stale:
            journal.next_sealed(999)
        assert stale.value.code == fsys.E_STALE

        failed: List[BaseException] = []

        def wait() -> None:
            try:
                journal.next_sealed(got[0].number)
            except OSError as error:
                failed.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        with pytest.raises(TimeoutError):
            journal.next_sealed(got[0].number, timeout=0.05)
        journal.close()
        waiting.join(60)
        assert isinstance(failed[0], fsys.ClosedError)
        with pytest.raises(fsys.ClosedError):
            journal.next_sealed()


# -------------------------------------------------------- journals not open


def test_journals_that_are_not_open(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "j"
    with small(handle, path) as journal:
        lsns = [journal.commit(b"record %d" % i) for i in range(3)]
        journal.pin("shipper", lsns[0], 1 << 20)
        beside = fsys.check_journal(path)
        assert beside.writer and beside.rule == "writer" and beside.written_lsn >= lsns[2]
        assert fsys.explain_journal(path, lsns[1] - 1).writer
        fsys.snapshot_journal(path, tmp_path / "beside", lsns[1])
        segments = journal.segments()
    assert [s.first_lsn for s in fsys.list_segments(path)] == [s.first_lsn for s in segments]
    assert fsys.list_pins(path) == [fsys.Pin("shipper", lsns[0], 1 << 20)]

    found = fsys.explain_journal(str(path), lsns[1] - 1)
    assert (found.state, found.end, found.length) == ("record", lsns[1], 8)
    assert found.segment_name == segments[0].name and found.text and not found.writer
    assert fsys.explain_journal(path, 1 << 40).state == "end"

    fsys.snapshot_journal(path, tmp_path / "copy")
    for copy, count in ((tmp_path / "beside", 2), (tmp_path / "copy", 3)):
        assert fsys.check_journal(copy, deep=True).verdict == "clean"
        with handle.reader(copy) as reader:
            assert data_of(reader) == [b"record %d" % i for i in range(count)]
            reader.seek(lsns[0])
            second = reader.next()
            assert second is not None and second.lsn == lsns[1]

    with pytest.raises(OSError) as used:
        fsys.snapshot_journal(path, tmp_path / "copy")
    assert used.value.errno == errno.ENOTEMPTY
    with pytest.raises(OSError) as wrong:
        fsys.snapshot_journal(path, tmp_path / "other", lsns[1] - 1)
    assert wrong.value.errno == errno.EINVAL
    calls: List[Callable[[pathlib.Path], object]] = [
        fsys.list_segments, fsys.list_pins, lambda p: fsys.explain_journal(p, 1),
        lambda p: fsys.snapshot_journal(p, tmp_path / "other")]
    for call in calls:
        with pytest.raises(FileNotFoundError) as missing:
            call(tmp_path / "missing")
        assert missing.value.filename == tmp_path / "missing"


# ------------------------------------------------------------------- asyncio


async def whole_files(handle: Any, path: pathlib.Path) -> None:
    await handle.mkdir(path)
    async with await handle.begin_replace(path / "f") as pieces:
        await pieces.write(b"one")
        await pieces.write(b", two")
    assert (path / "f").read_bytes() == b"one, two" and pieces.closed and pieces.path == path / "f"
    with pytest.raises(ZeroDivisionError):
        async with await handle.begin_replace(path / "f"):
            1 // 0
    results = await handle.replace_many([(path / str(i), b"") for i in range(300)])
    assert all(result.visible for result in results)
    assert len([entry async for entry in await handle.scan(path)]) == 301
    async with await handle.scan(path) as scan:
        assert not scan.closed
    assert scan.closed
    await handle.link(path / "f", path / "g")
    await handle.mkdir(path / "d")
    await handle.rmdir(path / "d")
    assert await handle.sweep(path) == 0
    beneath = await handle.open(path)
    assert await handle.append("g", b"!", dir=beneath) == 8
    assert await handle.read_file("f", dir=beneath) == b"one, two!"
    file = await handle.open(path / "f", "r+")
    file.set_lifetime("long")
    file.advise(0, 0, "random")
    await file.preallocate(0, 8192)
    await file.zero_range(0, 4096)
    await file.truncate(4)
    assert await file.read(10, 0) == bytes(4)
    assert (await file.probe()).file_system
    try:
        assert (await file.device_flush()).committed
    except OSError as error:
        assert getattr(error, "report").committed


async def sealed(handle: Any, path: pathlib.Path) -> List[int]:
    """Ships until the journal is closed, which is when the third segment has come."""
    journal = await handle.journal(path, segment_bytes=65536, buffer_bytes=65536)
    ticket = await journal.reserve(4)
    with ticket, memoryview(ticket) as memory:  # released before the ticket is published
        memory[:] = b"zero"
    await journal.sync(ticket.lsn)
    await journal.rotate()
    numbers = []
    async for segment in journal.sealed():
        numbers.append(segment.number)
        if len(numbers) == 3:
            await journal.close()
        else:
            await journal.commit(b"more")
            await journal.rotate()
    with pytest.raises(fsys.ClosedError):
        await journal.next_sealed()
    return numbers


def test_asyncio(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            await whole_files(handle, tmp_path / "d")
            assert await sealed(handle, tmp_path / "j") == [1, 2, 3]

            journal = await handle.journal(tmp_path / "k")
            for _ in range(20):  # one op for all of them
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(journal.next_sealed(), 0.001)
            assert handle.stats().in_flight <= 1
            two = asyncio.gather(journal.next_sealed(), journal.next_sealed())
            await journal.commit(b"x")
            await journal.rotate()
            first, again = await two
            assert first == again and first.sealed
            with pytest.raises(fsys.Error) as stale:
                await journal.next_sealed(999)
            assert stale.value.code == fsys.E_STALE
            # Closing the handle does not wait for a segment that never comes.
            last = asyncio.ensure_future(journal.next_sealed(first.number))
            await asyncio.sleep(0)
        with pytest.raises(fsys.ClosedError):
            await last

    asyncio.run(main())


def test_a_watch_that_nobody_waits_for_keeps_nothing(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        handle = fsys.aio.Handle()
        journal = await handle.journal(tmp_path / "j")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(journal.next_sealed(), 0.01)
        gone = weakref.ref(handle)
        with pytest.warns(ResourceWarning):
            del journal, handle
            gc.collect()
        assert gone() is None
        async with fsys.aio.Handle() as handle:  # the journal has been closed
            journal = await handle.journal(tmp_path / "j")
            waiting = asyncio.ensure_future(journal.next_sealed(journal.segments()[-1].number - 1))
            await asyncio.sleep(0.01)
            await journal.close()
            with pytest.raises(fsys.ClosedError):
                await waiting

    asyncio.run(main())


def test_trio(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.trio.Handle() as handle:
            await whole_files(handle, tmp_path / "d")
            assert await sealed(handle, tmp_path / "j") == [1, 2, 3]
            journal = await handle.journal(tmp_path / "k")
            for _ in range(5):
                with trio.move_on_after(0.001):
                    await journal.next_sealed()
            assert handle.stats().in_flight <= 1

    trio.run(main)
