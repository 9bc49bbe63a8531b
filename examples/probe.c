/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How safe is what I write here? Asks what lies underneath a path, then flushes it down to the disk
 * as far as this process may.
 *
 *     cc probe.c $(pkg-config --cflags --libs fsys) -o probe && ./probe /var/lib
 */
#include <stdio.h>
#include <stdlib.h>

#include <fsys/device.h>

static const char *answer(uint32_t value) {
    return value == FSYS_ANSWER_YES ? "yes" : value == FSYS_ANSWER_NO ? "no" : "unknown";
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: probe PATH\n");
        return EXIT_FAILURE;
    }
    static fsys_probe_report report; /* some 14 KiB: not for a small stack */
    report.struct_size = sizeof report;
    int code = fsys_probe(argv[1], 0, &report);
    if (code < 0) {
        fprintf(stderr, "probe: '%s': %s\n", argv[1], fsys_strerror(code));
        return EXIT_FAILURE;
    }
    printf("file system: %s\n", report.file_system[0] ? report.file_system : "none, a block device");
    for (uint32_t i = 0; i < report.device_count && i < FSYS_PROBE_DEVICES; i++)
        printf("  on %s\n", report.devices[i].name);
    printf("a sync %s\n", report.sync_text);
    printf("survives a power cut without a flush: %s (%s)\n",
           answer(report.power_loss_protection), report.power_text);

    /* Unknown is not yes: decide by what is known. */
    if (report.power_loss_protection == FSYS_ANSWER_YES)
        printf("every completed direct write is safe\n");
    else if (report.flush_reaches == FSYS_ANSWER_YES)
        printf("writes are safe after a sync\n");
    else
        printf("whether a sync makes writes safe here is %s\n",
               report.flush_reaches == FSYS_ANSWER_NO ? "denied: flushes are dropped" : "unknown");

    if (report.atomic == FSYS_ANSWER_YES)
        printf("atomic writes: %u to %u bytes\n", report.atomic_min, report.atomic_max);

    fsys_flush_report flush = {.struct_size = sizeof flush};
    code = fsys_device_flush(argv[1], 0, &flush);
    if (code == 0)
        printf("flushed %u of %u disks: %s\n", flush.flushed, flush.devices, flush.text);
    else if (flush.committed) /* the file system's own commit is done, which is what fsync(2) gives */
        printf("committed by the file system; not flushed past it: %s\n", flush.text);
    else
        printf("not even committed: %s\n", flush.text);
    return flush.committed ? EXIT_SUCCESS : EXIT_FAILURE;
}
