/* SPDX-License-Identifier: Apache-2.0 */
/* One change as the feed tells of it (.coordfs/events, .coordfs/log, `coordfs watch`), and what a
 * line about it looks like. Every member makes the same line of the same change: the state machine
 * counts their bytes. So feed_json may not be changed without a new version of the database.
 * Pure functions. */
#ifndef PROTO_FEED_H
#define PROTO_FEED_H

#include "base/buf.h"
#include "proto/command.pb-c.h"

struct feed_path { /* borrowed; empty: none */
    const uint8_t *data;
    size_t len;
};

/* Paths are those at the time of the change, from the root; "/" is the root. One that does not fit
 * into LIMIT_HISTORY_PATH is told by its end, without a slash in front. A change of a file without
 * a name has none; of a file with several names, it is that of one of them. */
struct feed_change {
    uint64_t number; /* 1, 2, 3 … in the order of the changes: the cursor of a reader */
    uint64_t index;  /* raft index of the command that made it */
    uint64_t kind;   /* Cfs__Change__Kind */
    uint64_t ino;
    uint64_t version; /* data: user.coordfs.version, attributes: .aversion, as it is now; else 0 */
    uint64_t session; /* that made it; 0: the state machine, by itself */
    uint64_t member;  /* whose session that was */
    int64_t time_ns;
    uint64_t more; /* how many changes of the same index follow */
    uint64_t end;  /* bytes of the JSON lines of all changes ever, this one's included */
    struct feed_path path;
    struct feed_path new_path; /* rename, exchange */
};

/* One JSON object, with a newline: {"index":7,"more":0,"time":1700000000.000000001,"op":"rename",
 * "path":"/a","new_path":"/b","ino":5,"version":0,"session":2,"member":1}
 * Bytes that are no UTF-8 become \udc80 … \udcff, as Python's os.fsdecode has it. */
void feed_json(struct buf *out, const struct feed_change *c);

/* The same for people: "INDEX OP PATH", " -> NEWPATH" behind it if there is one, a newline. What
 * would be invisible in a path, and the backslash, is written as \ooo. */
void feed_text(struct buf *out, const struct feed_change *c);

/* The word for a kind; "unknown" for what is none. */
const char *feed_op(uint64_t kind);

/* Does it concern `path`: that itself, an entry of it, with `recursive` all below it; or did a
 * directory above it get another name? */
bool feed_matches(const struct feed_change *c, struct feed_path path, bool recursive);

#endif
