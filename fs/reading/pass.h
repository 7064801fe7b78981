/* SPDX-License-Identifier: Apache-2.0 */
/* One pass through a file (promise P10). A program that reads a file from the beginning to the end
 * (cat, read(2) in a loop, a library's "read all") sees one state, although it asks several times.
 *
 * This is for handles that read past the page cache. A READ at the beginning takes the whole
 * content. The READ that continues where it ended gets the rest of that content, and the end once.
 * A pass lasts as long as nothing tells that the program may know a newer state, and PASS_LASTS_MS
 * at most. Requests that only look do not end it. Any change, lock, barrier or control file ends
 * all passes; an event ends those of programs that can hear of it. Reads elsewhere in the file
 * always show the present content.
 *
 * Reader thread only. */
#ifndef FS_READING_PASS_H
#define FS_READING_PASS_H

#include "base/buf.h"

#define PASS_LASTS_MS 1000
#define PASSES_MAX    (8u << 20) /* bytes that all passes together may keep */

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
    uint64_t events; /* the same without those of the mirror */
    size_t kept;     /* bytes */
};

/* A request (fs->io) will be handled now. */
void pass_note(struct fs *fs);

/* Reads for the handle's pass, by thread tid, into fs->scratch; returns as writeback_read. */
int64_t pass_read(struct fs *fs, struct pass *p, int tid, uint64_t ino, uint64_t off, size_t size);
void pass_end(struct fs *fs, struct pass *p);

#endif
