/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Fails the k-th allocation (alloc_hook.h) in the life of a journal, for k = 1, 2, ... until a life
 * meets no failure; once with only the k-th failing, once with all from the k-th on. Every call must
 * end with a code that the header allows; nothing is left open; and when the journal is opened again,
 * with memory, every record that was promised is there, in order.
 * usage: alloc_journal
 */
#include "alloc_hook.h"

#include <fsys/journal.h>

#include <time.h>

#define TIMEOUT INT64_C(10000000000)

static char directory[64];
static char path[80];
static fsys *handle;

/* Records are numbers. Tried ones are 1..tried; of those the last promised one. */
static uint64_t tried;
static uint64_t acked;
static uint64_t acked_lsn;

static int attempt(int code, const char *call) {
    switch (code) {
    case -ENOMEM:
    case -EAGAIN: /* no thread, or an op slot that nobody could complete */
    case -ENFILE:
    case -EMFILE:
    case FSYS_E_POISONED: /* a flush met it */
    case FSYS_E_UNKNOWN:
    case FSYS_E_DRIVER_DEAD:
    case FSYS_E_NOTHING: return code;
    default:
        if (code < 0) {
            FAIL("%s without memory gave %d (%s: %s)", call, code, fsys_error_name(code),
                 fsys_strerror(code));
        }
        return code;
    }
}

#define TRY(call) attempt((call), #call)

static uint64_t numbers[16];
static uint64_t *next_number(void) {
    tried++;
    numbers[tried % 16] = tried;
    return &numbers[tried % 16];
}
/* An append that is refused has not happened: its number is free again. */
static bool appended(int code) {
    if (code < 0) {
        tried--;
    }
    return code == 0;
}
static void promise(uint64_t number, uint64_t lsn) {
    acked = number;
    acked_lsn = lsn;
}

static fsys_journal_options options(char *text, size_t size) {
    const fsys_journal_options o = {.struct_size = sizeof o,
                                    .mode = FSYS_JOURNAL_MODE_BUFFERED,
                                    .segment_bytes = 8192,
                                    .buffer_bytes = 65536,
                                    .block_bytes = 512,
                                    .append_timeout_ns = TIMEOUT,
                                    .error_text = text,
                                    .error_text_size = size};
    return o;
}

/* Everything that could allocate, between opening and closing. Returns whether all succeeded. */
static bool work(fsys_journal *journal) {
    bool good = true;
    uint64_t lsn = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t *number = next_number();
        lsn = 0;
        const int code = TRY(fsys_journal_commit(journal, number, 8, 0, TIMEOUT, &lsn));
        if (code == 0) {
            promise(*number, lsn);
        } else if (lsn == 0) {
            tried--;
        }
        good = good && code == 0;
    }
    uint64_t *first = next_number();
    fsys_iovec batch[3] = {{first, 8}, {next_number(), 8}, {next_number(), 8}};
    int code = TRY(fsys_journal_append_batch(journal, batch, 3, 0, &lsn, NULL));
    if (code < 0) {
        tried -= 3;
        good = false;
    } else if (TRY(fsys_journal_sync(journal, lsn, TIMEOUT)) == 0) {
        promise(tried, lsn);
    } else {
        good = false;
    }

    fsys_journal_ticket ticket;
    code = TRY(fsys_journal_reserve(journal, 8, 0, &ticket));
    if (code == 0) {
        memcpy(ticket.memory, next_number(), 8);
        code = TRY(fsys_journal_publish(journal, &ticket, &lsn));
        if (code < 0) {
            FAIL("publishing gave %d: the place was reserved", code);
        }
    }
    good = good && code == 0;

    /* 5,000 bytes each: the second goes into the next segment. */
    static char big[5000];
    for (int i = 0; i < 2; i++) {
        memcpy(big, next_number(), 8);
        good = appended(TRY(fsys_journal_append(journal, big, sizeof big, 0, &lsn))) && good;
    }
    uint64_t *number = next_number();
    lsn = 0;
    code = TRY(fsys_journal_submit_commit(journal, number, 8, 0, *number, &lsn, NULL));
    if (code == 0) {
        fsys_result result;
        code = TRY(fsys_reap(handle, &result, 1, TIMEOUT));
        if (code == 0) {
            FAIL("an accepted commit did not complete in 10 s");
        }
        if (code == 1 && TRY((int)result.result) == 0) {
            promise(result.user_data, lsn);
        } else {
            good = false;
        }
    } else {
        good = false;
        tried -= lsn == 0;
    }
    if (TRY(fsys_journal_pin(journal, "keeper", 4096, 0)) == 0) {
        good = TRY(fsys_journal_unpin(journal, "keeper")) == 0 && good;
    } else {
        good = false;
    }
    good = TRY(fsys_journal_rotate(journal)) == 0 && good;
    fsys_journal_segment segments[8];
    good = TRY(fsys_journal_segments(journal, segments, 8)) > 1 && good;
    fsys_journal_stats stats = {.struct_size = sizeof stats};
    EXPECT(fsys_journal_stat(journal, &stats), 0);
    char cause[256];
    CHECK(fsys_journal_cause(journal, cause, sizeof cause) >= 0);

    fsys_journal_reader *reader = NULL;
    if (TRY(fsys_journal_reader_open(journal, 0, 0, &reader)) == 0) {
        uint64_t seen = 0;
        fsys_journal_record record = {0};
        while ((code = TRY(fsys_journal_reader_next(reader, 0, &record))) == 0 &&
               record.kind == FSYS_JOURNAL_RECORD) {
            seen++;
        }
        good = good && code == 0 && seen >= acked;
        CHECK(code != 0 || record.kind == FSYS_JOURNAL_END);
        EXPECT(fsys_journal_reader_close(reader), 0);
    } else {
        good = false;
    }
    return good;
}

