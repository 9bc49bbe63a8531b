/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Shipping a log: one process writes a journal, another follows it, woken by the writer, and sees
 * only what power loss cannot take back.
 *
 *     cc journal_follow.c $(pkg-config --cflags --libs fsys) -o journal_follow
 *     ./journal_follow /var/tmp
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fsys/journal.h>

enum { RECORDS = 1000 };

static char path[4096];

static int fail(const char *step, int code) {
    fprintf(stderr, "journal_follow: %s: %s (%s)\n", step, fsys_strerror(code),
            fsys_error_name(code));
    return EXIT_FAILURE;
}

static int write_records(void) {
    fsys *engine = NULL;
    int code = fsys_open(NULL, &engine);
    if (code < 0)
        return fail("fsys_open", code);
    fsys_journal_options options = {.struct_size = sizeof options, .segment_bytes = 1 << 16};
    fsys_journal *journal = NULL;
    code = fsys_journal_open(engine, path, &options, NULL, &journal);
    if (code < 0)
        return fail("fsys_journal_open", code);
    /* Followers do not hold the log: a pin does, also over a restart. It would be moved when the
     * follower has told how far it is. */
    fsys_journal_frontiers now;
    code = fsys_journal_frontier(journal, &now);
    if (code == 0)
        code = fsys_journal_pin(journal, "follower", now.durable, 0);
    if (code < 0)
        return fail("fsys_journal_pin", code);
    uint64_t lsn = 0;
    for (int i = 0; i < RECORDS; i++) {
        char text[32];
        const int length = snprintf(text, sizeof text, "record %d", i);
        code = fsys_journal_append(journal, text, (size_t)length, 0, &lsn);
        if (code == 0 && i % 100 == 99)
            code = fsys_journal_sync(journal, lsn, FSYS_FOREVER);
        if (code < 0)
            return fail("fsys_journal_append", code);
    }
    code = fsys_journal_commit(journal, "end", 3, 0, FSYS_FOREVER, &lsn);
    if (code < 0)
        return fail("fsys_journal_commit", code);
    return fsys_close(engine) < 0 ? EXIT_FAILURE : EXIT_SUCCESS; /* closes the journal, too */
}

/* Reads on behind *position until "end"; 1: nobody writes the journal, look again later. */
static int follow(fsys *engine, uint64_t *position, int *count) {
    fsys_journal_report report = {.struct_size = sizeof report};
    fsys_journal_reader *reader = NULL;
    int code = fsys_journal_reader_open_path(engine, path, *position, 0, &report, &reader);
    if (code == -ENOENT)
        return 1; /* not made yet */
    if (code < 0)
        return code;
    for (int done = 0; !done && code == 0;) {
        fsys_journal_record record;
        code = fsys_journal_reader_next(reader, 1000000000, &record);
        if (code < 0)
            break;
        switch (record.kind) {
        case FSYS_JOURNAL_RECORD: {
            char expected[32];
            const int length = snprintf(expected, sizeof expected, "record %d", *count);
            *position = record.lsn; /* what a follower keeps, to go on from after its own restart */
            done = record.length == 3 && memcmp(record.data, "end", 3) == 0;
            if (!done && (record.length != (uint64_t)length ||
                          memcmp(record.data, expected, (size_t)length) != 0))
                code = FSYS_E_CORRUPT;
            *count += !done;
            break;
        }
        case FSYS_JOURNAL_END:
            /* Nothing within a second. Without a writer nothing can come: open again. */
            if (!report.writer) {
                fsys_journal_reader_close(reader);
                return 1;
            }
            break;
        case FSYS_JOURNAL_GAP: /* trimmed before it was read: copy the state from elsewhere */
        case FSYS_JOURNAL_EPOCH_CHANGED: /* the writer withdrew what lies behind record.lsn */
        default: code = FSYS_E_CORRUPT; break; /* with one writer and a pin none of it happens */
        }
    }
    fsys_journal_reader_close(reader);
    return code;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: journal_follow DIRECTORY\n");
        return EXIT_FAILURE;
    }
    /* A name of its own for each run, so that the records begin at 0. */
    snprintf(path, sizeof path, "%s/followed-%d", argv[1], (int)getpid());

    const pid_t writer = fork(); /* before any engine: handles do not cross a fork */
    if (writer < 0)
        return EXIT_FAILURE;
    if (writer == 0)
        _exit(write_records());

    fsys *engine = NULL;
    int code = fsys_open(NULL, &engine);
    if (code < 0)
        return fail("fsys_open", code);
    uint64_t position = 0;
    int count = 0;
    for (int tries = 0; (code = follow(engine, &position, &count)) == 1 && tries < 3000; tries++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    int status = 0;
    waitpid(writer, &status, 0);
    if (code != 0)
        return fail("following", code == 1 ? -ETIMEDOUT : code);
    if (count != RECORDS || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return EXIT_FAILURE;
    printf("journal_follow: %d records of another process, as they became durable, up to LSN %llu\n",
           count, (unsigned long long)position);
    return fsys_close(engine) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
