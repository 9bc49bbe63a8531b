#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The other end of ship_segments.c: an object store that takes sealed segments by PUT, verifies
each before it says 201, and can make a journal of them again. Python's standard library, and
tests/journal/read_journal.py, which knows the format (docs/journal-format.md).

usage: receive.py store DIRECTORY [PORT]     serves until it is killed
       receive.py restore DIRECTORY JOURNAL  JOURNAL: a new directory"""

import http.server
import os
import re
import shutil
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "tests", "journal"))
import read_journal  # noqa: E402

NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8,16}\.fsj")


def verify(path):
    """Every frame of a sealed segment, to its very end; @return (segment, end LSN)."""
    segment = read_journal.Segment(path)
    at = segment.first
    end = segment.first + len(segment.bytes) - 4096
    while at < end:
        # Fewer than 40 bytes are no frame: zeros, skipped.
        if end - at < 40 and not any(segment.bytes[4096 + at - segment.first:]):
            break
        frame = segment.frame(at)
        if frame is None:
            raise read_journal.Damaged(f"{path}: no good frame at {at}")
        at = frame[3]
    return segment, end


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def store(directory, name, body):
    """Durable under its name when this returns; @return an HTTP status."""
    final = os.path.join(directory, name)
    if os.path.exists(final):
        with open(final, "rb") as file:
            # Shipped twice after a crash: the same bytes, or something is badly wrong.
            return 200 if file.read() == body else 409
    # In a folder of its own, so that it can have its final name while it is verified.
    folder = os.path.join(directory, "arriving")
    os.makedirs(folder, exist_ok=True)
    arriving = os.path.join(folder, name)
    with open(arriving, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    try:
        verify(arriving)
    except (read_journal.Damaged, struct.error) as found:
        print(found, file=sys.stderr)
        os.remove(arriving)
        return 422
    os.rename(arriving, final)
    sync_directory(directory)
    return 201


class Handler(http.server.BaseHTTPRequestHandler):
    """PUT /PREFIX/NAME; server.directory holds the prefixes."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):  # noqa: N802 (the name that http.server calls)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        prefix, _, name = self.path.strip("/").partition("/")
        if not NAME.fullmatch(name) or not prefix.isalnum():
            self.answer(400)
            return
        folder = os.path.join(self.server.directory, prefix)
        os.makedirs(folder, exist_ok=True)
        self.answer(store(folder, name, body))

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(directory, port=0, handler=Handler):
    """A server that is not running yet; its port is server_address[1]."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.directory = directory
    return server


def watermark_slot(segments, end):
    """What tells a journal's extent: format.md, "Watermark". Written here because segments alone
    do not say whether more had been acknowledged: this copy ends at `end`, in good order."""
    first, last = segments[0], segments[-1]
    fields = struct.pack("<I16s8Q", 1, last.uuid, 1, last.epoch, end, first.first, 0, 0,
                         last.number, 1)
    body = fields.ljust(500, b"\0")
    return b"FSYSWMK1" + struct.pack("<I", read_journal.crc(0xFFFFFFFF, body)) + body


def restore(directory, journal):
    """A journal of all segments in `directory`, as a clean copy."""
    names = sorted(name for name in os.listdir(directory) if NAME.fullmatch(name))
    if not names:
        raise read_journal.Damaged(f"{directory}: no segment")
    os.mkdir(journal)
    checked = []
    end = 0
    for name in names:
        segment, end = verify(os.path.join(directory, name))
        checked.append(segment)
        shutil.copyfile(os.path.join(directory, name), os.path.join(journal, name))
    slot = watermark_slot(checked, end)
    with open(os.path.join(journal, "watermark"), "wb") as file:
        file.write(slot.ljust(4096, b"\0") + slot.ljust(4096, b"\0") + bytes(4096))


def main():
    if len(sys.argv) in (3, 4) and sys.argv[1] == "store":
        server = serve(sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else 0)
        print(server.server_address[1], flush=True)
        server.serve_forever()
    elif len(sys.argv) == 4 and sys.argv[1] == "restore":
        restore(sys.argv[2], sys.argv[3])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
