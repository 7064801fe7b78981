/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon and the mirror's process (fs/mirror/mirror_child.h) say to each other over a
 * socket pair of type SOCK_SEQPACKET: one message each way for an operation. Both are the same
 * program. */
#ifndef FS_MIRROR_MIRROR_WIRE_H
#define FS_MIRROR_MIRROR_WIRE_H

#include <limits.h>

#include "base/base.h"

enum mirror_kind {
    MIRROR_MAKE, /* a new entry, of the type in mode */
    MIRROR_LINK,
    MIRROR_UNLINK,
    MIRROR_RMDIR,
    MIRROR_RENAME,
    MIRROR_EXCHANGE,
    MIRROR_DATA, /* of a regular file */
    MIRROR_ATTR,
    MIRROR_PING, /* nothing, for the flags of the answer */
};

#define MIRROR_TEXTS    4 /* the two names, then the paths of the two directories; each may be "" */
#define MIRROR_TEXT_MAX (2 * 256 + 2 * PATH_MAX)

/* Followed by the texts, each with its NUL. */
struct mirror_ask {
    uint32_t kind;
    uint32_t mode; /* type and permissions of what is made, moved or changed */
    uint64_t rdev;
    uint64_t ino;
    uint64_t victim; /* what the second name leads to; 0: nothing */
    uint64_t dirs[2];
};

/* A directory has no entry in the kernel's cache that its number leads to: ask again with paths. */
#define MIRROR_WANTS_PATHS 1u
/* Something is mounted on a directory of ours. */
#define MIRROR_SUBMOUNTS 2u
#define MIRROR_WHY_MAX   128

/* Also the process's first message, when it is ready (err 0) or cannot do anything. */
struct mirror_answer {
    int32_t err; /* 0 or -errno */
    uint32_t flags;
    char why[MIRROR_WHY_MAX]; /* of the first message; terminated */
};

#endif
