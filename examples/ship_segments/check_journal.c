/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Reads every frame of a journal and says what it found; exit code 0: whole. Changes nothing. */
#include <stdio.h>
#include <stdlib.h>

#include <fsys/journal.h>

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: check_journal JOURNAL\n");
        return EXIT_FAILURE;
    }
    fsys_journal_report report = {.struct_size = sizeof report};
    const int code = fsys_journal_check(argv[1], FSYS_JOURNAL_DEEP, &report);
    static const char *const verdicts[] = {"fresh", "clean", "torn", "damaged", "not readable"};
    printf("%s: %s\n", report.verdict < 5 ? verdicts[report.verdict] : "?", report.text);
    if (code < 0)
        fprintf(stderr, "check_journal: %s (%s)\n", fsys_strerror(code), fsys_error_name(code));
    return code < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
