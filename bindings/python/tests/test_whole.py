# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Whole files, names, ranges, and what lies underneath."""

from __future__ import annotations

import asyncio
import errno
import os
import pathlib

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
