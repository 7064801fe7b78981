/* SPDX-License-Identifier: Apache-2.0 */
/* One pass through a file: a program that reads it from the beginning until there is nothing more
 * (cat, read(2) in a loop, a library's "read all") sees one state, though it asks several times.
 *
 * For handles that read past the page cache. A READ at the beginning takes the whole content; what
 * follows it, where it ended, gets the rest of that, and the end once. This holds as long as
 * nothing tells that the program may know of a newer state: no request but such that only look
 * (any change, lock, barrier or control file ends all passes; an event those of programs that can
 * hear of it), and not for longer than PASS_LASTS_MS. Reads elsewhere in the file always show what
 * is there.
 *
 * Reader thread only. */
#ifndef FS_READING_PASS_H
#define FS_READING_PASS_H

#include "base/buf.h"

#define PASS_LASTS_MS 1000
#define PASSES_MAX    (8u << 20) /* bytes that all may keep */

struct fs;

struct pass {
    bool goes_on;
    uint64_t next; /* offset */
    struct buf rest;
    size_t given;          /* of the rest */
    uint64_t acts, events; /* then */
    uint64_t until_ms;
};

struct passes {
    uint64_t acts;   /* requests that do more than look */
    uint64_t events; /* the same, but the mirror's */
    size_t kept;     /* bytes */
};

/* A request (fs->io) is about to be handled. */
void pass_note(struct fs *fs);

/* Reads for the handle's pass, by thread tid, into fs->scratch; as writeback_read. */
int64_t pass_read(struct fs *fs, struct pass *p, int tid, uint64_t ino, uint64_t off, size_t size);
void pass_end(struct fs *fs, struct pass *p);

#endif
