/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/**
 * @file error.h
 * @brief Codes that calls and completions return.
 *
 * A return value >= 0 is success (0, a count, or a descriptor, as the call says).
 * -1 .. -4095 is a negative errno of the operating system, unchanged.
 * Below -4096 are the library's own conditions. Numbers never change meaning.
 */
#ifndef FSYS_ERROR_H
#define FSYS_ERROR_H

/** @defgroup error Error codes
 *  The conditions of the library itself; negative errno values come unchanged.
 *  @{ */

/** The handle or file is closed, being closed, or never was one. */
#define FSYS_E_CLOSED (-4097)
/** The token names no live op of this handle: used before, from another handle, or invented. */
#define FSYS_E_STALE (-4098)
/** A sticky failure: see fsys_cause(). Nothing later can be believed to be durable. */
#define FSYS_E_POISONED (-4099)
/** The thread that drives the handle has ended after an internal failure. Sticky. */
#define FSYS_E_DRIVER_DEAD (-4100)
/** Called in a fork child with a handle that its parent opened. */
#define FSYS_E_FORKED (-4101)
/** Only the thread that opened a caller-driven handle may make this call. */
#define FSYS_E_WRONG_THREAD (-4102)
/** io_uring was asked for by name and this process cannot have it. */
#define FSYS_E_URING_SETUP (-4103)
/** Buffer, length or offset does not fit the file's direct-IO alignment. */
#define FSYS_E_MISALIGNED (-4104)
/** Nothing is outstanding that an endless wait could ever see complete. */
#define FSYS_E_NOTHING (-4105)
/** The transfer ended early (end of file) where the exact length was required. */
#define FSYS_E_SHORT (-4106)
/** `struct_size` is smaller than the first version, or the unknown tail is not zero. */
#define FSYS_E_BAD_STRUCT (-4107)
/** A flag or constant that this version of the library does not know. */
#define FSYS_E_BAD_FLAG (-4108)
/** The journal holds damage: bytes that had been acknowledged as durable are not there. */
#define FSYS_E_CORRUPT (-4109)
/** The storage does not promise the atomicity that was asked for. */
#define FSYS_E_NOT_ATOMIC (-4110)
/** Whether the bytes are durable is not known; reopen to learn. */
#define FSYS_E_UNKNOWN (-4111)
/** Another process or handle holds the lock. */
#define FSYS_E_LOCKED (-4112)
/** The data read back differs from what was expected (checksum or comparison). */
#define FSYS_E_MISMATCH (-4113)

/** @} */

#endif
