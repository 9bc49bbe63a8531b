#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""libfsys from Python with nothing but ctypes. (For programs there is the module `fsys`.)

usage: fsys_ctypes.py DIRECTORY
"""
import ctypes as c
import errno
import select
import sys

lib = c.CDLL("libfsys.so.1")

FOREVER = -1
DURABLE = 0x2
READ, WRITE, CREATE, TRUNCATE = 0x1, 0x2, 0x4, 0x10
E_CLOSED = -4097


class Options(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32), ("flags", c.c_uint32), ("backend", c.c_uint32),
        ("driver", c.c_uint32), ("max_ops", c.c_uint32), ("max_files", c.c_uint32),
        ("pool_threads", c.c_uint32), ("registered_files", c.c_uint32),
        ("close_timeout_ns", c.c_uint64), ("submit_timeout_ns", c.c_uint64),
        ("arena_bytes", c.c_uint64), ("root", c.c_char_p), ("error_text", c.c_char_p),
        ("error_text_size", c.c_size_t),
    ]


class FileOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32), ("flags", c.c_uint32), ("mode", c.c_uint32),
        ("reserved", c.c_uint32), ("error_text", c.c_void_p), ("error_text_size", c.c_size_t),
    ]


class Result(c.Structure):
    _fields_ = [
        ("user_data", c.c_uint64), ("op", c.c_uint64), ("result", c.c_int64),
        ("bytes_done", c.c_uint64), ("step", c.c_uint32), ("lane", c.c_uint32),
    ]


def declare(name, result, *arguments):
    """Without argtypes ctypes passes ints as 32 bits and cuts pointers."""
    function = getattr(lib, name)
    function.restype, function.argtypes = result, arguments
    return function


handle, pointer, u64, u32 = c.c_void_p, c.POINTER, c.c_uint64, c.c_uint32
version = declare("fsys_version", u32)
strerror = declare("fsys_strerror", c.c_char_p, c.c_int)
error_name = declare("fsys_error_name", c.c_char_p, c.c_int)
open_ = declare("fsys_open", c.c_int, pointer(Options), pointer(handle))
close = declare("fsys_close", c.c_int, handle)
file_open = declare("fsys_file_open", c.c_int, handle, c.c_char_p, pointer(FileOptions),
                    pointer(handle))
file_close = declare("fsys_file_close", c.c_int, handle)
submit_write = declare("fsys_submit_write", c.c_int, handle, c.c_void_p, c.c_size_t, u64, u32, u64,
                       pointer(u64))
submit_read = declare("fsys_submit_read", c.c_int, handle, c.c_void_p, c.c_size_t, u64, u32, u64,
                      pointer(u64))
wait = declare("fsys_wait", c.c_int, handle, u64, c.c_int64, pointer(Result))
event_fd = declare("fsys_event_fd", c.c_int, handle)
reap = declare("fsys_reap", c.c_int, handle, pointer(Result), u32, c.c_int64)


def must(code):
    """A negative code as the exception that Python has for it."""
    if -4096 < code < 0:
        raise OSError(-code, strerror(code).decode())
    if code < 0:
        raise RuntimeError(f"{error_name(code).decode()}: {strerror(code).decode()}")
    return code


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # struct_size is the size of this declaration, never one asked from the library.
    options = Options(struct_size=c.sizeof(Options), root=sys.argv[1].encode())
    engine, file = handle(), handle()
    must(open_(options, engine))
    how = FileOptions(struct_size=c.sizeof(FileOptions), flags=READ | WRITE | CREATE | TRUNCATE)
    must(file_open(engine, b"ffi.dat", how, file))

    # With a token: waited for by name. `text` and `back` are referred to until the completion has
    # been taken: their memory is the kernel's till then.
    text = c.create_string_buffer(b"safe at last")
    op, result = u64(), Result()
    must(submit_write(file, text, len(text), 0, DURABLE, 0, op))
    must(wait(engine, op, FOREVER, result))
    must(result.result)

    # Without (None): the completion comes to the queue, and the event descriptor tells.
    back = c.create_string_buffer(len(text))
    must(submit_read(file, back, len(back), 0, 0, 42, None))
    while must(reap(engine, result, 1, 0)) == 0:
        ready, _, _ = select.select([must(event_fd(engine))], [], [], 10)
        assert ready, "no event"
    assert (result.user_data, result.result) == (42, len(text)) and back.raw == text.raw

    # An error is a negative errno, or a code of the library below -4096.
    why = c.create_string_buffer(256)
    absent = FileOptions(struct_size=c.sizeof(FileOptions), error_text=c.addressof(why),
                         error_text_size=len(why))
    assert file_open(engine, b"absent", absent, handle()) == -errno.ENOENT
    print(f"expected: {why.value.decode()} ({error_name(-errno.ENOENT).decode()})")

    must(file_close(file))
    must(close(engine))
    assert close(engine) == E_CLOSED
    print(f"Python: libfsys {version() >> 16}.{version() >> 8 & 255}, "
          f"{result.result} bytes written durable and read back")


main()
