/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A journal whose sealed segments leave the machine: by HTTP PUT, as an object store takes them.
 *
 *     cc ship_segments.c $(pkg-config --cflags --libs fsys) -pthread -o ship_segments
 *     ./ship_segments JOURNAL HOST:PORT PREFIX RUN RECORDS
 *
 * The main thread commits records and prints the number of each that is durable. A second thread
 * ships: it is told of each sealed segment, lists them, puts each under its own name, and only when
 * the store has answered 2xx moves a pin behind it and trims. The pin is kept in the journal's
 * directory, so a killed process goes on where it was: at worst it puts one segment twice, which
 * does no harm, since a sealed segment never changes.
 *
 * A real store wants TLS and signed requests: put its client library, or a signing proxy, in place
 * of put_object(). receive.py is the other end of the test: it verifies what arrives and makes a
 * journal of it again.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <fsys/journal.h>

enum { SEGMENT = 128 << 10, RECORD = 1000, GROUP = 20, LISTED = 64, TRIES = 50 };

struct shipper {
    int directory; /* of the journal, open for reading */
    const char *host;
    const char *port;
    const char *prefix;
    fsys *engine;
    fsys_journal *journal;
    atomic_int last_round; /* 1: the writer is done, ship what is left and end */
    int result;
};

static int fail(const char *step, int64_t code) {
    fprintf(stderr, "ship_segments: %s: %s (%s)\n", step, fsys_strerror((int)code),
            fsys_error_name((int)code));
    return EXIT_FAILURE;
}