static bool life(void) {
    char text[256];
    const fsys_journal_options o = options(text, sizeof text);
    fsys_journal_report report = {.struct_size = sizeof report};
    fsys_journal *journal = NULL;
    if (TRY(fsys_journal_open(handle, path, &o, &report, &journal)) < 0) {
        return false;
    }
    bool good = work(journal);
    good = TRY(fsys_journal_check(path, FSYS_JOURNAL_DEEP, &report)) == 0 && good;
    const int code = fsys_journal_close(journal);
    if (code != 0 && code != FSYS_E_POISONED) {
        FAIL("closing gave %d (%s)", code, fsys_error_name(code));
    }
    return good && code == 0;
}

/* With memory again: all that was promised is there, in order, and nothing else. */
static void judge(void) {
    char text[256] = "";
    const fsys_journal_options o = options(text, sizeof text);
    fsys_journal *journal = NULL;
    fsys_journal_reader *reader = NULL;
    const int code = fsys_journal_open(handle, path, &o, NULL, &journal);
    if (code < 0) {
        FAIL("the journal does not open afterwards: %s", text);
    }
    EXPECT(fsys_journal_reader_open(journal, 0, 0, &reader), 0);
    uint64_t count = 0;
    for (;;) {
        fsys_journal_record record = {0};
        EXPECT(fsys_journal_reader_next(reader, 0, &record), 0);
        if (record.kind == FSYS_JOURNAL_END) {
            break;
        }
        EXPECT(record.kind, FSYS_JOURNAL_RECORD);
        uint64_t number = 0;
        memcpy(&number, record.data, 8);
        EXPECT(number, ++count);
    }
    if (count < acked || count > tried) {
        FAIL("%llu records are there, %llu were promised, %llu tried", (unsigned long long)count,
             (unsigned long long)acked, (unsigned long long)tried);
    }
    EXPECT(fsys_journal_reader_close(reader), 0);
    EXPECT(fsys_journal_close(journal), 0);
}

static void empty_directory(void) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            char name[400];
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            unlink(name);
        }
    }
    closedir(dir);
    rmdir(path);
}

static void sweep(bool later_too) {
    const char *what = later_too ? "all from the k-th" : "only the k-th";
    uint64_t promised = 0;
    long blocks = 0;
    long k = 1;
    for (;; k++) {
        if (k > 5000) {
            FAIL("a life of a journal makes more than 5000 allocations");
        }
        tried = acked = acked_lsn = 0;
        empty_directory();
        const long descriptors = count_entries("/proc/self/fd");
        alarm(60);
        arm(k, later_too);
        const bool good = life();
        disarm();
        if (count_entries("/proc/self/fd") != descriptors) {
            (void)!system("ls -l /proc/$PPID/fd >&2");
            FAIL("after k = %ld a descriptor is left open", k);
        }
        if (atomic_load(&failures) == 0) {
            if (!good) {
                FAIL("with no allocation failing (k = %ld) a call failed", k);
            }
            break;
        }
        judge();
        alarm(0);
        promised += acked;
        if (k == 8) {
            blocks = atomic_load(&living);
        }
    }
    judge();
    /* Threads of the pool keep a few blocks; a leak would be one block or more for many a k. */
    const long left = atomic_load(&living) - blocks;
    if (left > 40) {
        FAIL("%ld blocks were not freed in %ld lives", left, k);
    }
    printf("%s allocation failing: %ld places survived, %llu records promised and there\n", what,
           k - 1, (unsigned long long)promised);
    if (k < 40 || promised == 0) {
        FAIL("so few allocations: the replacement of malloc does not reach the library");
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    /* In memory where there is one: hundreds of journals are made, and no power is lost. */
    snprintf(directory, sizeof directory, "%s/fsys-alloc.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ".");
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/j", directory);
    EXPECT(fsys_open(NULL, &handle), 0);
    CHECK(life()); /* what is set up once per process is not the sweep's subject */
    sweep(false);
    sweep(true);
    empty_directory();
    EXPECT(rmdir(directory), 0);
    EXPECT(fsys_close(handle), 0);
    return 0;
}
