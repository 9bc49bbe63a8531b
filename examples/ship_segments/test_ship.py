# SPDX-License-Identifier: Apache-2.0 OR MIT
"""ship_segments against a store that fails, is killed in the middle, and goes on: every record that
was acknowledged is in what arrived, once and in order."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import receive  # noqa: E402
import read_journal  # noqa: E402  (receive.py says where it is)

PROGRAM = os.environ["SHIP_SEGMENTS"]
CHECK = os.environ["CHECK_JOURNAL"]


class Flaky(receive.Handler):
    """Fails as stores do: server.plan says what to do with the n-th request."""

    def do_PUT(self):  # noqa: N802
        server = self.server
        server.requests += 1
        trouble = server.plan.get(server.requests)
        if trouble == "kill, not stored":
            server.child.send_signal(signal.SIGKILL)
            self.close_connection = True
            return
        if trouble == "busy":
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(503)
            return
        if trouble == "bits flip":
            self.rfile = Flipped(self.rfile)
        if trouble == "kill, stored":
            # The store has it and the shipper will never know.
            self.answer = lambda status: server.child.send_signal(signal.SIGKILL)
            self.close_connection = True
        super().do_PUT()


class Flipped:
    def __init__(self, file):
        self.file = file

    def read(self, count):
        data = bytearray(self.file.read(count))
        data[len(data) // 2] ^= 0x10
        return bytes(data)

    def close(self):
        self.file.close()


class Ship(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="fsys-ship-", dir=os.environ.get("FSYS_TEST_DIR"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.journal = os.path.join(self.dir, "journal")
        self.server = receive.serve(os.path.join(self.dir, "store"), handler=Flaky)
        self.server.requests = 0
        self.server.plan = {}
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def run_once(self, run, records):
        """@return (exit code, acknowledged, stderr)"""
        address = f"127.0.0.1:{self.server.server_address[1]}"
        with subprocess.Popen([PROGRAM, self.journal, address, "db", str(run), str(records)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            self.server.child = child
            out, err = child.communicate(timeout=60)
            return child.returncode, [line.split() for line in out.splitlines()], err

    def restored(self):
        """Records of what has arrived, after both readers found it whole."""
        copy = os.path.join(self.dir, "copy")
        shutil.rmtree(copy, ignore_errors=True)
        receive.restore(os.path.join(self.dir, "store", "db"), copy)
        done = subprocess.run([CHECK, copy], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("clean", done.stdout)
        found = []
        for _, data in read_journal.read(copy):
            text = re.match(rb"run (\d+) record (\d+)", data)
            self.assertEqual(len(data), 1000)
            found.append((int(text[1]), int(text[2])))
        return found

    def test_killed_and_going_on(self):
        # Before the object is stored, after it is, and with a store that is busy in between.
        self.server.plan = {2: "kill, not stored", 4: "busy", 5: "kill, stored"}
        acknowledged = []
        for run in (1, 2, 3):
            code, lines, err = self.run_once(run, 400)
            self.assertEqual(code, 0 if run == 3 else -signal.SIGKILL, err)
            if lines:
                acknowledged.append((run, int(lines[-1][1])))
        self.assertEqual(acknowledged[-1], (3, 399))
        found = self.restored()
        # Each run is there from its first record on without a gap, runs in order, nothing twice,
        # and at least as far as was acknowledged.
        for run in (1, 2, 3):
            numbers = [number for one, number in found if one == run]
            self.assertEqual(numbers, list(range(len(numbers))))
        self.assertEqual(found, sorted(found))
        for run, last in acknowledged:
            self.assertIn((run, last), found)
        # It went on where it was: one put more for each trouble, not all of them again.
        stored = [name for name in os.listdir(os.path.join(self.dir, "store", "db"))
                  if name.endswith(".fsj")]
        self.assertGreaterEqual(len(stored), 9)
        self.assertLess(self.server.requests, len(stored) + 6)
        # What was shipped has been trimmed: the journal itself is short again.
        left = [name for name in os.listdir(self.journal) if name.endswith(".fsj")]
        self.assertLessEqual(len(left), 2, left)

    def test_damaged_on_the_way_is_refused(self):
        self.server.plan = {1: "bits flip"}
        code, _, err = self.run_once(1, 200)
        self.assertEqual(code, 1)
        self.assertIn("the store says 422", err)
        self.assertEqual([name for name in os.listdir(os.path.join(self.dir, "store", "db"))
                          if name.endswith(".fsj")], [])
        # Nothing was trimmed: the next try ships all of it.
        code, _, err = self.run_once(2, 20)
        self.assertEqual(code, 0, err)
        self.assertEqual([number for run, number in self.restored() if run == 1],
                         list(range(200)))


if __name__ == "__main__":
    unittest.main()
