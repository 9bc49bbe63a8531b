# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fork, interpreter exit, signals: each in a process of its own."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import fsys


def python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "default", "-X", "faulthandler", "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_fork(tmp_path: pathlib.Path) -> None:
    done = python(
        """
        import gc, os, sys, fsys
        handle = fsys.Handle()
        file = handle.open(sys.argv[1] + "/f", "w+")
        file.write(b"parent", 0)
        journal = handle.journal(sys.argv[1] + "/j")
        journal.commit(b"parent")
        buffer = handle.buffer(4096)
        op = file.submit_read(3, 0)
        ticket, scan = journal.reserve(4), handle.scan(sys.argv[1])
        pieces = handle.begin_replace(sys.argv[1] + "/g")
        pieces.write(b"pieces")
        default = fsys.default_handle()
        pid = os.fork()
        if pid == 0:
            for call in (lambda: file.read(1, 0), lambda: journal.append(b"child"), handle.info,
                         lambda: op.wait(1), lambda: file.submit_read(1, 0), ticket.publish,
                         lambda: next(scan), lambda: pieces.write(b""), pieces.commit,
                         lambda: journal.next_sealed(timeout=1), lambda: journal.reserve(1)):
                try:
                    call()
                except fsys.Error as error:
                    assert error.code == fsys.E_FORKED, error
                else:
                    os._exit(2)
            assert fsys.default_handle() is not default
            del file, journal, op, buffer, handle, ticket, scan, pieces
            gc.collect()
            with fsys.Handle() as own:
                assert own.open(sys.argv[1] + "/f").read(6, 0) == b"parent"
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert op.wait(10) == b"par" and file.read(6, 0) == b"parent"
        assert pieces.commit().bytes == 6 and next(scan).path
        with memoryview(ticket) as memory:
            memory[:] = b"mine"
        ticket.publish()
        journal.commit(b"more")
        assert [r.data for r in journal.reader()] == [b"parent", b"mine", b"more"]
        handle.close()
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_fork_beside_a_running_loop(tmp_path: pathlib.Path) -> None:
    done = python(
        """
        import asyncio, os, sys, fsys.aio
        async def main():
            async with fsys.aio.Handle() as handle:
                file = await handle.open(sys.argv[1] + "/f", "w+")
                await file.write(b"parent", 0)
                pid = os.fork()
                if pid == 0:
                    try:
                        handle.info()
                    except fsys.Error as error:
                        os._exit(0 if error.code == fsys.E_FORKED else 3)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                assert await file.read(6, 0) == b"parent"
        asyncio.run(main())
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_with_everything_open(tmp_path: pathlib.Path) -> None:
    done = python(
        """
        import os, sys, threading, fsys
        handle = fsys.Handle(close_timeout=0.05)
        reading, writing = os.pipe()
        buffer = bytearray(100)
        op = handle.open(reading).submit_read_into(buffer, 0)
        journal = handle.journal(sys.argv[1] + "/j")
        journal.append(b"made durable by closing")
        reader = journal.reader()
        pieces = handle.begin_replace(sys.argv[1] + "/g")
        scan = handle.scan("/")
        sleepers = [lambda: journal.next_sealed(),
                    lambda: op.wait(), lambda: reader.next(None),
                    lambda: handle.open(reading).read(1, 0)]
        for sleeper in sleepers:
            threading.Thread(target=sleeper, daemon=True).start()
        import time; time.sleep(0.1)
        print("end")
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert "terminate" not in done.stderr and "Fatal" not in done.stderr
    assert os.listdir(tmp_path) == ["j"]  # the temporary file of the replacement went
    with fsys.Handle() as handle, handle.journal(tmp_path / "j") as journal:
        assert [r.data for r in journal.reader()] == [b"made durable by closing"]


def test_exit_with_exported_memory(tmp_path: pathlib.Path) -> None:
    done = python(
        """
        import sys, fsys
        view = memoryview(fsys.Handle().buffer(4096))
        ticket = memoryview(fsys.Handle().journal(sys.argv[1] + "/j").reserve(100))
        ticket[:] = bytes(100)
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupt() -> None:
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, fsys\n"
            "r, w = os.pipe()\n"
            "file = fsys.Handle().open(r)\n"
            "print('ready', flush=True)\n"
            "try:\n    file.read(1, 0)\n"
            "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert child.wait(30) == 0
    child.stdout.close()


def test_import_starts_nothing() -> None:
    done = python(
        """
        import os
        before = set(os.listdir("/proc/self/fd"))
        import fsys
        assert len(os.listdir("/proc/self/task")) == 1
        with fsys.Handle() as handle:
            assert len(os.listdir("/proc/self/task")) == 1
        assert len(set(os.listdir("/proc/self/fd")) - before) == 0
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
