# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The futures of fsys.aio: what asyncio, uvloop and programs expect of a future, and what was
completed at once or together."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import gc
import os
import pathlib
import time
import tracemalloc
import weakref
from typing import Any, Callable, Coroutine, Dict, List

import pytest
import uvloop

import fsys
import fsys.aio

Main = Callable[[], Coroutine[Any, Any, None]]


def run_asyncio(main: Main) -> None:
    asyncio.run(asyncio.wait_for(main(), 60))


def run_debug(main: Main) -> None:
    asyncio.run(asyncio.wait_for(main(), 60), debug=True)


def run_uvloop(main: Main) -> None:
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 60))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


loops = pytest.mark.parametrize("run", [run_asyncio, run_debug, run_uvloop])


class Pipe:
    """A file whose reads wait until somebody writes."""

    def __init__(self, handle: fsys.aio.Handle) -> None:
        self.reading, self.writing = os.pipe()
        self._handle = handle

    async def __aenter__(self) -> Pipe:
        self.file: Any = await self._handle.open(self.reading)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.file.close()
        os.close(self.reading)
        os.close(self.writing)


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """In the page cache, since it was just written."""
    path = tmp_path / "data"
    path.write_bytes(b"".join(i.to_bytes(4, "big") for i in range(16384)))
    return path


