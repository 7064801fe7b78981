/* SPDX-License-Identifier: Apache-2.0 */
/* The messages between the daemon and the mirror's process (fs/mirror/mirror_child.h), over a
 * socket pair of type SOCK_SEQPACKET: one each way for an operation. Both sides are the same
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
    MIRROR_DATA, /* content of a regular file */
    MIRROR_ATTR,
    MIRROR_PING, /* no operation: asks for the flags of the answer */
};

#define MIRROR_TEXTS    4 /* the two names, then the paths of the two directories; each may be "" */
#define MIRROR_TEXT_MAX (2 * 256 + 2 * PATH_MAX)

/* The texts follow, each with its NUL. */
struct mirror_ask {
    uint32_t kind;
    uint32_t mode; /* type and permissions of the entry */
    uint64_t rdev;
    uint64_t ino;
    uint64_t victim; /* the inode that the second name leads to; 0: none */
    uint64_t dirs[2];
};

/* The kernel's cache has no entry of a directory with that number: ask again with paths. */
#define MIRROR_WANTS_PATHS 1u
/* Something is mounted on a directory of the mount. */
#define MIRROR_SUBMOUNTS 2u
#define MIRROR_WHY_MAX   128

/* The answer. It is also the first message of the process, when it is ready (err 0) or cannot work.
 */
struct mirror_answer {
    int32_t err; /* 0 or -errno */
    uint32_t flags;
    char why[MIRROR_WHY_MAX]; /* in the first message; terminated */
};

#endif
