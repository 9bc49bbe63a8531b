/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Every call of the journal with what no caller should give it: garbage, closed and foreign handles,
 * NULLs, absurd lengths, counts and positions, unknown flags, from one thread and from many. Each is
 * refused with the code that the header names, and the journal works afterwards.
 */
#include <fsys/journal.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

#include "check.h"

#define UNKNOWN_FLAG 0x80000000u

static char directory[] = "fsys-hostile.XXXXXX";
static char path[64];
static fsys *handle;

static fsys_journal *opened(void) {
    const fsys_journal_options options = {.struct_size = sizeof options,
                                          .segment_bytes = 65536,
                                          .buffer_bytes = 65536,
                                          .block_bytes = 512};
    fsys_journal *journal = NULL;
    EXPECT(fsys_journal_open(handle, path, &options, NULL, &journal), 0);
    return journal;
}

/* Every call on these two, with arguments that are good otherwise. */
static void every_call(fsys_journal *j, fsys_journal_reader *r, int wanted) {
    char byte = 'x';
    fsys_iovec piece = {&byte, 1};
    uint64_t lsn = 0;
    fsys_op op = 0;
    fsys_journal_ticket ticket = {0};
    fsys_journal_frontiers frontiers;
    fsys_journal_pinned pinned;
    fsys_journal_segment segment;
    fsys_journal_stats stats = {.struct_size = sizeof stats};
    fsys_journal_record record;
    fsys_journal_reader *reader = NULL;
    char text[32];
    EXPECT(fsys_journal_append(j, &byte, 1, 0, &lsn), wanted);
    EXPECT(fsys_journal_appendv(j, &piece, 1, 0, &lsn), wanted);
    EXPECT(fsys_journal_append_batch(j, &piece, 1, 0, &lsn, NULL), wanted);
    EXPECT(fsys_journal_reserve(j, 1, 0, &ticket), wanted);
    EXPECT(fsys_journal_publish(j, &ticket, &lsn), wanted);
    EXPECT(fsys_journal_abandon(j, &ticket), wanted);
    EXPECT(fsys_journal_sync(j, 0, FSYS_FOREVER), wanted);
    EXPECT(fsys_journal_commit(j, &byte, 1, 0, FSYS_FOREVER, &lsn), wanted);
    EXPECT(fsys_journal_submit_sync(j, 0, 0, &op), wanted);
    EXPECT(fsys_journal_submit_commit(j, &byte, 1, 0, 0, &lsn, &op), wanted);
    EXPECT(fsys_journal_write_out(j), wanted);
    EXPECT(fsys_journal_frontier(j, &frontiers), wanted);
    EXPECT(fsys_journal_trim(j, 0), wanted);
    EXPECT(fsys_journal_truncate(j, 4096), wanted);
    EXPECT(fsys_journal_rotate(j), wanted);
    EXPECT(fsys_journal_pin(j, "p", 4096, 0), wanted);
    EXPECT(fsys_journal_unpin(j, "p"), wanted);
    EXPECT(fsys_journal_pins(j, &pinned, 1), wanted);
    EXPECT(fsys_journal_snapshot(j, 0, "nowhere"), wanted);
    EXPECT(fsys_journal_segments(j, &segment, 1), wanted);
    EXPECT(fsys_journal_stat(j, &stats), wanted);
    EXPECT(fsys_journal_cause(j, text, sizeof text), wanted);
    EXPECT(fsys_journal_reader_open(j, 0, 0, &reader), wanted);
    EXPECT(fsys_journal_reader_next(r, FSYS_FOREVER, &record), wanted);
    EXPECT(fsys_journal_reader_seek(r, 0), wanted);
    EXPECT(fsys_journal_reader_skip_damage(r, &lsn, &lsn), wanted);
    EXPECT(fsys_journal_reader_close(r), wanted);
    EXPECT(fsys_journal_close(j), wanted);
    CHECK(op == 0 && reader == NULL && lsn == 0);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void handles(void) {
    fsys_journal *journal = opened();
    fsys_journal_reader *reader = NULL;
    EXPECT(fsys_journal_reader_open(journal, 0, 0, &reader), 0);
    const uintptr_t good[] = {(uintptr_t)journal, (uintptr_t)reader, (uintptr_t)handle};
    uint64_t state = UINT64_C(88172645463325252);
    for (int i = 0; i < 3000; i++) {
        const uintptr_t value = i < 64   ? (uintptr_t)(UINT64_C(1) << i)
                                : i < 70 ? (uintptr_t)(i - 67)
                                         : (uintptr_t)(next_random(&state) >> (i % 60));
        if (value != good[0] && value != good[1] && value != good[2]) {
            every_call((fsys_journal *)value, (fsys_journal_reader *)value, FSYS_E_CLOSED);
        }
    }
    /* One bit beside a good one; the two kinds exchanged; an engine; memory. */
    for (int bit = 0; bit < 64; bit++) {
        every_call((fsys_journal *)(good[0] ^ (uintptr_t)1 << bit),
                   (fsys_journal_reader *)(good[1] ^ (uintptr_t)1 << bit), FSYS_E_CLOSED);
    }
    every_call((fsys_journal *)reader, (fsys_journal_reader *)journal, FSYS_E_CLOSED);
    every_call((fsys_journal *)handle, (fsys_journal_reader *)handle, FSYS_E_CLOSED);
    every_call((fsys_journal *)&state, (fsys_journal_reader *)&state, FSYS_E_CLOSED);
    EXPECT(fsys_file_close((fsys_file *)journal), FSYS_E_CLOSED);
    EXPECT(fsys_close((fsys *)journal), FSYS_E_CLOSED);
    EXPECT(fsys_journal_close(journal), -EBUSY); /* its reader is open */
    EXPECT(fsys_journal_reader_close(reader), 0);
    EXPECT(fsys_journal_close(journal), 0);
    /* Closed stays closed, also when the place has been given to others. */
    for (int i = 0; i < 20; i++) {
        every_call(journal, reader, FSYS_E_CLOSED);
        EXPECT(fsys_journal_close(opened()), 0);
    }
}

static void arguments(void) {
    fsys_journal *out = (fsys_journal *)(uintptr_t)42;
    const fsys_journal_options good = {.struct_size = sizeof good};
    fsys_journal_options options = good;
#define BAD(member, value, wanted)                                              \
    options = good;                                                             \
    options.member = value;                                                     \
    EXPECT(fsys_journal_open(handle, path, &options, NULL, &out), wanted);      \
    CHECK(out == (fsys_journal *)(uintptr_t)42)
    BAD(struct_size, 0, FSYS_E_BAD_STRUCT);
    BAD(struct_size, UINT32_MAX, FSYS_E_BAD_STRUCT);
    BAD(flags, UNKNOWN_FLAG, FSYS_E_BAD_FLAG);
    BAD(mode, 3, FSYS_E_BAD_FLAG);
    BAD(preallocate, UINT32_MAX, FSYS_E_BAD_FLAG);
    BAD(reserved, 1, -EINVAL);
    BAD(segment_bytes, 1, -EINVAL);
    BAD(segment_bytes, UINT64_MAX, -EINVAL);
    BAD(segment_bytes, 65536 + 512, -EINVAL); /* no multiple of the block */
    BAD(buffer_bytes, 65535, -EINVAL);
    BAD(buffer_bytes, UINT64_MAX, -EINVAL);
    BAD(block_bytes, 1, -EINVAL);
    BAD(block_bytes, 513, -EINVAL);
    BAD(block_bytes, UINT32_MAX, -EINVAL);
    BAD(reserve_segments, UINT32_MAX, -EINVAL);
    BAD(spare_segments, UINT32_MAX - 1, -EINVAL);
#undef BAD
    EXPECT(fsys_journal_open(handle, NULL, &good, NULL, &out), -EINVAL);
    EXPECT(fsys_journal_open(handle, path, &good, NULL, NULL), -EINVAL);
    EXPECT(fsys_journal_open(handle, "", &good, NULL, &out), -ENOENT);
    fsys_journal_report report = {.struct_size = 3};
    EXPECT(fsys_journal_open(handle, path, &good, &report, &out), FSYS_E_BAD_STRUCT);
    CHECK(out == (fsys_journal *)(uintptr_t)42);

    fsys_journal *j = opened();
    char byte = 'x';
    uint64_t lsn = 0;
    fsys_op op = 0;
    fsys_iovec null_piece = {NULL, 1};
    fsys_iovec huge[2] = {{&byte, SIZE_MAX}, {&byte, SIZE_MAX}};
    static fsys_iovec many[65537];
    EXPECT(fsys_journal_append(j, NULL, 1, 0, &lsn), -EINVAL);
    EXPECT(fsys_journal_append(j, &byte, SIZE_MAX, 0, &lsn), -EMSGSIZE);
    EXPECT(fsys_journal_append(j, &byte, ((size_t)1 << 30) + 1, 0, &lsn), -EMSGSIZE);
    EXPECT(fsys_journal_append(j, &byte, 1, UNKNOWN_FLAG, &lsn), FSYS_E_BAD_FLAG);
    EXPECT(fsys_journal_appendv(j, NULL, 1, 0, &lsn), -EINVAL);
    EXPECT(fsys_journal_appendv(j, &null_piece, 1, 0, &lsn), -EINVAL);
    EXPECT(fsys_journal_appendv(j, many, 1025, 0, &lsn), -EINVAL);
    EXPECT(fsys_journal_appendv(j, many, UINT32_MAX, 0, &lsn), -EINVAL);
    EXPECT(fsys_journal_appendv(j, huge, 2, 0, &lsn), -EMSGSIZE);
    EXPECT(fsys_journal_append_batch(j, NULL, 1, 0, &lsn, NULL), -EINVAL);
    EXPECT(fsys_journal_append_batch(j, many, 0, 0, &lsn, NULL), -EINVAL);
    EXPECT(fsys_journal_append_batch(j, many, 65537, 0, &lsn, NULL), -EINVAL);
    EXPECT(fsys_journal_append_batch(j, huge, 2, 0, &lsn, NULL), -EMSGSIZE);
    fsys_journal_ticket ticket = {0};
    EXPECT(fsys_journal_reserve(j, 1, 0, NULL), -EINVAL);
    EXPECT(fsys_journal_reserve(j, SIZE_MAX, 0, &ticket), -EMSGSIZE);
    EXPECT(fsys_journal_reserve(j, 1, UNKNOWN_FLAG, &ticket), FSYS_E_BAD_FLAG);
    EXPECT(fsys_journal_publish(j, NULL, &lsn), -EINVAL);
    EXPECT(fsys_journal_publish(j, &ticket, &lsn), FSYS_E_STALE);
    EXPECT(fsys_journal_abandon(j, NULL), -EINVAL);
    EXPECT(fsys_journal_abandon(j, &ticket), FSYS_E_STALE);
    ticket.id = UINT64_MAX;
    EXPECT(fsys_journal_abandon(j, &ticket), FSYS_E_STALE);
    EXPECT(fsys_journal_sync(j, UINT64_MAX, FSYS_FOREVER), -EINVAL);
    EXPECT(fsys_journal_sync(j, 0, INT64_MIN), 0);
    EXPECT(fsys_journal_commit(j, NULL, 1, 0, 0, &lsn), -EINVAL);
    EXPECT(fsys_journal_commit(j, &byte, 1, UNKNOWN_FLAG, 0, &lsn), FSYS_E_BAD_FLAG);
    EXPECT(fsys_journal_submit_sync(j, UINT64_MAX, 0, &op), -EINVAL);
    EXPECT(fsys_journal_submit_commit(j, NULL, 1, 0, 0, &lsn, &op), -EINVAL);
    EXPECT(fsys_journal_submit_commit(j, &byte, SIZE_MAX, 0, 0, &lsn, &op), -EMSGSIZE);
    EXPECT(fsys_journal_submit_commit(j, &byte, 1, UNKNOWN_FLAG, 0, &lsn, &op), FSYS_E_BAD_FLAG);
    EXPECT(fsys_journal_frontier(j, NULL), -EINVAL);
    EXPECT(fsys_journal_trim(j, UINT64_MAX), -EINVAL);
    EXPECT(fsys_journal_truncate(j, UINT64_MAX), -EINVAL);
    EXPECT(fsys_journal_truncate(j, 3), -EINVAL);
    EXPECT(fsys_journal_pin(j, NULL, 4096, 0), -EINVAL);
    EXPECT(fsys_journal_pin(j, "", 4096, 0), -EINVAL);
    EXPECT(fsys_journal_pin(j, "two words", 4096, 0), -EINVAL);
    static char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    EXPECT(fsys_journal_pin(j, long_name, 4096, 0), -EINVAL);
    EXPECT(fsys_journal_pin(j, "p", UINT64_MAX, 0), -ERANGE);
    EXPECT(fsys_journal_unpin(j, NULL), -EINVAL);
    EXPECT(fsys_journal_unpin(j, "none"), -ENOENT);
    EXPECT(fsys_journal_pins(j, NULL, 1), -EINVAL);
    EXPECT(fsys_journal_pins(j, NULL, 0), 0);
    EXPECT(fsys_journal_snapshot(j, 0, NULL), -EINVAL);
    EXPECT(fsys_journal_snapshot(j, UINT64_MAX, "nowhere"), -EINVAL);
    EXPECT(fsys_journal_segments(j, NULL, 1), -EINVAL);
    EXPECT(fsys_journal_segments(j, NULL, 0), 1);
    EXPECT(fsys_journal_stat(j, NULL), -EINVAL);
    fsys_journal_stats stats = {.struct_size = 8};
    EXPECT(fsys_journal_stat(j, &stats), FSYS_E_BAD_STRUCT);
    EXPECT(fsys_journal_check(NULL, 0, &report), -EINVAL);
    EXPECT(fsys_journal_check(path, 0, NULL), -EINVAL);
    EXPECT(fsys_journal_check(path, UNKNOWN_FLAG, &report), FSYS_E_BAD_FLAG);
    EXPECT(fsys_journal_check(path, 0, &report), FSYS_E_BAD_STRUCT);
    EXPECT(fsys_journal_salvage(NULL, path, NULL, NULL), -EINVAL);
    EXPECT(fsys_journal_salvage(path, NULL, NULL, NULL), -EINVAL);
    fsys_journal_finding finding = {.struct_size = 8};
    EXPECT(fsys_journal_check_at(NULL, path, 0, &report), FSYS_E_CLOSED);
    EXPECT(fsys_journal_check_at((fsys *)j, path, 0, &report), FSYS_E_CLOSED);
    EXPECT(fsys_journal_check_at(handle, NULL, 0, &report), -EINVAL);
    EXPECT(fsys_journal_check_at(handle, path, UNKNOWN_FLAG, &report), FSYS_E_BAD_FLAG);
    EXPECT(fsys_journal_salvage_at(NULL, path, path, NULL, NULL), FSYS_E_CLOSED);
    EXPECT(fsys_journal_salvage_at(handle, path, NULL, NULL, NULL), -EINVAL);
    EXPECT(fsys_journal_snapshot_at(NULL, path, 0, path), FSYS_E_CLOSED);
    EXPECT(fsys_journal_snapshot_at(handle, NULL, 0, path), -EINVAL);
    EXPECT(fsys_journal_explain_at(NULL, path, 0, &finding), FSYS_E_CLOSED);
    EXPECT(fsys_journal_explain_at(handle, path, 0, NULL), -EINVAL);
    EXPECT(fsys_journal_explain_at(handle, path, 0, &finding), FSYS_E_BAD_STRUCT);
    EXPECT(fsys_journal_list_segments_at(NULL, path, NULL, 0), FSYS_E_CLOSED);
    EXPECT(fsys_journal_list_segments_at(handle, path, NULL, 1), -EINVAL);
    EXPECT(fsys_journal_list_pins_at(NULL, path, NULL, 0), FSYS_E_CLOSED);
    EXPECT(fsys_journal_list_pins_at(handle, NULL, NULL, 0), -EINVAL);

    fsys_journal_reader *r = NULL;
    EXPECT(fsys_journal_reader_open(j, 0, UNKNOWN_FLAG, &r), FSYS_E_BAD_FLAG);
    EXPECT(fsys_journal_reader_open(j, 0, 0, NULL), -EINVAL);
    EXPECT(fsys_journal_reader_open_path(handle, NULL, 0, 0, NULL, &r), -EINVAL);
    EXPECT(fsys_journal_reader_open_path(handle, "nowhere", 0, 0, NULL, &r), -ENOENT);
    CHECK(r == NULL && lsn == 0 && op == 0);
    EXPECT(fsys_journal_reader_open(j, UINT64_MAX, 0, &r), 0);
    fsys_journal_record record;
    EXPECT(fsys_journal_reader_next(r, 0, NULL), -EINVAL);
    EXPECT(fsys_journal_reader_seek(r, UINT64_MAX - 6), 0);
    EXPECT(fsys_journal_reader_next(r, 0, &record), 0);
    EXPECT(record.kind, FSYS_JOURNAL_END);
    EXPECT(fsys_journal_reader_skip_damage(r, NULL, NULL), -EINVAL);
    EXPECT(fsys_journal_reader_close(r), 0);

    /* After all this it works. */
    EXPECT(fsys_journal_commit(j, &byte, 1, 0, FSYS_FOREVER, &lsn), 0);
    EXPECT(fsys_journal_close(j), 0);
}

/* From many threads: bad calls on good and stale handles beside good ones. */
static fsys_journal *shared;
static atomic_bool stop;
static atomic_ulong committed;

static void *nuisance(void *argument) {
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15) + (uintptr_t)argument;
    char byte = 'x';
    while (!atomic_load(&stop)) {
        const uintptr_t value = (uintptr_t)(next_random(&state) >> (state % 50));
        if (value != (uintptr_t)shared && value != (uintptr_t)handle) {
            every_call((fsys_journal *)value, (fsys_journal_reader *)value, FSYS_E_CLOSED);
        }
        EXPECT(fsys_journal_append(shared, NULL, 5, 0, NULL), -EINVAL);
        EXPECT(fsys_journal_sync(shared, UINT64_MAX, 0), -EINVAL);
        EXPECT(fsys_journal_trim(shared, UINT64_MAX), -EINVAL);
        EXPECT(fsys_journal_truncate(shared, UINT64_MAX - 7), -EINVAL);
        const fsys_journal_ticket ticket = {.id = next_random(&state) | UINT64_C(1) << 63};
        EXPECT(fsys_journal_publish(shared, &ticket, NULL), FSYS_E_STALE);
        EXPECT(fsys_journal_commit(shared, &byte, 1, 0, FSYS_FOREVER, NULL), 0);
        atomic_fetch_add(&committed, 1);
    }
    return NULL;
}

static void many_threads(void) {
    shared = opened();
    pthread_t threads[6];
    for (uintptr_t i = 0; i < 6; i++) {
        CHECK(pthread_create(&threads[i], NULL, nuisance, (void *)i) == 0);
    }
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
    }
    EXPECT(fsys_journal_close(shared), 0);
    CHECK(atomic_load(&committed) > 0);
    fsys_journal_report report = {.struct_size = sizeof report};
    EXPECT(fsys_journal_check(path, FSYS_JOURNAL_DEEP, &report), 0);
    EXPECT(report.verdict, FSYS_JOURNAL_CLEAN);
    CHECK(report.records >= atomic_load(&committed));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(200);
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/j", directory);
    EXPECT(fsys_open(NULL, &handle), 0);
    printf("handles\n");
    handles();
    printf("arguments\n");
    arguments();
    printf("many threads\n");
    many_threads();
    EXPECT(fsys_close(handle), 0);
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", directory);
    EXPECT(system(command), 0);
    printf("every bad call was refused with its code\n");
    return 0;
}
