/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A program outside the tree: finds the header and the library, and uses them. */
#include <fsys/fsys.h>
#include <stdio.h>

int main(void) {
    fsys *handle = NULL;
    if (fsys_version() != FSYS_VERSION || fsys_open(NULL, &handle) != 0) {
        return 1;
    }
    printf("libfsys %s opens\n", fsys_version_string());
    return fsys_close(handle) == 0 ? 0 : 1;
}
