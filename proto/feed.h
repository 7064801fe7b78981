/* SPDX-License-Identifier: Apache-2.0 */
/* One change as the feed reports it (.coordfs/events, .coordfs/log, `coordfs watch`), and its form
 * as a line. The state machine counts the bytes of the lines, so every member must make the same
 * line of the same change: feed_json may change only together with the database version. Pure
 * functions. */
#ifndef PROTO_FEED_H
#define PROTO_FEED_H

#include "base/buf.h"
#include "proto/command.pb-c.h"

struct feed_path { /* borrowed; empty: no path */
    const uint8_t *data;
    size_t len;
};

/* Paths are those at the time of the change, from the root; "/" is the root. If a path does not fit
 * into LIMIT_HISTORY_PATH, only its end is given, without a slash in front. A change of a file
 * without a name has no path. A change of a file with several names has the path of one of them. */
struct feed_change {
    uint64_t number; /* 1, 2, 3 … in the order of the changes; a watcher's cursor */
    uint64_t index;  /* raft index of the command that made the change */
    uint64_t kind;   /* Cfs__Change__Kind */
    uint64_t ino;
    /* The new user.coordfs.version (changes of data) or .aversion (of attributes); else 0. */
    uint64_t version;
    uint64_t session; /* that made the change; 0: the state machine by itself */
    uint64_t member;  /* that owned this session */
    int64_t time_ns;
    uint64_t more; /* number of changes of the same index that follow */
    uint64_t end;  /* offset in the feed: bytes of all JSON lines up to and including this one */
    struct feed_path path;
    struct feed_path new_path; /* rename, exchange */
};

/* Appends one JSON object and a newline, here broken for reading:
 *   {"index":7,"more":0,"time":1700000000.000000001,"op":"rename","path":"/a",
 *    "new_path":"/b","ino":5,"version":0,"session":2,"member":1}
 * Bytes that are not UTF-8 become \udc80 … \udcff, as in Python's os.fsdecode. */
void feed_json(struct buf *out, const struct feed_change *c);

/* Appends a line for people: "INDEX OP PATH", or "INDEX OP PATH -> NEWPATH", and a newline.
 * Invisible bytes of a path, and the backslash, are written as \ooo. */
void feed_text(struct buf *out, const struct feed_change *c);

/* Returns the word for a kind; "unknown" if there is no such kind. */
const char *feed_op(uint64_t kind);

/* True if the change concerns `path`: the path itself, an entry of it, or with `recursive` anything
 * below it; or if a directory above it was renamed. */
bool feed_matches(const struct feed_change *c, struct feed_path path, bool recursive);

#endif
