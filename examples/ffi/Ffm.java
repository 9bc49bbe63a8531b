// SPDX-License-Identifier: Apache-2.0 OR MIT

// libfsys from Java 22 or later, by the foreign-function API of java.base (no JNI, no other library).
//
//   java --enable-native-access=ALL-UNNAMED Ffm.java DIRECTORY
//
// Memory that an op uses comes from an Arena that stays open until the completion has been taken:
// never from an array on the heap, which moves, nor from an arena that a cancelled task closes.

import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

public class Ffm {
    static final Arena FOR_EVER = Arena.global();
    static final Linker LINKER = Linker.nativeLinker();
    static final SymbolLookup FSYS = SymbolLookup.libraryLookup("libfsys.so.1", FOR_EVER);

    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT; // also uint32_t
    static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG; // also uint64_t and size_t
    static final AddressLayout POINTER = ValueLayout.ADDRESS;

    static final StructLayout OPTIONS = MemoryLayout.structLayout(
        INT.withName("struct_size"), INT.withName("flags"), INT.withName("backend"),
        INT.withName("driver"), INT.withName("max_ops"), INT.withName("max_files"),
        INT.withName("pool_threads"), INT.withName("registered_files"),
        LONG.withName("close_timeout_ns"), LONG.withName("submit_timeout_ns"),
        LONG.withName("arena_bytes"), POINTER.withName("root"), POINTER.withName("error_text"),
        LONG.withName("error_text_size"));
    static final StructLayout FILE_OPTIONS = MemoryLayout.structLayout(
        INT.withName("struct_size"), INT.withName("flags"), INT.withName("mode"),
        INT.withName("reserved"), POINTER.withName("error_text"),
        LONG.withName("error_text_size"));
    static final StructLayout RESULT = MemoryLayout.structLayout(
        LONG.withName("user_data"), LONG.withName("op"), LONG.withName("result"),
        LONG.withName("bytes_done"), INT.withName("step"), INT.withName("lane"));
    static final StructLayout POLLFD = MemoryLayout.structLayout(
        INT.withName("fd"), ValueLayout.JAVA_SHORT.withName("events"),
        ValueLayout.JAVA_SHORT.withName("revents"));

    static final int READ = 1, WRITE = 2, CREATE = 4, TRUNCATE = 16, DURABLE = 2;
    static final int ENOENT = 2, E_CLOSED = -4097;
    static final long FOREVER = -1;

    static MethodHandle function(SymbolLookup where, String name, MemoryLayout result,
                                 MemoryLayout... arguments) {
        return LINKER.downcallHandle(where.find(name).orElseThrow(),
                                     FunctionDescriptor.of(result, arguments));
    }

    static final MethodHandle
        version = function(FSYS, "fsys_version", INT),
        strerror = function(FSYS, "fsys_strerror", POINTER, INT),
        open = function(FSYS, "fsys_open", INT, POINTER, POINTER),
        close = function(FSYS, "fsys_close", INT, POINTER),
        fileOpen = function(FSYS, "fsys_file_open", INT, POINTER, POINTER, POINTER, POINTER),
        fileClose = function(FSYS, "fsys_file_close", INT, POINTER),
        submitWrite = function(FSYS, "fsys_submit_write", INT, POINTER, POINTER, LONG, LONG, INT,
                               LONG, POINTER),
        submitRead = function(FSYS, "fsys_submit_read", INT, POINTER, POINTER, LONG, LONG, INT,
                              LONG, POINTER),
        wait = function(FSYS, "fsys_wait", INT, POINTER, LONG, LONG, POINTER),
        eventFd = function(FSYS, "fsys_event_fd", INT, POINTER),
        reap = function(FSYS, "fsys_reap", INT, POINTER, POINTER, INT, LONG),
        poll = function(LINKER.defaultLookup(), "poll", INT, POINTER, LONG, INT);

    static long must(long code) throws Throwable {
        if (code < 0) {
            // A static string: its length is not known to Java, so it is given one that is enough.
            MemorySegment text = (MemorySegment) strerror.invokeExact((int) code);
            throw new java.io.IOException(text.reinterpret(4096).getString(0));
        }
        return code;
    }

