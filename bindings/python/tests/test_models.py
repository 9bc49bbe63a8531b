# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Stateful models: files against a dict of bytearrays, a journal against a list of records.

A rule may start ops and leave them in flight; what overlaps with them is not written or read until
they are waited for, since ops of one file may run in any order.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, Dict, List, Optional, Set, Tuple, Union

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

import fsys

# Shrinking a failure of a machine takes minutes: only when examples were asked for.
EXAMPLES = os.environ.get("FSYS_PYTHON_EXAMPLES")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 20),
    phases=list(Phase) if EXAMPLES else [Phase.explicit, Phase.reuse, Phase.generate],
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

names = st.sampled_from(["a", "b", "c"])
offsets = st.integers(0, 20_000)


def long(byte: bytes) -> bytes:
    return byte * 5000


blocks = st.binary(max_size=300) | st.builds(long, st.binary(min_size=1, max_size=1))


class Files(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.model: Dict[str, bytearray] = {}
        self.files: Dict[str, fsys.File] = {}
        self.pending: Dict[str, List[Tuple[fsys.Op, Union[int, bytes]]]] = {}

    @initialize(backend=st.sampled_from(["default", "threads"]), ops=st.sampled_from([0, 10]))
    def open_handle(self, backend: str, ops: int) -> None:
        self.handle = fsys.Handle(backend=backend, max_ops=ops)  # type: ignore[arg-type]

    def file(self, name: str) -> fsys.File:
        if name not in self.files:
            self.files[name] = self.handle.open(
                os.path.join(self.directory, name), "r+", create=True
            )
            self.model.setdefault(name, bytearray())
        return self.files[name]

    def settle(self, name: str) -> None:
        for op, expected in self.pending.pop(name, []):
            assert op.wait(60) == expected

    def put(self, name: str, data: bytes, offset: int) -> None:
        content = self.model[name]
        if data and len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data

    @rule(name=names, data=blocks, offset=offsets, durable=st.booleans())
    def write(self, name: str, data: bytes, offset: int, durable: bool) -> None:
        file = self.file(name)
        self.settle(name)
        assert file.write(data, offset, durable=durable) == len(data)
        self.put(name, data, offset)

    @rule(name=names, length=st.integers(0, 6000), offset=offsets)
    def read(self, name: str, length: int, offset: int) -> None:
        file = self.file(name)
        self.settle(name)
        expected = bytes(self.model[name][offset : offset + length])
        assert file.read(length, offset) == expected
        into = bytearray(b"\xff" * length)
        assert file.read_into(into, offset) == len(expected)
        assert into == expected + b"\xff" * (length - len(expected))

    @rule(name=names, data=blocks, offset=offsets)
    def start_write(self, name: str, data: bytes, offset: int) -> None:
        file = self.file(name)
        self.settle(name)
        self.pending[name] = [(file.submit_write(data, offset), len(data))]
        self.put(name, data, offset)

    @rule(name=names, wanted=st.lists(st.tuples(offsets, st.integers(0, 3000)), max_size=3))
    def start_reads(self, name: str, wanted: List[Tuple[int, int]]) -> None:
        file = self.file(name)
        self.settle(name)
        self.pending[name] = [
            (file.submit_read(length, offset), bytes(self.model[name][offset : offset + length]))
            for offset, length in wanted
        ]

    @rule(name=names, data=st.lists(st.binary(min_size=50, max_size=50), max_size=8), gap=offsets)
    def many(self, name: str, data: List[bytes], gap: int) -> None:
        file = self.file(name)
        self.settle(name)
        places = [gap + 50 * i for i in range(len(data))]
        assert file.write_many(data, places) == [50] * len(data)
        for one, place in zip(data, places):
            self.put(name, one, place)
        assert file.read_many(places, 50) == data

    @rule(wanted=st.dictionaries(names, st.none() | blocks), many=st.booleans())
    def replace(self, wanted: Dict[str, Optional[bytes]], many: bool) -> None:
        for name in wanted:
            self.close(name)
        paths = {name: os.path.join(self.directory, name) for name in wanted}
        if many:
            self.handle.replace_many([(paths[name], data) for name, data in wanted.items()])
        for name, data in wanted.items():
            if data is None:
                self.model.pop(name, None)
                if not many:
                    self.handle.unlink(paths[name], missing_ok=True)
                continue
            self.model[name] = bytearray(data)
            if not many:
                with self.handle.begin_replace(paths[name]) as pieces:
                    pieces.write(data[:100])
                    pieces.write(data[100:])
        found = {e.path: e.size for e in self.handle.scan(self.directory) if e.path in wanted}
        assert found == {name: len(data) for name, data in wanted.items() if data is not None}

    @rule(name=names)
    def sync(self, name: str) -> None:
        self.file(name).sync()

    @rule(name=names)
    def close(self, name: str) -> None:
        if name in self.files:
            self.settle(name)
            self.files.pop(name).close()

    @rule(name=names)
    def drop(self, name: str) -> None:
        # Reads that nobody waits for any more go on; writes would race with the next ones.
        if any(isinstance(expected, int) for _, expected in self.pending.get(name, [])):
            self.settle(name)
        self.pending.pop(name, None)
        self.files.pop(name, None)

    @invariant()
    def sizes(self) -> None:
        for name, file in self.files.items():
            if name not in self.pending:
                assert file.info().size == len(self.model[name])

    def teardown(self) -> None:
        if hasattr(self, "handle"):
            for name in list(self.pending):
                self.settle(name)
            self.handle.close()
            for name, content in self.model.items():
                with open(os.path.join(self.directory, name), "rb") as plain:
                    assert plain.read() == content
        shutil.rmtree(self.directory)


class Journals(RuleBasedStateMachine):
    lsns: Bundle[int] = Bundle("lsns")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.path = os.path.join(self.directory, "j")
        self.handle = fsys.Handle()
        self.records: List[Tuple[int, bytes]] = []
        self.trimmed: Set[int] = set()
        self.open()

    def open(self) -> None:
        self.journal = self.handle.journal(
            self.path, segment_bytes=32768, buffer_bytes=65536, spare_segments=0
        )
        self.reader = self.journal.reader()
        self.place = 0  # of the reader: an LSN

    def appended(self, lsn: int, data: bytes) -> int:
        assert not self.records or lsn > self.records[-1][0]
        self.records.append((lsn, data))
        return lsn

    @rule(target=lsns, data=blocks)
    def append(self, data: bytes) -> int:
        return self.appended(self.journal.append(data), data)

    @rule(target=lsns, data=blocks)
    def commit(self, data: bytes) -> int:
        lsn = self.appended(self.journal.commit(data, timeout=60), data)
        assert self.journal.frontiers().durable >= lsn
        return lsn

    @rule(data=st.lists(st.binary(max_size=100), min_size=1, max_size=5))
    def batch(self, data: List[bytes]) -> None:
        for lsn, one in zip(self.journal.append_batch(data), data):
            self.appended(lsn, one)

    @rule(data=st.lists(st.binary(max_size=100), min_size=1, max_size=4), keep=st.integers(0, 15))
    def tickets(self, data: List[bytes], keep: int) -> None:
        held: List[Any] = [self.journal.reserve(len(one)) for one in data]
        for i in reversed(range(len(data))):
            with memoryview(held[i]) as memory:
                memory[:] = data[i]
            if keep >> i & 1:
                held[i].publish()
            else:
                held[i].abandon()
        for ticket, one in zip(held, data):
            if ticket.lsn:
                self.appended(ticket.lsn, one)

    @rule()
    def sync(self) -> None:
        self.journal.sync(timeout=60)

    @rule()
    def rotate(self) -> None:
        self.journal.rotate()

    @rule(lsn=lsns)
    def trim(self, lsn: int) -> None:
        self.journal.sync()
        if self.records and lsn <= self.records[-1][0]:
            self.journal.trim(lsn)
            # Whole segments: what is at or below may go, the rest must stay.
            self.trimmed.update(one for one, _ in self.records if one <= lsn)

    @rule(lsn=lsns)
    def truncate(self, lsn: int) -> None:
        if lsn in [one for one, _ in self.records] and lsn not in self.trimmed:
            self.journal.truncate(lsn)
            self.records = [(one, data) for one, data in self.records if one <= lsn]
            self.reader = self.journal.reader()
            self.place = 0

    @rule()
    def follow(self) -> None:
        self.journal.sync()
        self.expect(self.reader, self.place)
        self.place = self.records[-1][0] if self.records else self.place

    @rule(lsn=lsns)
    def seek(self, lsn: int) -> None:
        self.journal.sync()
        if self.records and lsn <= self.records[-1][0] and lsn not in self.trimmed:
            self.reader.seek(lsn)
            self.place = lsn

    @rule(clean=st.booleans())
    def reopen(self, clean: bool) -> None:
        if clean:
            self.journal.close()
        else:
            self.handle.close()  # closes the journal
            self.handle = fsys.Handle()
        self.open()
        assert self.journal.report.verdict in ("clean", "fresh")

    def expect(self, reader: fsys.Reader, after: int) -> None:
        got = [(r.lsn, r.data) for r in reader if r.kind is fsys.RecordKind.RECORD]
        wanted = [(lsn, data) for lsn, data in self.records if lsn > after]
        missing = wanted[: len(wanted) - len(got)]
        assert got == wanted[len(missing) :]
        assert all(lsn in self.trimmed for lsn, _ in missing)

    def teardown(self) -> None:
        self.journal.sync()
        self.expect(self.journal.reader(), 0)
        self.journal.close()
        self.expect(self.handle.reader(self.path), 0)
        assert fsys.check_journal(self.path, deep=True).verdict in ("clean", "fresh")
        self.handle.close()
        shutil.rmtree(self.directory)


TestFiles = Files.TestCase
TestFiles.settings = SETTINGS
TestJournals = Journals.TestCase
TestJournals.settings = SETTINGS