@loops
def test_what_asyncio_expects(run: Any, data: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle, Pipe(handle) as pipe:
            future = pipe.file.read(1, 0)
            assert asyncio.isfuture(future) and asyncio.ensure_future(future) is future
            assert future.get_loop() is asyncio.get_running_loop()
            assert not future.done() and not future.cancelled() and "pending" in repr(future)
            for ask in (future.result, future.exception):
                with pytest.raises(asyncio.InvalidStateError):
                    ask()
            os.write(pipe.writing, b"x")
            # Awaited twice, and at the same time.
            assert await asyncio.gather(future, future) == [b"x", b"x"]
            assert await future == b"x" and await asyncio.shield(future) == b"x"
            assert future.done() and not future.cancelled()
            assert future.result() == b"x" and future.exception() is None
            assert not future.cancel()

            done, pending = await asyncio.wait([pipe.file.read(1, 0)], timeout=0.01)
            assert not done and len(pending) == 1
            late = pending.pop()
            os.write(pipe.writing, b"y")
            assert [await one for one in asyncio.as_completed([late])] == [b"y"]
            assert weakref.ref(late)() is late
            with pytest.raises(TypeError):
                type(late)()

    run(main)


def test_run_until_complete_takes_it(data: pathlib.Path) -> None:
    loop = asyncio.new_event_loop()

    async def begin() -> Any:
        handle = fsys.aio.Handle()
        return handle, await handle.open(data)

    handle, file = loop.run_until_complete(begin())
    assert loop.run_until_complete(file.read(4, 4)) == b"\0\0\0\1"
    with pytest.raises(OSError):
        loop.run_until_complete(file.read(4, -1))
    loop.run_until_complete(handle.close())
    loop.close()


@loops
def test_cached_reads_are_done_at_once(run: Any, data: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            file = await handle.open(data, "r+")
            future: Any = file.read(4, 40)
            assert future.done() and future.result() == b"\0\0\0\n"
            into = bytearray(8)
            count: Any = file.read_into(into, 4)
            assert count.done() and count.result() == 8 and into == b"\0\0\0\1\0\0\0\2"
            into.clear()  # nothing holds it any more
            assert await file.read(100, 65534) == b"\x3f\xff"  # cut at the end of the file
            assert handle.stats().nowait_hits >= 3
            # Not past 64 KiB, and not before a write that was started earlier.
            whole: Any = file.read(65537, 0)
            assert not whole.done() and len(await whole) == 65536
            write = file.write(b"new!", 0)
            behind: Any = file.read(4, 0)
            assert not behind.done()
            assert await write == 4 and len(await behind) == 4
            assert await file.read(4, 0) == b"new!"
            # Its failures come by the future.
            failed: Any = file.read(1, -1)
            with pytest.raises(OSError) as caught:
                await failed
            assert caught.value.errno == errno.EINVAL
            for wrong in ((), (1,), (1, 2, 3), ("1", 2), (-1, 0), (1 << 70, 0)):
                with pytest.raises((TypeError, ValueError, OverflowError)):
                    file.read(*wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                file.read(length=1, offset=0, extra=2)  # type: ignore[call-arg]
            assert await file.read(offset=40, length=4) == b"\0\0\0\n"

    run(main)


@loops
def test_others_have_their_turns(run: Any, data: pathlib.Path) -> None:
    """A loop over cached reads never waits, and lets other tasks run all the same."""

    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            file = await handle.open(data)
            turns = 0
            ended = False

            async def other() -> None:
                nonlocal turns
                while not ended:
                    turns += 1
                    await asyncio.sleep(0)

            beside = asyncio.ensure_future(other())
            for i in range(3200):
                assert await file.read(4, 4 * i) == i.to_bytes(4, "big")
            ended = True
            assert turns >= 50
            await beside
            # It can be cancelled there, too.
            task = asyncio.ensure_future(endless(file))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def endless(file: Any) -> None:
        while True:
            await file.read(4, 0)

    run(main)


@loops
def test_callbacks_and_contexts(run: Any, data: pathlib.Path) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main() -> None:
        async with fsys.aio.Handle() as handle, Pipe(handle) as pipe:
            file = await handle.open(data)
            for future in (pipe.file.read(1, 0), file.read(1, 0)):
                called: List[Any] = []

                def note(done: Any) -> None:
                    called.append((done is future, variable.get(), "inner"))

                def plain(done: Any) -> None:
                    called.append((done is future, variable.get()))
                    variable.set("stays in its context")

                variable.set("first")
                future.add_done_callback(plain)
                variable.set("second")
                future.add_done_callback(plain)
                context = contextvars.copy_context()
                context.run(variable.set, "given")
                future.add_done_callback(plain, context=context)
                future.add_done_callback(note, context=None)
                for _ in range(3):
                    future.add_done_callback(called.append)
                assert future.remove_done_callback(called.append) == 3
                assert future.remove_done_callback(called.append) == 0
                os.write(pipe.writing, b"x")
                assert called == []  # never from within the call
                await asyncio.sleep(0)
                await future
                await asyncio.sleep(0)
                assert called == [(True, "first"), (True, "second"), (True, "given"),
                                  (True, "second", "inner")]
                assert variable.get() == "second"
                assert context[variable] == "stays in its context"
                # Of one that is done.
                future.add_done_callback(called.append)
                assert len(called) == 4
                await asyncio.sleep(0)
                assert called[4:] == [future]
                with pytest.raises(TypeError):
                    future.add_done_callback()
                with pytest.raises(TypeError):
                    future.add_done_callback(plain, other=1)
            assert await pipe.file.read(1, 0) == b"x"

    run(main)


@loops
def test_a_callback_that_raises(run: Any, data: pathlib.Path) -> None:
    async def main() -> None:
        told: List[Dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, facts: told.append(facts))
        async with fsys.aio.Handle() as handle:
            file = await handle.open(data)
            called: List[Any] = []

            def bad(_: Any) -> None:
                raise ValueError("of a callback")

            futures: List[Any] = [file.read(1, i) for i in range(3)]
            for future in futures:
                future.add_done_callback(bad)
                future.add_done_callback(called.append)
            await asyncio.sleep(0)
            assert called == futures
            assert [str(facts["exception"]) for facts in told] == ["of a callback"] * 3
            assert all("bad" in facts["message"] for facts in told)
            assert told[0]["exception"].__traceback__ is not None
            assert told[0]["future"] is futures[0]

    run(main)


def test_keyboard_interrupt_leaves_the_loop(data: pathlib.Path) -> None:
    """The other callbacks of the batch come when the loop is run again."""
    loop = asyncio.new_event_loop()
    called: List[Any] = []

    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    async def main() -> Any:
        handle = fsys.aio.Handle()
        file = await handle.open(data)
        for callback in (called.append, interrupt, called.append):
            file.read(1, 0).add_done_callback(callback)  # type: ignore[attr-defined]
        loop.call_later(10, loop.stop)
        keep.append(handle)
        await asyncio.sleep(1)

    keep: List[Any] = []
    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    assert len(called) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert len(called) == 2
    loop.run_until_complete(keep[0].close())
    loop.close()


@loops
def test_cancel(run: Any, data: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle, Pipe(handle) as pipe:
            called: List[Any] = []
            future = pipe.file.read(1, 0)
            future.add_done_callback(called.append)
            assert future.cancel("why") and future.cancelled() and future.done()
            assert not future.cancel() and called == []
            await asyncio.sleep(0)
            assert called == [future]
            for ask in (future.result, future.exception):
                with pytest.raises(asyncio.CancelledError) as caught:
                    ask()
                assert caught.value.args == ("why",)
            with pytest.raises(asyncio.CancelledError):
                await future
            # gather asks for the message, too.
            gone, kept = pipe.file.read(1, 0), pipe.file.read(1, 0)
            both = asyncio.gather(gone, kept, return_exceptions=True)
            gone.cancel(msg="mine")
            os.write(pipe.writing, b"z")
            results = await both
            assert isinstance(results[0], asyncio.CancelledError) and results[1] == b"z"
            first = asyncio.gather(pipe.file.read(1, 0), pipe.file.read(1, 0))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first

            # The task is told, the op ends.
            async def wait() -> None:
                await pipe.file.read(1, 0)

            task = asyncio.ensure_future(wait())
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(pipe.file.read(1, 0), 0.01)
            while handle.stats().in_flight:
                await asyncio.sleep(0.001)
            # One that was done before is not cancelled, and a task that is waits no longer.
            file = await handle.open(data)
            assert not file.read(1, 0).cancel()  # type: ignore[attr-defined]

    run(main)


@loops
def test_a_batch_may_cancel_its_own(run: Any, data: pathlib.Path) -> None:
    """A task that is stepped cancels another whose read is done, but which has not been stepped."""

    async def main() -> None:
        async with fsys.aio.Handle() as handle, Pipe(handle) as pipe:
            ended: List[str] = []
            tasks: List[Any] = []

            async def one(other: int) -> None:
                try:
                    await pipe.file.read(1, 0)
                    tasks[other].cancel()
                    ended.append("first")
                except asyncio.CancelledError:
                    ended.append("cancelled")
                    raise

            tasks += [asyncio.ensure_future(one(1)), asyncio.ensure_future(one(0))]
            await asyncio.sleep(0.01)
            os.write(pipe.writing, b"ab")
            while handle.stats().in_flight:
                time.sleep(0.001)  # without the loop: it then takes both together
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert ended == ["first", "cancelled"]
            assert sorted(str(type(result).__name__) for result in results) == [
                "CancelledError", "NoneType"]

    run(main)


@loops
def test_gather_of_failures(run: Any, data: pathlib.Path) -> None:
    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            file = await handle.open(data)
            results = await asyncio.gather(
                *(file.read(4, 4 * i if i % 10 else -1) for i in range(1000)), return_exceptions=True
            )
            for i, result in enumerate(results):
                if i % 10:
                    assert result == i.to_bytes(4, "big")
                else:
                    assert isinstance(result, OSError) and result.errno == errno.EINVAL
            with pytest.raises(OSError) as caught:
                await asyncio.gather(file.read(4, 0), file.read(4, -1))
            # Raised again, it does not grow.
            failed: Any = file.read(1, -1)
            depths = []
            for _ in range(3):
                with pytest.raises(OSError) as caught:
                    await failed
                depths.append(len(caught.traceback))
            assert len(set(depths)) == 1

    run(main)


@loops
def test_an_exception_that_nobody_hears(run: Any, data: pathlib.Path) -> None:
    async def main() -> None:
        told: List[Dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, facts: told.append(facts))
        async with fsys.aio.Handle() as handle:
            file = await handle.open(data)
            for heard in (False, True):
                future: Any = file.read(1, -1)
                while not future.done():
                    await asyncio.sleep(0.001)
                if heard:
                    assert isinstance(future.exception(), OSError)
                del future
                gc.collect()
                assert len(told) == 1
            assert "never retrieved" in told[0]["message"]
            assert told[0]["exception"].errno == errno.EINVAL
            assert ("source_traceback" in told[0]) == loop.get_debug()

    run(main)


@loops
def test_callbacks_that_go_on(run: Any, data: pathlib.Path) -> None:
    """A callback whose read is done at once, and calls back, takes a turn of the loop each time."""

    async def main() -> None:
        async with fsys.aio.Handle() as handle:
            file = await handle.open(data)
            loop = asyncio.get_running_loop()
            ended = loop.create_future()
            left = 5000  # deeper than the interpreter's stack
            turns = 0

            def again(future: Any) -> None:
                nonlocal left
                assert future.result()
                left -= 1
                if left:
                    file.read(1, 0).add_done_callback(again)  # type: ignore[attr-defined]
                else:
                    ended.set_result(None)

            def turn() -> None:
                nonlocal turns
                turns += 1
                if not ended.done():
                    loop.call_soon(turn)

            loop.call_soon(turn)
            file.read(1, 0).add_done_callback(again)  # type: ignore[attr-defined]
            await ended
            assert turns >= 1000

    run(main)


@loops
def test_nothing_is_leaked(run: Any, data: pathlib.Path) -> None:
    class Marker:
        pass

    async def main() -> None:
        async with fsys.aio.Handle() as handle, Pipe(handle) as pipe:
            file = await handle.open(data)
            # A cycle through the callback, and one through the value of a pending one.
            alive: List[Any] = []
            for future in (file.read(1, 0), pipe.file.read(1, 0)):
                marker = Marker()
                alive.append(weakref.ref(marker))
                future.add_done_callback(lambda _, it=(future, marker): None)
                if not future.done():
                    future.cancel()
                del future, marker
            while handle.stats().in_flight:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            gc.collect()
            assert [reference() for reference in alive] == [None, None]

            async def round_of_all() -> None:
                await asyncio.gather(*(file.read(4, 4 * i) for i in range(200)))
                for i in range(100):
                    await file.read(4, 4 * i)
                pending = [pipe.file.read(1, 0) for _ in range(20)]
                await asyncio.sleep(0.001)
                for one in pending:
                    one.cancel()
                await asyncio.gather(file.read(1, -1), *pending, return_exceptions=True)
                while handle.stats().in_flight:
                    await asyncio.sleep(0.001)

            await round_of_all()
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.take_snapshot()
            for _ in range(20):
                await round_of_all()
            gc.collect()
            after = tracemalloc.take_snapshot()
            tracemalloc.stop()
            grown = sum(one.size_diff for one in after.compare_to(before, "filename")
                        if "tracemalloc" not in str(one.traceback))
            assert grown < 150_000  # of 6,000 reads and their futures

    run(main)
