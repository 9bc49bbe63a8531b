# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Files: reading, writing, buffers, and who may free them when."""

from __future__ import annotations

import array
import errno
import gc
import os
import pathlib
import threading
import time
from typing import Any, List, Literal

import numpy
import pytest

import fsys


def test_round_trip(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    with handle.open(tmp_path / "f", "w+") as file:
        assert file.write(b"0123456789", 0, durable=True) == 10
        assert file.write(memoryview(b"ab"), 4) == 2
        file.sync()
        file.sync(data_only=True)
        assert file.read(100, 2) == b"23ab6789"
        assert file.read(3, 10) == b""
        assert file.read(0, 0) == b""
        file.allocate(0, 1 << 16)
        assert file.info().size == 1 << 16
        assert file.info().writable and file.info().readable
    assert file.closed
    file.close()


def test_io_uring_is_used_where_the_machine_has_it(tmp_path: pathlib.Path) -> None:
    try:
        probe = fsys.Handle(backend="io_uring")
    except fsys.Error as error:
        assert error.code == fsys.E_URING_SETUP
        pytest.skip(f"no io_uring here: {error}")
    with probe:
        file = probe.open(tmp_path / "f", "w+")
        file.write(b"x" * 65536, 0)
        data = [op.wait(10) for op in [file.submit_read(70_000, 0) for _ in range(10)]]
        assert all(block == b"x" * 65536 for block in data)
        assert probe.info().backend == "io_uring"
    with fsys.Handle() as default:
        assert default.info().backend == "io_uring"


@pytest.mark.parametrize(
    "mode, existing, content",
    [("r+", True, b"old"), ("w", True, b""), ("w+b", True, b""), ("x", False, b"")],
)
def test_modes(
    handle: fsys.Handle, tmp_path: pathlib.Path, mode: str, existing: bool, content: bytes
) -> None:
    path = tmp_path / "f"
    if existing:
        path.write_bytes(b"old")
    handle.open(str(path), mode).close()
    assert path.read_bytes() == content


def test_permissions_and_create(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    with pytest.raises(FileNotFoundError):
        handle.open(path, "r+")
    handle.open(path, "r+", create=True, permissions=0o600).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        handle.open(path, "x")
    with pytest.raises(ValueError, match="mode"):
        handle.open(path, "a")


def test_names(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "n\udcffame"  # a byte that is no UTF-8
    path.write_bytes(b"data")
    names: List[Any] = [path, str(path), os.fsencode(path)]
    for name in names:
        with handle.open(name) as file:
            assert file.read(4, 0) == b"data"
            assert file.name == name
    with open(path, "rb") as plain:
        descriptors: List[Any] = [plain, plain.fileno()]
        for descriptor in descriptors:
            with handle.open(descriptor) as file:
                assert file.read(4, 0) == b"data"
        assert plain.read() == b"data"  # a duplicate was used
    with pytest.raises(TypeError):
        handle.open(3.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        handle.open("a\0b")


def test_read_into_any_writable_buffer(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(range(256)) * 16)
    file = handle.open(path)
    whole = path.read_bytes()
    into = bytearray(4096)
    assert file.read_into(into, 0) == 4096 and into == whole
    assert file.read_into(memoryview(into)[10:20], 100) == 10 and into[10:20] == whole[100:110]
    numbers = array.array("I", [0] * 4)
    assert file.read_into(numbers, 0) == 16 and numbers.tobytes() == whole[:16]
    grid = numpy.zeros((4, 8), dtype=numpy.uint8)
    assert file.read_into(grid, 32) == 32 and grid.tobytes() == whole[32:64]
    with pytest.raises((BufferError, ValueError)):
        file.read_into(grid[:, ::2], 0)  # not contiguous
    with pytest.raises((BufferError, TypeError)):
        file.read_into(b"read only", 0)
    aligned: Any  # an exporter, which mypy knows of since Python 3.12
    with handle.buffer(5000) as aligned:
        assert aligned.address % 4096 == 0 and len(aligned) == 5000
        assert file.read_into(aligned, 0) == 4096
        assert bytes(memoryview(aligned)[:4096]) == whole
        assert numpy.frombuffer(aligned, dtype=numpy.uint8, count=256).sum() == 255 * 128


def test_direct(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(os.urandom(16384))
    try:
        file = handle.open(path, direct=True)
    except OSError as error:
        assert error.errno == errno.EINVAL
        pytest.skip(f"no O_DIRECT in {tmp_path}")
    buffer: Any = handle.buffer(4096)
    assert file.read_into(buffer, 8192) == 4096
    assert bytes(buffer) == path.read_bytes()[8192:12288]
    with pytest.raises(fsys.Error) as caught:
        file.read_into(memoryview(buffer)[:100], 1)
    assert caught.value.code == fsys.E_MISALIGNED


def test_atomic(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    # Refused, or whole: never an ordinary write in its place.
    file = handle.open(tmp_path / "f", "w+")
    with pytest.raises(fsys.Error) as caught:
        file.write(b"x" * 100, 0, atomic=True)  # buffered, and no power of two
    assert caught.value.code == fsys.E_NOT_ATOMIC
    assert file.info().size == 0


def test_many(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    file = handle.open(tmp_path / "f", "w+")
    count = 3000  # more than one run
    blocks = [i.to_bytes(8, "little") * 8 for i in range(count)]
    assert file.write_many(blocks, range(0, 64 * count, 64)) == [64] * count
    order = list(range(count))
    order.reverse()
    assert file.read_many([64 * i for i in order], 64) == [blocks[i] for i in order]
    assert file.read_many([64 * count - 10, 64 * count], 64) == [blocks[-1][-10:], b""]
    into = [bytearray(64) for _ in range(10)]
    assert file.read_many_into(into, [64 * i for i in range(10)]) == [64] * 10
    assert into == blocks[:10]
    one = bytearray(640)
    assert file.read_many_into(one, [64 * i for i in range(10)]) == [64] * 10
    assert one == b"".join(blocks[:10])
    assert file.write_many(one, [640 + 64 * i for i in range(10)], durable=True) == [64] * 10
    assert file.read(640, 640) == one
    assert file.read_many([], 4) == [] and file.write_many([], []) == []
    with pytest.raises(OSError) as caught:
        file.read_many([0, -1, 64], 64)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(ValueError):
        file.write_many([b"a"], [0, 1])
    with pytest.raises(ValueError):
        file.read_many_into(bytearray(5), [0, 1])
    with pytest.raises(TypeError):
        file.read_many(["0"], 1)  # type: ignore[list-item]


def test_many_large_ones(tmp_path: pathlib.Path) -> None:
    """More than a run, more than slots, partly in the page cache, from several threads."""
    count, size = 1500, 4096
    path = tmp_path / "f"
    path.write_bytes(b"".join(i.to_bytes(4, "big") * (size // 4) for i in range(count)))
    order = [(i * 7919) % count for i in range(count)]
    expected = [i.to_bytes(4, "big") * (size // 4) for i in order]
    offsets = [i * size for i in order]

    def check(file: fsys.File) -> None:
        assert file.read_many(offsets, size) == expected
        into = bytearray(count * size)
        assert file.read_many_into(into, offsets) == [size] * count
        assert into == b"".join(expected)
        # Cut at the end of the file, and the first failure of any piece.
        assert file.read_many([*offsets, (count - 1) * size + 4000], size)[-1] == expected[0][:0] + (
            (count - 1).to_bytes(4, "big") * 24
        )
        for place in (0, 1, 70, 700, count - 1):
            wrong = [*offsets]
            wrong[place] = -1
            with pytest.raises(OSError) as caught:
                file.read_many(wrong, size)
            assert caught.value.errno == errno.EINVAL

    backends: List[Literal["default", "threads"]] = ["default", "threads"]
    for backend in backends:
        for max_ops in (8, 64, 100, 4096):
            with fsys.Handle(backend=backend, max_ops=max_ops) as handle:
                with handle.open(path) as file:
                    check(file)
                    assert handle.stats().in_flight == 0
        with fsys.Handle(backend=backend) as handle, handle.open(path) as file:
            # Several threads at once.
            threads = [threading.Thread(target=check, args=(file,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            # Not in the page cache, or only half of it.
            with open(path, "rb") as plain:
                os.fsync(plain.fileno())
                os.posix_fadvise(plain.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                check(file)
                os.posix_fadvise(plain.fileno(), 1 << 21, 0, os.POSIX_FADV_DONTNEED)
                check(file)


def test_a_timed_out_wait_keeps_the_buffer(handle: fsys.Handle) -> None:
    reading, writing = os.pipe()
    try:
        file = handle.open(reading)
        into = bytearray(8)
        op = file.submit_read_into(into, 0)
        with pytest.raises(TimeoutError):
            op.wait(0.02)
        assert not op.done()
        with pytest.raises(BufferError):
            into.extend(b"more")  # exported: the kernel may write to it
        os.write(writing, b"12345678")
        assert op.wait(10) == 8
        assert op.wait() == 8 and op.done() and not op.cancel()
        assert into == b"12345678"
        into.extend(b"more")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_dropped_op_keeps_the_buffer(handle: fsys.Handle) -> None:
    reading, writing = os.pipe()
    try:
        file = handle.open(reading)
        into = bytearray(4)
        file.submit_read_into(into, 0)
        gc.collect()
        with pytest.raises(BufferError):
            into.clear()
        os.write(writing, b"late")
        end = time.monotonic() + 10
        while into != b"late" and time.monotonic() < end:
            time.sleep(0.005)
        assert into == b"late"
        # The next submit frees what has ended.
        while time.monotonic() < end:
            try:
                os.write(writing, b"x")
                file.submit_read(1, 0).wait(10)
                into.clear()
                break
            except BufferError:
                time.sleep(0.005)
        assert into == b""
    finally:
        os.close(reading)
        os.close(writing)


def test_cancel(handle: fsys.Handle) -> None:
    reading, writing = os.pipe()
    try:
        file = handle.open(reading)
        into = bytearray(4)
        op = file.submit_read_into(into, 0)
        asked = op.cancel()
        if not asked:  # a pool thread is in read(2)
            os.write(writing, b"data")
            assert op.wait(10) == 4
        else:
            with pytest.raises(OSError) as caught:
                op.wait(10)
            assert caught.value.errno == errno.ECANCELED
        into.clear()
    finally:
        os.close(reading)
        os.close(writing)


def test_close_ends_what_is_in_flight() -> None:
    handle = fsys.Handle(close_timeout=0.05)
    reading, writing = os.pipe()
    try:
        into = bytearray(4)
        op = handle.open(reading).submit_read_into(into, 0)
        handle.close()
        assert handle.closed
        with pytest.raises(fsys.ClosedError):
            op.wait(1)
        del op
        into.clear()
    finally:
        os.close(reading)
        os.close(writing)


def test_close_refuses_while_a_buffer_is_exported(tmp_path: pathlib.Path) -> None:
    handle = fsys.Handle()
    buffer: Any = handle.buffer(100)
    view = memoryview(buffer)
    with pytest.raises(BufferError):
        handle.close()
    with pytest.raises(BufferError):
        buffer.free()
    assert not handle.closed
    view[:3] = b"abc"
    view.release()
    handle.close()
    with pytest.raises(BufferError):
        memoryview(buffer)
    assert len(buffer) == 0
    buffer.free()


def test_a_buffer_outlives_names_but_not_close() -> None:
    def make() -> memoryview:
        buffer: Any = fsys.Handle().buffer(4096)
        return memoryview(buffer)

    view = make()
    gc.collect()
    view[:] = b"z" * 4096  # the view keeps the buffer, which keeps the engine
    assert bytes(view) == b"z" * 4096


def test_threads_share_a_handle(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    file = handle.open(tmp_path / "f", "w+")
    failures = []

    def work(number: int) -> None:
        block = bytes([number]) * 4096
        for i in range(50):
            offset = (number * 50 + i) * 4096
            file.write(block, offset)
            if file.read(4096, offset) != block or file.submit_read(1, offset).wait(30) != block[:1]:
                failures.append((number, i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_waiting_gives_up_the_gil(handle: fsys.Handle) -> None:
    reading, writing = os.pipe()
    try:
        file = handle.open(reading)
        thread = threading.Timer(0.05, os.write, (writing, b"go"))
        thread.start()
        assert file.read(2, 0) == b"go"  # would hang if the writer could not run
        thread.join()
    finally:
        os.close(reading)
        os.close(writing)


def test_two_threads_wait_for_one_op(handle: fsys.Handle) -> None:
    reading, writing = os.pipe()
    try:
        op = handle.open(reading).submit_read(2, 0)
        results = []
        threads = [threading.Thread(target=lambda: results.append(op.wait(20))) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        os.write(writing, b"go")
        for thread in threads:
            thread.join()
        assert results == [b"go"] * 3
    finally:
        os.close(reading)
        os.close(writing)


def test_root(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_bytes(b"secret")
    with fsys.Handle(root=tmp_path / "in") as handle:
        handle.open("f", "w").close()
        with pytest.raises(OSError) as caught:
            handle.open("../out")
        assert caught.value.errno == errno.EXDEV
    assert (tmp_path / "in" / "f").exists()


def test_stats(tmp_path: pathlib.Path) -> None:
    with fsys.Handle() as handle:
        file = handle.open(tmp_path / "f", "w+")
        file.write(b"abc", 0)
        file.read(3, 0)
        counters = handle.stats()
        assert counters.bytes_written == 3 and counters.bytes_read == 3
        assert counters.ops["inline"] == {"read": 1, "write": 1}
        assert handle.cause() == "" and file.cause() == ""
    assert isinstance(fsys.stats(), fsys.Counters)
    assert fsys.default_handle() is fsys.default_handle()
