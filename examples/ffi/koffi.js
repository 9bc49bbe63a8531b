// SPDX-License-Identifier: Apache-2.0 OR MIT

// libfsys from Node.js, by koffi (npm install koffi).
//
//   node koffi.js DIRECTORY
//
// Node can't watch a foreign descriptor, so completions are waited for on its own thread pool:
// `fsys_wait.async`. (A program with many ops in flight gives one such call to fsys_reap, in a loop,
// and looks its promises up by user_data.) The Buffers of an op are referred to until its completion
// has been taken: their memory is the kernel's till then.
'use strict';
const koffi = require('koffi');
const { promisify } = require('util');

const lib = koffi.load('libfsys.so.1');

koffi.struct('fsys_options', {
    struct_size: 'uint32_t', flags: 'uint32_t', backend: 'uint32_t', driver: 'uint32_t',
    max_ops: 'uint32_t', max_files: 'uint32_t', pool_threads: 'uint32_t',
    registered_files: 'uint32_t', close_timeout_ns: 'uint64_t', submit_timeout_ns: 'uint64_t',
    arena_bytes: 'uint64_t', root: 'const char *', error_text: 'void *', error_text_size: 'size_t',
});
koffi.struct('fsys_file_options', {
    struct_size: 'uint32_t', flags: 'uint32_t', mode: 'uint32_t', reserved: 'uint32_t',
    error_text: 'void *', error_text_size: 'size_t',
});
koffi.struct('fsys_result', {
    user_data: 'uint64_t', op: 'uint64_t', result: 'int64_t', bytes_done: 'uint64_t',
    step: 'uint32_t', lane: 'uint32_t',
});
koffi.opaque('fsys');
koffi.opaque('fsys_file');

const FOREVER = -1n;
const DURABLE = 0x2;
const READ = 0x1, WRITE = 0x2, CREATE = 0x4, TRUNCATE = 0x10;
const ENOENT = 2, E_CLOSED = -4097;

const version = lib.func('uint32_t fsys_version()');
const strerror = lib.func('const char *fsys_strerror(int code)');
const errorName = lib.func('const char *fsys_error_name(int code)');
const open = lib.func('int fsys_open(const fsys_options *options, _Out_ fsys **handle)');
const close = lib.func('int fsys_close(fsys *handle)');
const fileOpen = lib.func(
    'int fsys_file_open(fsys *handle, const char *path, const fsys_file_options *options, ' +
    '_Out_ fsys_file **file)');
const fileClose = lib.func('int fsys_file_close(fsys_file *file)');
const submitWrite = lib.func(
    'int fsys_submit_write(fsys_file *file, const void *buffer, size_t length, uint64_t offset, ' +
    'uint32_t flags, uint64_t user_data, _Out_ uint64_t *op)');
const submitRead = lib.func(
    'int fsys_submit_read(fsys_file *file, void *buffer, size_t length, uint64_t offset, ' +
    'uint32_t flags, uint64_t user_data, _Out_ uint64_t *op)');
const wait = lib.func(
    'int fsys_wait(fsys *handle, uint64_t op, int64_t timeout_ns, _Out_ fsys_result *result)');

function must(code) {
    if (code < 0) {
        throw new Error(`${errorName(Number(code))}: ${strerror(Number(code))}`);
    }
    return code;
}

// Waits on a thread of Node's pool; the event loop goes on.
const waitAsync = promisify(wait.async);
async function completion(engine, op) {
    const result = {};
    must(await waitAsync(engine, op, FOREVER, result));
    must(result.result);
    return Number(result.result);
}

async function main() {
    if (process.argv.length !== 3) {
        console.error('usage: koffi.js DIRECTORY');
        process.exit(1);
    }
    // struct_size is the size of this declaration, never one asked from the library.
    const options = { struct_size: koffi.sizeof('fsys_options'), root: process.argv[2] };
    const engineOut = [null], fileOut = [null], op = [0];
    must(open(options, engineOut));
    const engine = engineOut[0];
    const how = { struct_size: koffi.sizeof('fsys_file_options'), flags: READ | WRITE | CREATE | TRUNCATE };
    must(fileOpen(engine, 'ffi.dat', how, fileOut));
    const file = fileOut[0];

    const text = Buffer.from('safe at last');
    must(submitWrite(file, text, text.length, 0, DURABLE, 0, op));
    await completion(engine, op[0]);

    const back = Buffer.alloc(text.length);
    must(submitRead(file, back, back.length, 0, 0, 0, op));
    const bytes = await completion(engine, op[0]);
    if (bytes !== text.length || !back.equals(text)) {
        throw new Error('read something else');
    }

    // An error is a negative errno, or a code of the library below -4096.
    const why = Buffer.alloc(256);
    const absent = {
        struct_size: koffi.sizeof('fsys_file_options'), error_text: why, error_text_size: why.length,
    };
    if (fileOpen(engine, 'absent', absent, fileOut) !== -ENOENT) {
        throw new Error('opened what is not there');
    }
    console.log(`expected: ${why.toString('utf8', 0, why.indexOf(0))}`);

    must(fileClose(file));
    must(close(engine));
    if (close(engine) !== E_CLOSED) {
        throw new Error('closed twice');
    }
    console.log(`Node: libfsys ${version() >> 16}.${(version() >> 8) & 255}, ` +
        `${bytes} bytes written durable and read back`);
}

main().catch((error) => {
    console.error(error.message);
    process.exit(1);
});
