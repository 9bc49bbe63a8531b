# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Errors: CPython's own classes for an errno, fsys.Error for the library's codes."""

from __future__ import annotations

import errno
import pathlib
import re

import pytest

import fsys
from fsys import _errors


def test_errno_becomes_what_cpython_raises(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as caught:
        handle.open(missing)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == missing
    with pytest.raises(FileNotFoundError) as plain:
        open(missing)
    assert str(plain.value) == str(caught.value)
    with pytest.raises(NotADirectoryError):
        (tmp_path / "f").write_bytes(b"")
        handle.open(tmp_path / "f" / "g")
    with pytest.raises(IsADirectoryError):
        handle.open(tmp_path, "r+")
    file = handle.open(tmp_path / "f")
    with pytest.raises(OSError) as caught2:
        file.write(b"x", 0)
    assert caught2.value.errno == errno.EBADF and not isinstance(caught2.value, fsys.Error)
    with pytest.raises(OSError) as caught3:
        file.read(1, -1)
    assert caught3.value.errno == errno.EINVAL


def test_library_codes(handle: fsys.Handle, tmp_path: pathlib.Path) -> None:
    file = handle.open(tmp_path / "f", "w")
    file.close()
    with pytest.raises(fsys.ClosedError) as caught:
        file.write(b"x", 0)
    error = caught.value
    assert isinstance(error, fsys.Error) and isinstance(error, OSError)
    assert error.errno == error.code == fsys.E_CLOSED
    assert error.name == "FSYS_E_CLOSED" and error.bytes_done == 0
    assert error.filename == tmp_path / "f"
    assert "FSYS_E_CLOSED" in str(error) and str(tmp_path / "f") in str(error)


def test_codes_are_those_of_the_library() -> None:
    for name in _errors.__dict__:
        if re.fullmatch("E_[A-Z_]+", name):
            code = getattr(_errors, name)
            assert fsys.error_name(code) == "FSYS_" + name
            assert getattr(fsys, name) == code and name in fsys.__all__
            assert isinstance(_errors.make(code, "text", None), fsys.Error)
    assert fsys.error_name(-errno.ENOSPC) == "ENOSPC"
    assert fsys.error_text(-errno.ENOSPC) == "No space left on device"


def test_arguments(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="backend"):
        fsys.Handle(backend="fast")  # type: ignore[arg-type]
    with pytest.raises(OSError):
        fsys.Handle(max_ops=1 << 20)
    with pytest.raises(FileNotFoundError):
        fsys.Handle(root=tmp_path / "missing")
    with pytest.raises(TypeError):
        fsys.Handle("io_uring")  # type: ignore[misc]
