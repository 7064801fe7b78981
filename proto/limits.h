/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit of coordfs, in one place. `coordfs status --json` reports them. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#define LIMIT_NAME_MAX     255         /* bytes of a directory entry's name; beyond: ENAMETOOLONG */
#define LIMIT_SYMLINK_MAX  4095        /* bytes of a symlink's target; beyond: ENAMETOOLONG */
#define LIMIT_WRITE_MAX    (1u << 20)  /* bytes of data in one log entry */
#define LIMIT_FILE_MAX     (64u << 20) /* bytes of a file, default; beyond: EFBIG */
#define LIMIT_XATTR_NAME   255         /* bytes of an xattr's name; beyond: ERANGE */
#define LIMIT_XATTR_VALUE  (64u << 10) /* bytes of an xattr's value; beyond: E2BIG */
#define LIMIT_XATTR_TOTAL  (1u << 20)  /* bytes of all xattrs of an inode; beyond: ENOSPC */
#define LIMIT_LINK_MAX     65000       /* links to an inode; beyond: EMLINK */
#define LIMIT_TREE_BYTES   (8ull << 30) /* bytes of all files, default; beyond: ENOSPC */
#define LIMIT_TREE_ENTRIES 10000000ull  /* inodes, default; beyond: ENOSPC */

#define LIMIT_COMMAND_MAX    (LIMIT_WRITE_MAX + (128u << 10))   /* bytes of a log entry's payload */
#define LIMIT_EXTENTS_MAX    4096                               /* extents of one Write */
#define LIMIT_STAGE_BYTES    (LIMIT_FILE_MAX + LIMIT_WRITE_MAX) /* of one stage; beyond: E2BIG */
#define LIMIT_STAGE_EXTENTS  16384                              /* the same */
#define LIMIT_REAP_MAX       1024                               /* inodes of one Reap */
#define LIMIT_SESSIONS_MAX   4096                               /* open sessions */
#define LIMIT_SESSION_WINDOW 4096       /* commands of a session that may be on their way at once */
#define LIMIT_FRAME_MAX      (4u << 20) /* bytes of one frame on a peer link */
#define LIMIT_DECODE_BUDGET  (16u << 20) /* bytes that decoding one frame may allocate */
#define LIMIT_MEMBERS_MAX    64          /* members of a cluster */
#define LIMIT_CLUSTER_NAME   64          /* bytes of a cluster's name: [A-Za-z0-9._-]+ */
#define LIMIT_ADDRESS        255         /* bytes of HOST:PORT */
#define LIMIT_QUOTA_COUNT                                                                          \
    100000 /* names below a directory that is given a quota; beyond: E2BIG                         \
            */

/* Sessions and locks */
#define LIMIT_SESSION_TTL_MIN 2000   /* milliseconds that a session lives without a sign of life */
#define LIMIT_SESSION_TTL_MS  10000  /* the same, by default */
#define LIMIT_SESSION_TTL_MAX 300000 /* the same, at most */
#define LIMIT_LOCKS_SESSION   50000  /* locks a session holds or waits for; beyond: ENOLCK */
#define LIMIT_LOCKS_TOTAL     200000 /* the same, of all sessions */
#define LIMIT_WAITERS_FILE    8192   /* requests that wait for one file; beyond: ENOLCK */
#define LIMIT_RELEASE_MAX     1024 /* handles of one ReleaseHandle, inodes of a ReleaseEphemeral */

/* Entries that end by themselves, and transactions */
#define LIMIT_EPHEMERALS   10000     /* ephemeral entries of a session; beyond: EDQUOT */
#define LIMIT_TTL_MAX      315360000 /* seconds of a TTL; beyond: EINVAL */
#define LIMIT_EXPIRE_MAX   1024      /* entries of one ExpireEntries */
#define LIMIT_CONTAINERS   1000 /* containers that go with one entry; those above stay, empty */
#define LIMIT_SEQUENCE_TRY 1024 /* numbers in a row whose names are taken; then: EEXIST */
#define LIMIT_GUARD_DEPTH  4096 /* directories above an entry of a guarded tree; then: EACCES */
#define LIMIT_TXN_STEPS    128  /* of one transaction; beyond: EINVAL */
#define LIMIT_TXN_PATH     4095 /* bytes of a path in one; beyond: ENAMETOOLONG */
#define LIMIT_TXN_HASHED                                                                           \
    (64ull << 20)              /* bytes of files that its conditions read; beyond: E2BIG           \
                                */
#define LIMIT_TXN_GROUPS 65536 /* groups of a caller; beyond: EINVAL */
#define LIMIT_EXCHANGES                                                                            \
    (32u << 20) /* bytes of transactions that a host's programs are still handing over; beyond:    \
                   ENOBUFS */

/* The control directory: the name in the root that no entry can have; EPERM */
#define LIMIT_CONTROL_NAME ".coordfs"

/* History */
#define LIMIT_HISTORY      100000  /* changes that are kept, by default (user.coordfs.history) */
#define LIMIT_HISTORY_MAX  1000000 /* the same, at most */
#define LIMIT_HISTORY_PATH 4095    /* bytes of a directory's path in it; see proto/feed.h */

#endif
