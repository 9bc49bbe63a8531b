# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Whole files, names, ranges, and what lies underneath."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import pathlib
import threading
from typing import Any, Awaitable, Callable, List

import pytest

import fsys
import fsys.aio


def test_replace(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    report = handle.replace(path, b"new", permissions=0o640)
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    assert (report.step, report.visible, report.durability, report.bytes) == (
        "none", True, "full", 3)
    with open(path, "rb") as old:
        os.link(path, tmp_path / "other")
        report = handle.replace(path, bytearray(b"newer"), durability="data", keep=["mode"])
        assert old.read() == b"new" and report.other_links == 1
    assert path.read_bytes() == b"newer" and path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileExistsError) as caught:
        handle.replace(path, b"", exclusive=True)
    assert getattr(caught.value, "report").step != "none" and caught.value.filename == path
    with pytest.raises(FileNotFoundError):
        handle.replace(tmp_path / "g", b"", existing=True)
    with pytest.raises(IsADirectoryError):
        handle.replace(tmp_path, b"")
    with pytest.raises(ValueError):
        handle.replace(path, b"", durability="some")
    with pytest.raises(ValueError):
        handle.replace(path, b"", keep=["everything"])
    assert path.read_bytes() == b"newer"
    assert fsys.replace(path, b"default handle").visible
    assert sorted(os.listdir(tmp_path)) == ["f", "other"]


