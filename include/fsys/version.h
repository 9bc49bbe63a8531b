/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/**
 * @file version.h
 * @brief The version of these headers. The build reads it; nothing else states it.
 */
#ifndef FSYS_VERSION_H
#define FSYS_VERSION_H

#define FSYS_VERSION_MAJOR 0 /**< first number of the release */
#define FSYS_VERSION_MINOR 1 /**< second number */
#define FSYS_VERSION_PATCH 0 /**< third number */

/** Number at the end of the soname (libfsys.so.1), independent of the release number above. */
#define FSYS_ABI_MAJOR 1

/** This header's version as one comparable number: 0x00MMmmpp. */
#define FSYS_VERSION \
    ((uint32_t)((FSYS_VERSION_MAJOR << 16) | (FSYS_VERSION_MINOR << 8) | FSYS_VERSION_PATCH))

#endif
