# SPDX-License-Identifier: Apache-2.0 OR MIT
"""asyncio, uvloop, trio and anyio: the same coroutines on each."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import pathlib
import threading
import warnings
from typing import Any, Callable, Coroutine, List

import anyio
import pytest
import trio
import uvloop

import fsys
import fsys.aio
import fsys.anyio
import fsys.trio

Main = Callable[[], Coroutine[Any, Any, None]]


def run_asyncio(main: Main) -> None:
    async def wrapped() -> None:
        await asyncio.wait_for(main(), 60)

    asyncio.run(wrapped(), debug=True)


def run_uvloop(main: Main) -> None:
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 60))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def run_trio(main: Main) -> None:
    async def wrapped() -> None:
        with trio.fail_after(60):
            await main()

    trio.run(wrapped)


def run_anyio(main: Main) -> None:
    anyio.run(main, backend="asyncio")


def run_anyio_trio(main: Main) -> None:
    anyio.run(main, backend="trio")


Run = Callable[[Main], None]
loops = pytest.mark.parametrize("run", [run_asyncio, run_uvloop])
all_loops = pytest.mark.parametrize(
    "run", [run_asyncio, run_uvloop, run_trio, run_anyio, run_anyio_trio]
)


@all_loops
def test_files(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.anyio.Handle() as handle:
            async with await handle.open(tmp_path / "f", "w+") as file:
                assert await file.write(b"0123456789", 0) == 10
                assert await file.write(b"ab", 4, durable=True) == 2
                await file.sync()
                await file.sync(data_only=True)
                assert await file.read(100, 2) == b"23ab6789"
                into = bytearray(4)
                assert await file.read_into(into, 1) == 4 and into == b"123a"
                await file.allocate(0, 4096)
                assert file.info().size == 4096
                blocks = [bytes([i]) * 16 for i in range(100)]
                offsets = [16 * i for i in range(100)]
                assert await file.write_many(blocks, offsets) == [16] * 100
                assert await file.read_many(offsets, 16) == blocks
                assert await file.read_many_into(bytearray(1600), offsets) == [16] * 100
                assert await file.read_many([], 1) == []
                # Several at once.
                started = [file.read(16, offset) for offset in offsets]
                assert [await one for one in started] == blocks
                with pytest.raises(OSError):
                    await file.read(1, -1)
                with pytest.raises(OSError):
                    await file.read_many([0, -1], 1)
            with pytest.raises(fsys.ClosedError):
                await file.read(1, 0)
            with pytest.raises(FileNotFoundError):
                await handle.open(tmp_path / "missing")
            assert handle.stats().in_flight == 0
        assert handle.closed
        await handle.close()

    run(main)


@all_loops
def test_journal(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.anyio.Handle() as handle:
            async with await handle.journal(tmp_path / "j", segment_bytes=65536) as journal:
                lsns = [await journal.append(b"a"), await journal.commit(b"b")]
                started = [journal.commit(b"%d" % i) for i in range(100)]
                lsns += [await one for one in started]
                assert lsns == sorted(lsns) and journal.frontiers().durable >= lsns[-1]
                # One turn of the loop, one request.
                assert journal.stats().syncs < 50
                lsns += await journal.append_batch([b"x", b"y"])
                lsns.append(await journal.append_pieces([b"z", b"z"]))
                assert await journal.sync(lsns[-1]) == lsns[-1]
                await journal.sync()
                reader = await journal.reader()
                records = [record async for record in reader]
                assert [record.lsn for record in records] == lsns
                assert await reader.next(0.02) is None
                await reader.seek(lsns[-2])
                record = await reader.next()
                assert record is not None and record.data == b"zz"
                await journal.pin("p", lsns[0])
                await journal.unpin("p")
                await journal.rotate()
                await journal.trim(lsns[0])
                await journal.snapshot(tmp_path / "copy")
                await journal.write_out()
                assert journal.cause() == "" and journal.segments()
            async with await handle.reader(tmp_path / "copy") as other:
                assert len([record async for record in other]) == len(lsns)

    run(main)


@loops
def test_a_thousand_at_once(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"".join(i.to_bytes(4, "big") for i in range(5000)))

    async def main() -> None:
        async with fsys.aio.Handle(max_ops=64) as handle:
            file = await handle.open(tmp_path / "f")
            results = await asyncio.gather(*(file.read(4, 4 * i) for i in range(5000)))
            assert [int.from_bytes(r, "big") for r in results] == list(range(5000))
            blocks = await file.read_many([4 * i for i in range(5000)], 4)
            assert blocks == results

    run(main)


@loops
def test_a_cancelled_read_keeps_the_buffer(run: Run) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        async with fsys.aio.Handle() as handle:
            file = await handle.open(reading)
            into = bytearray(4)

            async def read() -> None:
                await file.read_into(into, 0)

            task = asyncio.ensure_future(read())
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(BufferError):
                into.clear()  # the loop has not taken the completion yet
            with pytest.raises(asyncio.CancelledError):
                await task
            await until_idle(handle)
            into.clear()
            os.write(writing, b"late")
            assert await file.read(4, 0) == b"late"  # the cancelled one has taken nothing
        os.close(reading)
        os.close(writing)

    run(main)


async def until_idle(handle: Any) -> None:
    while handle.stats().in_flight or handle._channel.busy:
        await asyncio.sleep(0.001)


@loops
def test_a_cancelled_op_gives_its_slot_back(run: Run) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        async with fsys.aio.Handle(max_ops=4) as handle:
            file = await handle.open(reading)
            for _ in range(30):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(file.read(1, 0), 0.001)
            # More than there are slots: some were never submitted.
            started = [file.read(1, 0) for _ in range(20)]
            await asyncio.sleep(0.01)
            for one in started:
                assert one.cancel()  # type: ignore[attr-defined]
            await until_idle(handle)
            # Before the loop's next turn: nothing was exported for long.
            into = bytearray(1)
            file.read_into(into, 0).cancel()  # type: ignore[attr-defined]
            into.clear()
            # Shielded, the op goes on.
            shielded = file.read(1, 0)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(shielded), 0.01)
            os.write(writing, b"x")
            assert await shielded == b"x"
        os.close(reading)
        os.close(writing)

    run(main)


@loops
def test_cancelled_blocks(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(bytes(1 << 20))

    async def main() -> None:
        async with fsys.aio.Handle(max_ops=8) as handle:
            file = await handle.open(tmp_path / "f")
            for pause in (None, 0.0, 0.001):
                into = [bytearray(1000) for _ in range(500)]
                blocks = file.read_many_into(into, range(0, 500_000, 1000))
                if pause is not None:
                    await asyncio.sleep(pause)
                blocks.cancel()  # type: ignore[attr-defined]
                await until_idle(handle)
                for one in into:
                    one.clear()
            assert await file.read(4, 0) == bytes(4)

    run(main)


@loops
def test_a_cancelled_wait_for_a_journal(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle(max_ops=4) as handle:
            journal = await handle.journal(tmp_path / "j", segment_bytes=65536)
            # Holds up all that is behind it.
            ticket = await journal.reserve(4)
            for _ in range(10):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(journal.commit(b"behind"), 0.001)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(journal.next_sealed(), 0.001)
            await until_idle(handle)
            # Two of one turn are one request, which goes on for the other.
            gone, kept = journal.commit(b"gone"), journal.commit(b"kept")
            sealed = [asyncio.ensure_future(journal.next_sealed()) for _ in range(2)]
            await asyncio.sleep(0.005)
            assert gone.cancel() and sealed[0].cancel()  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
            assert handle.stats().in_flight == 2
            ticket.abandon()
            lsn = await kept
            assert journal.frontiers().durable >= lsn
            await journal.rotate()
            assert (await sealed[1]).number == 1
            reader = await journal.reader()
            records = [record.data async for record in reader]
            assert records == [b"behind"] * 10 + [b"gone", b"kept"]  # only the waits ended

    run(main)


def test_trio_cancel() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        async with fsys.trio.Handle() as handle:
            file = await handle.open(reading)
            into = bytearray(4)
            with trio.move_on_after(0.02) as scope:
                await file.read_into(into, 0)
            assert scope.cancelled_caught
            while handle.stats().in_flight or handle._channel.busy:
                await trio.sleep(0.001)
            into.clear()
            os.write(writing, b"late")
            again = file.read(4, 0)
            assert await again == b"late"  # the cancelled one has taken nothing
            # Awaited again, it says how it ended.
            waiting = file.read(1, 0)

            async def wait() -> None:
                await waiting

            with trio.move_on_after(0.01):
                await wait()
            with pytest.raises(OSError) as ended:
                await wait()
            assert ended.value.errno == errno.ECANCELED
        os.close(reading)
        os.close(writing)

    trio.run(main)


@loops
def test_close_cancels_what_will_not_end(run: Run) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        into = bytearray(4)
        async with fsys.aio.Handle(close_timeout=0.05) as handle:
            waiting = (await handle.open(reading)).read_into(into, 0)
            await asyncio.sleep(0.01)
        with pytest.raises(fsys.ClosedError):
            await waiting
        into.clear()
        os.close(reading)
        os.close(writing)

    run(main)


def test_files_without_names_complete(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100_000)

    async def main() -> None:
        async def start() -> Any:
            handle = fsys.aio.Handle()
            return handle, (await handle.open(tmp_path / "f")).read(100_000, 0)

        handle, pending = await start()
        gc.collect()
        assert len(await pending) == 100_000
        await handle.close()

    run_asyncio(main)


def test_an_unclosed_handle_warns() -> None:
    async def main() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fsys.aio.Handle()
            gc.collect()
        assert any(issubclass(w.category, ResourceWarning) for w in caught)
        await asyncio.sleep(0)

    run_asyncio(main)


def test_other_threads_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"x")

    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            file = await handle.open(tmp_path / "f")
            caught: List[BaseException] = []

            def use() -> None:
                try:
                    file.read(1, 0)
                except RuntimeError as error:
                    caught.append(error)

            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
            assert len(caught) == 1

    run_asyncio(main)


def test_a_reader_loses_nothing_when_cancelled(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            journal = await handle.journal(tmp_path / "j", segment_bytes=1 << 20)
            reader = await journal.reader()
            seen: List[bytes] = []
            for i in range(30):
                follow = asyncio.ensure_future(reader.next(None))
                await asyncio.sleep(0.002 * (i % 3))
                await journal.commit(b"%d" % i)
                follow.cancel()
                try:
                    record = await follow
                    assert record is not None
                    seen.append(record.data)
                except asyncio.CancelledError:
                    pass
            while len(seen) < 30:
                record = await reader.next(10)
                assert record is not None
                seen.append(record.data)
            assert seen == [b"%d" % i for i in range(30)]

    run_asyncio(main)


def test_commits_beyond_the_log_buffer(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            journal = await handle.journal(
                tmp_path / "j", buffer_bytes=65536, segment_bytes=1 << 20
            )
            lsns = await asyncio.gather(*(journal.commit(b"x" * 8000) for _ in range(50)))
            assert len(set(lsns)) == 50 and journal.frontiers().durable >= max(lsns)

    run_asyncio(main)