    static long field(MemorySegment struct, StructLayout layout, String name) {
        return struct.get(LONG, layout.byteOffset(PathElement.groupElement(name)));
    }

    static void set(MemorySegment struct, StructLayout layout, String name, int value) {
        struct.set(INT, layout.byteOffset(PathElement.groupElement(name)), value);
    }

    static void set(MemorySegment struct, StructLayout layout, String name, MemorySegment value) {
        struct.set(POINTER, layout.byteOffset(PathElement.groupElement(name)), value);
    }

    static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new IllegalStateException(otherwise);
        }
    }

    public static void main(String[] arguments) throws Throwable {
        if (arguments.length != 1) {
            System.err.println("usage: Ffm DIRECTORY");
            System.exit(1);
        }
        try (Arena arena = Arena.ofShared()) {
            MemorySegment options = arena.allocate(OPTIONS); // zeroed
            // The size of this declaration, never one asked from the library.
            set(options, OPTIONS, "struct_size", (int) OPTIONS.byteSize());
            set(options, OPTIONS, "root", arena.allocateFrom(arguments[0]));
            MemorySegment output = arena.allocate(POINTER);
            must((int) open.invokeExact(options, output));
            MemorySegment engine = output.get(POINTER, 0);

            MemorySegment how = arena.allocate(FILE_OPTIONS);
            set(how, FILE_OPTIONS, "struct_size", (int) FILE_OPTIONS.byteSize());
            set(how, FILE_OPTIONS, "flags", READ | WRITE | CREATE | TRUNCATE);
            must((int) fileOpen.invokeExact(engine, arena.allocateFrom("ffi.dat"), how, output));
            MemorySegment file = output.get(POINTER, 0);

            // With a token: waited for by name.
            MemorySegment text = arena.allocateFrom("safe at last");
            MemorySegment op = arena.allocate(LONG);
            MemorySegment result = arena.allocate(RESULT);
            must((int) submitWrite.invokeExact(file, text, text.byteSize(), 0L, DURABLE, 0L, op));
            must((int) wait.invokeExact(engine, op.get(LONG, 0), FOREVER, result));
            must(field(result, RESULT, "result"));

            // Without: the completion comes to the queue, and the event descriptor tells.
            MemorySegment back = arena.allocate(text.byteSize());
            must((int) submitRead.invokeExact(file, back, back.byteSize(), 0L, 0, 42L,
                                              MemorySegment.NULL));
            MemorySegment ready = arena.allocate(POLLFD);
            set(ready, POLLFD, "fd", (int) must((int) eventFd.invokeExact(engine)));
            ready.set(ValueLayout.JAVA_SHORT, 4, (short) 1); // POLLIN
            while (must((int) reap.invokeExact(engine, result, 1, 0L)) == 0) {
                require((int) poll.invokeExact(ready, 1L, 10000) == 1, "no event");
            }
            require(field(result, RESULT, "user_data") == 42 && back.mismatch(text) == -1,
                    "read something else");
            long bytes = field(result, RESULT, "result");

            // An error is a negative errno, or a code of the library below -4096.
            MemorySegment why = arena.allocate(256);
            MemorySegment absent = arena.allocate(FILE_OPTIONS);
            set(absent, FILE_OPTIONS, "struct_size", (int) FILE_OPTIONS.byteSize());
            set(absent, FILE_OPTIONS, "error_text", why);
            absent.set(LONG, FILE_OPTIONS.byteOffset(PathElement.groupElement("error_text_size")),
                       why.byteSize());
            int code = (int) fileOpen.invokeExact(engine, arena.allocateFrom("absent"), absent, output);
            require(code == -ENOENT, "opened what is not there");
            System.out.println("expected: " + why.getString(0));

            must((int) fileClose.invokeExact(file));
            // 0: nothing is in use any more, so the arena may close. Otherwise it must not.
            must((int) close.invokeExact(engine));
            require((int) close.invokeExact(engine) == E_CLOSED, "closed twice");
            int number = (int) version.invokeExact();
            System.out.printf("Java: libfsys %d.%d, %d bytes written durable and read back%n",
                              number >> 16, number >> 8 & 255, bytes);
        }
    }
}