def test_names(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "a" / "b"
    handle.mkdir(directory, parents=True)
    with pytest.raises(FileExistsError):
        handle.mkdir(directory)
    assert handle.append(directory / "log", b"one") == 0
    assert handle.append(directory / "log", b"two") == 3
    assert handle.read_file(directory / "log") == b"onetwo"
    with pytest.raises(OSError) as caught:
        handle.read_file(directory / "log", max_bytes=5)
    assert caught.value.errno == errno.EFBIG
    assert b"MemTotal" in handle.read_file("/proc/meminfo")
    handle.copy(directory / "log", directory / "copy")
    handle.link(directory / "copy", directory / "second")
    with pytest.raises(FileExistsError):
        handle.rename(directory / "log", directory / "copy", exclusive=True)
    handle.rename(directory / "log", directory / "moved")
    handle.sync_path(directory / "moved", parent=True)
    assert sorted(os.listdir(directory)) == ["copy", "moved", "second"]
    handle.unlink(directory / "missing", missing_ok=True)
    with pytest.raises(FileNotFoundError):
        handle.unlink(directory / "missing")
    for name in os.listdir(directory):
        handle.unlink(directory / name)
    handle.rmdir(directory)
    assert handle.sweep(tmp_path) == 0


def test_ranges(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    file = handle.open(tmp_path / "f", "w+")
    file.write(b"x" * 65536, 0)
    file.zero_range(0, 4096)
    assert file.read(4097, 0) == bytes(4096) + b"x"
    try:
        file.punch_hole(8192, 4096)
        assert file.read(4096, 8192) == bytes(4096)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP
    file.truncate(100, durability="data")
    assert file.info().size == 100
    file.advise(0, 0, "sequential")
    with pytest.raises(ValueError):
        file.advise(0, 0, "soon")


def test_probe(tmp_path: pathlib.Path) -> None:
    report = fsys.probe(tmp_path)
    assert report.file_system and report.sync_text
    with fsys.Handle() as handle, handle.open(tmp_path / "f", "w") as file:
        assert file.info().file_system == report.file_system
    assert fsys.probe(tmp_path / "f") == fsys.probe(str(tmp_path / "f"))
    with open(tmp_path / "f") as plain:
        assert fsys.probe(plain).file_system == report.file_system
    proc = fsys.probe("/proc/self")
    assert proc.devices == [] and proc.volatile_cache is None
    with pytest.raises(FileNotFoundError):
        fsys.probe(tmp_path / "missing")


def test_asyncio(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            await handle.mkdir(tmp_path / "d")
            reports = await asyncio.gather(
                *(handle.replace(tmp_path / "d" / str(i), b"%d" % i) for i in range(10))
            )
            assert all(report.visible for report in reports)
            await handle.copy(tmp_path / "d" / "3", tmp_path / "d" / "copy")
            assert await handle.read_file(tmp_path / "d" / "copy") == b"3"
            await handle.append(tmp_path / "d" / "copy", b"!")
            await handle.rename(tmp_path / "d" / "copy", tmp_path / "d" / "c")
            await handle.sync_path(tmp_path / "d")
            await handle.unlink(tmp_path / "d" / "c")

    asyncio.run(main())


class Held:
    """An object whose call of one name stops before or behind the real one, until it is let go."""

    def __init__(self, real: Any, name: str, before: bool) -> None:
        self._real, self._name, self._before = real, name, before
        self.reached, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name != self._name:
            return real

        def held(*arguments: Any, **options: Any) -> Any:
            def stop() -> None:
                self.reached.set()
                assert self.go.wait(20)

            if self._before:
                stop()
            try:
                return real(*arguments, **options)
            finally:
                if not self._before:
                    stop()

        return held


async def cancelled_while_held(held: Held, call: Awaitable[Any]) -> None:
    """Cancels a task whose call is held, sees that it waits, and lets it go."""
    task = asyncio.ensure_future(call)
    while not held.reached.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not task.done()
    held.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("before", [True, False])
def test_cancelled_replacements_come_to_their_end(tmp_path: pathlib.Path, before: bool) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            plain = handle._handle

            def hold(name: str) -> Held:
                held = Held(plain, name, before)
                handle._handle = held  # type: ignore[assignment]
                return held

            path = tmp_path / "f"
            path.write_bytes(b"old")
            await cancelled_while_held(hold("replace"), handle.replace(path, b"new"))
            assert path.read_bytes() == b"new"

            items = [(tmp_path / str(i), b"%d" % i) for i in range(40)]
            await cancelled_while_held(
                hold("replace_many"), handle.replace_many([*items, (path, None)])
            )
            assert all(one.read_bytes() == data for one, data in items) and not path.exists()

            path.write_bytes(b"old")
            names = sorted(os.listdir(tmp_path))
            await cancelled_while_held(hold("begin_replace"), handle.begin_replace(path))
            assert path.read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == names

            # A file or journal that was opened for nobody is closed.
            await cancelled_while_held(hold("journal"), handle.journal(tmp_path / "j"))
            await cancelled_while_held(hold("open"), handle.open(path))
            handle._handle = plain
            async with await handle.journal(tmp_path / "j"):  # not locked
                names = sorted(os.listdir(tmp_path))

            for name, content in (("write", b"old"), ("commit", b"one")):
                pieces = await handle.begin_replace(path)
                held = Held(pieces._replacement, name, before)
                pieces._replacement = held  # type: ignore[assignment]

                async def whole() -> None:
                    async with pieces:
                        await pieces.write(b"one")

                await cancelled_while_held(held, whole())
                assert pieces.closed and path.read_bytes() == content
                assert sorted(os.listdir(tmp_path)) == names

            # One that fails is not heard of; the file is old.
            held = hold("replace")
            await cancelled_while_held(held, handle.replace(path, b"", exclusive=True))
            assert path.read_bytes() == b"one"
            # A timeout waits, too.
            held = hold("replace")
            asyncio.get_running_loop().call_later(0.05, held.go.set)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(handle.replace(path, b"late"), 0.01)
            assert path.read_bytes() == b"late"
            handle._handle = plain

    asyncio.run(asyncio.wait_for(main(), 60))


#: Functions of the package that wait for nothing, or for ops of no loop.
NO_TWINS = {"default_handle", "error_name", "error_text", "stats", "wait_any"}


def test_twins(tmp_path: pathlib.Path) -> None:
    functions = {name for name in fsys.__all__ if inspect.isroutine(getattr(fsys, name))}
    twins = {name for name in fsys.aio.__all__ if inspect.iscoroutinefunction(getattr(fsys.aio, name))}
    assert functions - NO_TWINS == twins
    for name in twins:
        theirs = getattr(fsys, name)
        known = theirs.__doc__.split("\n")[0] if name != "replace" else str(
            inspect.signature(theirs))
        for parameter in inspect.signature(getattr(fsys.aio, name)).parameters:
            assert f"{parameter}:" in known, (name, parameter)

    async def main() -> None:
        report = await fsys.aio.replace(tmp_path / "f", b"new", durability="data", permissions=0o600)
        assert report.visible and (tmp_path / "f").read_bytes() == b"new"
        assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
        assert (await fsys.aio.probe(tmp_path)).file_system == fsys.probe(tmp_path).file_system
        try:
            assert (await fsys.aio.device_flush(tmp_path / "f", ways=["block"])).committed
        except OSError as error:
            assert getattr(error, "report").committed
        async with fsys.aio.Handle() as handle:
            async with await handle.journal(tmp_path / "j", segment_bytes=65536) as journal:
                lsns = [await journal.commit(b"%d" % i) for i in range(10)]
                await journal.pin("p", lsns[3])
        path = tmp_path / "j"
        assert (await fsys.aio.check_journal(path, deep=True)).verdict == "clean"
        assert (await fsys.aio.explain_journal(path, lsns[0] - 1)).state
        assert [pin.name for pin in await fsys.aio.list_pins(path)] == ["p"]
        assert await fsys.aio.list_segments(path) == fsys.list_segments(path)
        await fsys.aio.snapshot_journal(path, tmp_path / "copy", lsns[5])
        assert await fsys.aio.salvage_journal(path, tmp_path / "saved") == (10, 0)
        calls: List[Callable[[], Awaitable[Any]]] = [
            lambda: fsys.aio.probe(tmp_path / "missing"),
            lambda: fsys.aio.list_pins(tmp_path / "missing"),
            lambda: fsys.aio.replace(tmp_path / "missing" / "f", b""),
        ]
        for call in calls:
            with pytest.raises(FileNotFoundError):
                await call()

    asyncio.run(main())


def test_a_cancelled_twin(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        held = Held(fsys.default_handle(), "replace", True)
        monkeypatch.setattr(fsys, "default_handle", lambda: held)
        await cancelled_while_held(held, fsys.aio.replace(tmp_path / "f", b"new"))
        assert (tmp_path / "f").read_bytes() == b"new"

    asyncio.run(asyncio.wait_for(main(), 60))
