/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A write-ahead log: accounts in memory, every transfer in the journal before it counts. Run it
 * again, or kill it at any moment and run it again: it goes on from what was committed.
 *
 *     cc journal.c $(pkg-config --cflags --libs fsys) -o journal && ./journal /var/tmp
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fsys/journal.h>

enum { ACCOUNTS = 8, TRANSFERS = 500 };

/* A record is what the program wants it to be. These are of two kinds: one side of a transfer, and
 * a checkpoint, which stands for all records before it. */
struct entry {
    uint32_t account;
    int32_t amount;
};
struct checkpoint {
    int64_t balance[ACCOUNTS];
};

static struct checkpoint state;

static int fail(const char *step, int code) {
    fprintf(stderr, "journal: %s: %s (%s)\n", step, fsys_strerror(code), fsys_error_name(code));
    return EXIT_FAILURE;
}

static void apply(const void *data, uint64_t length) {
    if (length == sizeof state)
        memcpy(&state, data, sizeof state);
    else if (length == sizeof(struct entry)) {
        struct entry entry;
        memcpy(&entry, data, sizeof entry);
        state.balance[entry.account % ACCOUNTS] += entry.amount;
    }
}

/* Recovery is done when the journal is open; replaying is reading it from the start. */
static int replay(fsys_journal *journal, uint64_t *ret_records) {
    fsys_journal_reader *reader = NULL;
    int code = fsys_journal_reader_open(journal, 0, 0, &reader);
    if (code < 0)
        return code;
    for (;;) {
        fsys_journal_record record;
        code = fsys_journal_reader_next(reader, 0, &record);
        if (code < 0 || record.kind == FSYS_JOURNAL_END)
            break;
        if (record.kind != FSYS_JOURNAL_RECORD) {
            code = FSYS_E_CORRUPT; /* not trimmed by us: damage in an old segment */
            break;
        }
        apply(record.data, record.length);
        ++*ret_records;
    }
    fsys_journal_reader_close(reader);
    return code;
}

/* Both sides, or neither, also after a crash. */
static int transfer(fsys_journal *journal, uint32_t from, uint32_t to, int32_t amount,
                    uint64_t *ret_lsn) {
    struct entry sides[2] = {{from, -amount}, {to, amount}};
    const fsys_iovec records[2] = {{&sides[0], sizeof sides[0]}, {&sides[1], sizeof sides[1]}};
    return fsys_journal_append_batch(journal, records, 2, 0, ret_lsn, NULL);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: journal DIRECTORY\n");
        return EXIT_FAILURE;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/accounts", argv[1]);

    fsys *engine = NULL;
    int code = fsys_open(NULL, &engine);
    if (code < 0)
        return fail("fsys_open", code);

    char why[256] = "";
    fsys_journal_options options = {
        .struct_size = sizeof options,
        .segment_bytes = 1 << 20, /* the default, 64 MiB, suits busier journals */
        .error_text = why,
        .error_text_size = sizeof why,
    };
    fsys_journal_report found = {.struct_size = sizeof found};
    fsys_journal *journal = NULL;
    code = fsys_journal_open(engine, path, &options, &found, &journal);
    if (code == FSYS_E_CORRUPT) {
        /* Never "just start anew": acknowledged transfers are missing, and a person must know. */
        fprintf(stderr, "journal: %s\n", found.text);
        return EXIT_FAILURE;
    }
    if (code < 0) {
        fprintf(stderr, "journal: %s\n", why);
        return fail("fsys_journal_open", code);
    }
    if (found.verdict == FSYS_JOURNAL_TORN)
        printf("journal: a transfer that nobody had been promised was cut (kept in %s)\n",
               found.kept_name);

    uint64_t replayed = 0;
    code = replay(journal, &replayed);
    if (code < 0)
        return fail("replaying", code);

    uint64_t lsn = 0;
    for (int i = 0; i < TRANSFERS; i++) {
        const uint32_t from = (uint32_t)i % ACCOUNTS;
        const uint32_t to = (uint32_t)(i * 5 + 3) % ACCOUNTS;
        code = transfer(journal, from, to, i, &lsn);
        if (code < 0)
            return fail("fsys_journal_append_batch", code);
        state.balance[from] -= i;
        state.balance[to] += i;
        /* Nothing is promised yet. Here a customer is told after every fiftieth; threads that each
         * sync their own transfer share the flushes. */
        if (i % 50 == 49) {
            code = fsys_journal_sync(journal, lsn, FSYS_FOREVER);
            if (code == FSYS_E_POISONED)
                return fail("not there, and nobody was told", code);
            if (code == FSYS_E_UNKNOWN)
                return fail("perhaps there: only opening again tells", code);
            if (code < 0)
                return fail("fsys_journal_sync", code);
        }
    }

    int64_t sum = 0;
    for (int i = 0; i < ACCOUNTS; i++)
        sum += state.balance[i];
    if (sum != 0) {
        fprintf(stderr, "journal: half a transfer was found\n");
        return EXIT_FAILURE;
    }

    /* With the state in the log, older records are of no use: whole segments of them go. A segment
     * is begun with the checkpoint, so that all before it can be given up. */
    code = fsys_journal_rotate(journal);
    if (code < 0)
        return fail("fsys_journal_rotate", code);
    fsys_journal_frontiers before;
    code = fsys_journal_frontier(journal, &before);
    if (code < 0)
        return fail("fsys_journal_frontier", code);
    code = fsys_journal_commit(journal, &state, sizeof state, 0, FSYS_FOREVER, &lsn);
    if (code < 0)
        return fail("fsys_journal_commit", code);
    code = fsys_journal_trim(journal, before.durable);
    if (code < 0)
        return fail("fsys_journal_trim", code);

    fsys_journal_stats stats = {.struct_size = sizeof stats};
    code = fsys_journal_stat(journal, &stats);
    if (code < 0)
        return fail("fsys_journal_stat", code);
    printf("journal: %d records replayed, %d transfers added, checkpoint at LSN %llu, %d segments "
           "kept\n",
           (int)replayed, TRANSFERS, (unsigned long long)lsn, (int)stats.segments);

    code = fsys_journal_close(journal);
    if (code < 0)
        return fail("fsys_journal_close", code);
    return fsys_close(engine) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
