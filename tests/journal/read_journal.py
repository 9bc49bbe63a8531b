#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Reads a journal by docs/journal-format.md alone and prints one line per record:
LSN, length, and the CRC-32C of its bytes. The second implementation that proves the document.

usage: read_journal.py DIRECTORY [--expect FILE]   (FILE: the lines that must come out)
Exit status: 0 read to a clean or torn end, 2 damaged, 1 other trouble."""

import os
import re
import struct
import sys

TABLE = []
for i in range(256):
    value = i
    for _ in range(8):
        value = (value >> 1) ^ 0x82F63B78 if value & 1 else value >> 1
    TABLE.append(value)


def crc(state, data):
    for byte in data:
        state = TABLE[(state ^ byte) & 255] ^ (state >> 8)
    return state


class Damaged(Exception):
    pass


class Segment:
    FIELDS = struct.Struct("<8sII16sQQQQIIQQQIIQ")

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        block = self.bytes[:4096]
        if len(block) < 4096:
            raise Damaged(f"{path}: no header block")
        (magic, self.crc, version, self.uuid, self.number, self.epoch, self.first, self.room,
         _, header_bytes, self.prev_number, self.prev_last, self.prev_epoch, self.prev_crc,
         flags, self.open_group) = self.FIELDS.unpack_from(block)
        if (magic != b"FSYSJNL1" or self.crc != crc(0xFFFFFFFF, block[12:]) or version != 1
                or header_bytes != 4096 or flags != 0 or any(block[112:])):
            raise Damaged(f"{path}: the header does not check")
        if os.path.basename(path) != f"{self.first:016x}-{self.number:08x}.fsj":
            raise Damaged(f"{path}: holds another segment's header")
        self.key = crc(0xFFFFFFFF, self.uuid + struct.pack("<Q", self.epoch))

    def header(self, at):
        """The frame header at a position, or None."""
        offset = 4096 + at - self.first
        raw = self.bytes[offset:offset + 40]
        if len(raw) < 40:
            return None
        (check, magic, kind, flags, length, body, lsn, durable, stream, codec, key_id,
         reserved) = struct.unpack("<IHBBIIQQIBBH", raw)
        if (magic != 0x4A46 or lsn != at or check != crc(self.key, raw[4:]) or kind not in (1, 2)
                or flags & ~7 or codec or key_id or reserved):
            return None
        return kind, flags, length, body, durable

    def frame(self, at):
        """(kind, flags, payload, next position), or None."""
        header = self.header(at)
        if header is None:
            return None
        kind, flags, length, body, _ = header
        offset = 4096 + at - self.first + 40
        padded = self.bytes[offset:offset + (length + 7) // 8 * 8]
        if len(padded) < (length + 7) // 8 * 8 or at + 40 + len(padded) > self.first + self.room:
            return None
        if crc(crc(self.key, struct.pack("<Q", at)), padded) != body:
            return None
        return kind, flags, padded[:length], at + 40 + len(padded)


def watermark(directory):
    best = None
    with open(os.path.join(directory, "watermark"), "rb") as file:
        data = file.read(8192)
    for offset in (0, 4096):
        slot = data[offset:offset + 512]
        magic, check, version, uuid, *rest = struct.unpack_from("<8sII16s8Q", slot)
        if magic == b"FSYSWMK1" and check == crc(0xFFFFFFFF, slot[12:]) and version == 1:
            if best is None or rest[0] > best[1]:
                best = (uuid, *rest)
    if best is None:
        raise Damaged("neither watermark slot checks")
    return best


def read(directory):
    uuid, _, _, durable, trim, cut, cut_epoch, _, _ = watermark(directory)
    names = [n for n in os.listdir(directory) if re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8,16}\.fsj", n)]
    chain = sorted((Segment(os.path.join(directory, n)) for n in names), key=lambda s: s.number)
    chain = [s for s in chain if not (s.epoch <= cut_epoch and s.first >= cut)]
    while len(chain) > 1 and chain[1].first <= trim:
        chain.pop(0)
    for before, here in zip(chain, chain[1:]):
        if (here.number != before.number + 1 or here.prev_crc != before.crc
                or here.prev_last != here.first or here.prev_epoch != before.epoch):
            raise Damaged(f"segment {here.number} does not follow {before.number}")
    if any(s.uuid != uuid for s in chain):
        raise Damaged("a segment of another journal")
    if chain and chain[0].first > trim:
        raise Damaged("the oldest segment is missing")
    records, group, parts, joining = [], [], b"", False
    at = chain[0].first if chain else trim
    for index, segment in enumerate(chain):
        last = index + 1 == len(chain)
        end = segment.first + segment.room
        limit = end if last else chain[index + 1].first
        if last and segment.epoch <= cut_epoch:
            limit = min(limit, cut)
        while at < limit:
            if end - at < 40 and not any(segment.bytes[4096 + at - segment.first:][:end - at]):
                at = end
                continue
            frame = segment.frame(at)
            if frame is None:
                break
            kind, flags, payload, at = frame
            if kind == 1:
                joining = joining or not flags & 4
                parts += payload if joining else b""
                if not flags & 2:
                    if joining:
                        group.append((at, parts))
                    parts, joining = b"", False
            if not flags & 1:
                records += group
                group = []
        if at < limit and not last:
            raise Damaged(f"no good frame at {at}")
        if last and at < limit:
            for later in range(at + 8, segment.first + len(segment.bytes) - 4096, 8):
                header = segment.header(later)
                if header is not None and header[4] > at:
                    raise Damaged(f"no good frame at {at}, the one at {later} proves it was durable")
    if at < durable:
        raise Damaged(f"the log ends at {at}, the watermark says {durable}")
    return records


def main():
    try:
        records = read(sys.argv[1])
    except Damaged as found:
        print(f"damaged: {found}", file=sys.stderr)
        return 2
    lines = [f"{lsn} {len(data)} {crc(0xFFFFFFFF, data):08x}" for lsn, data in records]
    if len(sys.argv) > 3 and sys.argv[2] == "--expect":
        with open(sys.argv[3], encoding="ascii") as file:
            if file.read().splitlines() != lines:
                print("other records than expected", file=sys.stderr)
                return 1
        return 0
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
