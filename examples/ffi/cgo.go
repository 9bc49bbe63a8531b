// SPDX-License-Identifier: Apache-2.0 OR MIT

// libfsys from Go, by cgo.
//
//	go run cgo.go DIRECTORY      (PKG_CONFIG_PATH where fsys.pc is)
//
// Memory that an op uses must not be Go's, which may move and be collected: take it from C, as here,
// or keep it pinned (runtime.Pinner) until the completion has been taken. A goroutine that waits in
// C holds an operating-system thread; many waiting goroutines should instead sleep on channels that
// one goroutine feeds from fsys_reap.
package main

/*
#cgo pkg-config: fsys
#include <fsys/fsys.h>
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// A negative code as a Go error: a syscall.Errno where it is one.
func check(code C.int64_t) error {
	switch {
	case code >= 0:
		return nil
	case code > -4096:
		return syscall.Errno(-code)
	default:
		return fmt.Errorf("%s: %s", C.GoString(C.fsys_error_name(C.int(code))),
			C.GoString(C.fsys_strerror(C.int(code))))
	}
}

func must(code C.int64_t) C.int64_t {
	if err := check(code); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return code
}

func openFile(engine *C.fsys, name string, flags C.uint32_t) (file *C.fsys_file, err error) {
	path := C.CString(name)
	defer C.free(unsafe.Pointer(path))
	var options C.fsys_file_options
	// The size compiled here; the library knows older and newer ones.
	options.struct_size = C.uint32_t(unsafe.Sizeof(options))
	options.flags = flags
	err = check(C.int64_t(C.fsys_file_open(engine, path, &options, &file)))
	return
}

// Sleeps until a descriptor is readable.
func waitReadable(fd C.int) error {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer syscall.Close(epoll)
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &event); err != nil {
		return err
	}
	for {
		// Go's own signals interrupt system calls.
		count, err := syscall.EpollWait(epoll, []syscall.EpollEvent{{}}, 10000)
		if err == nil && count == 0 {
			return fmt.Errorf("no event")
		}
		if err != syscall.EINTR {
			return err
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cgo DIRECTORY")
		os.Exit(1)
	}
	// Held by a struct that C gets a pointer to: C memory as well (cgo's rule).
	root := C.CString(os.Args[1])
	defer C.free(unsafe.Pointer(root))
	var options C.fsys_options
	options.struct_size = C.uint32_t(unsafe.Sizeof(options))
	options.root = root
	var engine *C.fsys
	must(C.int64_t(C.fsys_open(&options, &engine)))
	file, err := openFile(engine, "ffi.dat",
		C.FSYS_FILE_READ|C.FSYS_FILE_WRITE|C.FSYS_FILE_CREATE|C.FSYS_FILE_TRUNCATE)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	// With a token: waited for by name.
	text := C.CString("safe at last")
	length := C.strlen(text)
	var op C.fsys_op
	var result C.fsys_result
	must(C.int64_t(C.fsys_submit_write(file, unsafe.Pointer(text), length, 0, C.FSYS_DURABLE, 0, &op)))
	must(C.int64_t(C.fsys_wait(engine, op, C.FSYS_FOREVER, &result)))
	must(result.result)
	C.free(unsafe.Pointer(text)) // not before the wait has returned 0

	// Without: the completion comes to the queue, and the event descriptor tells.
	back := C.malloc(length)
	must(C.int64_t(C.fsys_submit_read(file, back, length, 0, 0, 42, nil)))
	for must(C.int64_t(C.fsys_reap(engine, &result, 1, 0))) == 0 {
		if err := waitReadable(C.int(must(C.int64_t(C.fsys_event_fd(engine))))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if result.user_data != 42 || C.GoStringN((*C.char)(back), C.int(result.result)) != "safe at last" {
		fmt.Fprintln(os.Stderr, "read something else")
		os.Exit(1)
	}
	C.free(back)

	if _, err = openFile(engine, "absent", C.FSYS_FILE_READ); err != syscall.ENOENT {
		fmt.Fprintln(os.Stderr, "opened what is not there")
		os.Exit(1)
	}
	fmt.Println("expected:", err)

	must(C.int64_t(C.fsys_file_close(file)))
	must(C.int64_t(C.fsys_close(engine)))
	if C.fsys_close(engine) != C.FSYS_E_CLOSED {
		fmt.Fprintln(os.Stderr, "closed twice")
		os.Exit(1)
	}
	fmt.Printf("Go: libfsys %d.%d, %d bytes written durable and read back\n", C.fsys_version()>>16,
		C.fsys_version()>>8&255, result.result)
}