static void nap(long ms) {
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int connect_to(const char *host, const char *port) {
    const struct addrinfo want = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, port, &want, &list) != 0)
        return -1;
    int fd = -1;
    for (struct addrinfo *one = list; one != NULL && fd < 0; one = one->ai_next) {
        fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static int send_all(int fd, const char *data, size_t length) {
    while (length > 0) {
        /* MSG_NOSIGNAL: a store that hangs up is an error here, not a SIGPIPE. */
        const ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        data += sent;
        length -= (size_t)sent;
    }
    return 0;
}

/* Puts the first `length` bytes of an open file. Returns the HTTP status, or 0 when the connection
 * failed at any point: the store may or may not have the object then. */
static int put_object(const struct shipper *s, const char *name, int file, uint64_t length) {
    const int fd = connect_to(s->host, s->port);
    if (fd < 0)
        return 0;
    char head[512];
    int status = 0;
    int ok = snprintf(head, sizeof head,
                      "PUT /%s/%s HTTP/1.1\r\nHost: %s:%s\r\nContent-Length: %" PRIu64
                      "\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n",
                      s->prefix, name, s->host, s->port, length) < (int)sizeof head &&
             send_all(fd, head, strlen(head)) == 0;
    static char piece[64 << 10]; /* one shipper thread */
    for (uint64_t at = 0; ok && at < length;) {
        const size_t want = length - at < sizeof piece ? (size_t)(length - at) : sizeof piece;
        const ssize_t got = pread(file, piece, want, (off_t)at);
        ok = got > 0 && send_all(fd, piece, (size_t)got) == 0;
        at += got > 0 ? (uint64_t)got : 0;
    }
    size_t have = 0;
    while (ok && have < sizeof head - 1) {
        const ssize_t got = recv(fd, head + have, sizeof head - 1 - have, 0);
        if (got <= 0)
            break;
        have += (size_t)got;
        head[have] = '\0';
        if (strchr(head, '\n') != NULL) {
            if (sscanf(head, "HTTP/1.%*d %d", &status) != 1)
                status = 0;
            break;
        }
    }
    close(fd);
    return status;
}

/* Ships one segment, however often the store has to be asked. */
static int ship(const struct shipper *s, const fsys_journal_segment *segment) {
    const int file = openat(s->directory, segment->name, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int status = 0;
    for (int i = 0; i < TRIES; i++) {
        status = put_object(s, segment->name, file, segment->file_bytes);
        /* A refusal that asking again cannot change. */
        if (status / 100 == 2 || (status / 100 == 4 && status != 408 && status != 429))
            break;
        nap(i < 10 ? 20 : 200);
    }
    close(file);
    if (status / 100 == 2)
        return 0;
    fprintf(stderr, "ship_segments: %s: the store says %d\n", segment->name, status);
    return -EREMOTEIO;
}

/* Up to where everything has been shipped. */
static int shipped_through(fsys_journal *journal, uint64_t *ret_lsn) {
    fsys_journal_pinned pins[16];
    const int count = fsys_journal_pins(journal, pins, 16);
    for (int i = 0; i < count && i < 16; i++) {
        if (strcmp(pins[i].name, "ship") == 0) {
            *ret_lsn = pins[i].lsn;
            return 0;
        }
    }
    if (count < 0)
        return count;
    /* The first start: nothing may be trimmed before it was shipped. */
    fsys_journal_stats stats = {.struct_size = sizeof stats};
    const int code = fsys_journal_stat(journal, &stats);
    *ret_lsn = stats.first_lsn;
    return code < 0 ? code : fsys_journal_pin(journal, "ship", stats.first_lsn, 0);
}

static int ship_round(struct shipper *s) {
    uint64_t done = 0;
    int code = shipped_through(s->journal, &done);
    fsys_journal_segment list[LISTED];
    int count = code < 0 ? code : fsys_journal_segments(s->journal, list, LISTED);
    for (int i = 0; i < count && i < LISTED; i++) {
        if (!list[i].sealed || list[i].end_lsn <= done)
            continue;
        code = ship(s, &list[i]);
        if (code == 0)
            code = fsys_journal_pin(s->journal, "ship", list[i].end_lsn, 0);
        if (code == 0)
            code = fsys_journal_trim(s->journal, list[i].end_lsn);
        if (code < 0)
            return code;
        done = list[i].end_lsn;
    }
    return count < 0 ? count : 0;
}

/* Sleeps until a segment above `*after` is sealed, and gives its number; or until the writer is
 * done. An announcement that is still open when the journal is closed ends with -ECANCELED. */
static int await_sealed(struct shipper *s, uint64_t *after) {
    fsys_op op = 0;
    int code = fsys_journal_submit_sealed(s->journal, *after, 0, &op);
    while (code == 0 && !atomic_load(&s->last_round)) {
        fsys_result result;
        code = fsys_wait(s->engine, op, 50 * 1000000LL, &result);
        if (code == 0 && result.result > 0) {
            *after = (uint64_t)result.result;
            return 0;
        }
        if (code == 0)
            return (int)result.result;
        if (code == -ETIMEDOUT)
            code = 0;
    }
    return code;
}

static void *ship_all(void *argument) {
    struct shipper *s = argument;
    uint64_t after = 0; /* what an earlier run left is sealed already, and announced at once */
    for (;;) {
        s->result = await_sealed(s, &after);
        /* Read before the round: what was sealed before it was set is in that round's list. */
        const int last = atomic_load(&s->last_round);
        if (s->result == 0)
            s->result = ship_round(s);
        if (s->result < 0 || last)
            return NULL;
    }
}

static int write_records(fsys_journal *journal, const char *run, long records) {
    char record[RECORD];
    for (long i = 0; i < records; i++) {
        memset(record, '.', sizeof record);
        snprintf(record, sizeof record, "run %s record %ld", run, i);
        const int last = i % GROUP == GROUP - 1 || i + 1 == records;
        const int code =
            last ? fsys_journal_commit(journal, record, sizeof record, 0, FSYS_FOREVER, NULL)
                 : fsys_journal_append(journal, record, sizeof record, 0, NULL);
        if (code < 0)
            return code;
        if (last) {
            printf("%s %ld\n", run, i); /* it and all before it are durable */
            fflush(stdout);
        }
    }
    return fsys_journal_rotate(journal);
}

int main(int argc, char **argv) {
    char *colon = argc == 6 ? strrchr(argv[2], ':') : NULL;
    if (colon == NULL) {
        fprintf(stderr, "usage: ship_segments JOURNAL HOST:PORT PREFIX RUN RECORDS\n");
        return EXIT_FAILURE;
    }
    *colon = '\0';
    fsys *engine = NULL;
    int code = fsys_open(NULL, &engine);
    if (code < 0)
        return fail("fsys_open", code);
    char why[256] = "";
    const fsys_journal_options options = {.struct_size = sizeof options,
                                          .segment_bytes = SEGMENT,
                                          .error_text = why,
                                          .error_text_size = sizeof why};
    struct shipper s = {.engine = engine, .host = argv[2], .port = colon + 1, .prefix = argv[3]};
    code = fsys_journal_open(engine, argv[1], &options, NULL, &s.journal);
    if (code < 0)
        return fail(why, code);
    s.directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s.directory < 0)
        return fail(argv[1], -errno);
    uint64_t start = 0;
    code = shipped_through(s.journal, &start); /* pinned before the first record */
    if (code < 0)
        return fail("pinning", code);
    pthread_t thread;
    if (pthread_create(&thread, NULL, ship_all, &s) != 0)
        return fail("pthread_create", -EAGAIN);
    code = write_records(s.journal, argv[4], atol(argv[5]));
    atomic_store(&s.last_round, 1);
    pthread_join(thread, NULL);
    const int closed = fsys_journal_close(s.journal);
    fsys_close(engine);
    close(s.directory);
    if (code < 0 || closed < 0)
        return fail("writing", code < 0 ? code : closed);
    return s.result < 0 ? fail("shipping", s.result) : 0;
}
