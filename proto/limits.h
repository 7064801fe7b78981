/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit of coordfs. `coordfs status --json` reports them. After "else:" is the error of an
 * operation beyond the limit. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#define LIMIT_NAME_MAX     255          /* bytes of an entry's name; else: ENAMETOOLONG */
#define LIMIT_SYMLINK_MAX  4095         /* bytes of a symlink's target; else: ENAMETOOLONG */
#define LIMIT_WRITE_MAX    (1u << 20)   /* bytes of data in one log entry */
#define LIMIT_FILE_MAX     (64u << 20)  /* bytes of a file; else: EFBIG */
#define LIMIT_XATTR_NAME   255          /* bytes of an xattr's name; else: ERANGE */
#define LIMIT_XATTR_VALUE  (64u << 10)  /* bytes of an xattr's value; else: E2BIG */
#define LIMIT_XATTR_TOTAL  (1u << 20)   /* bytes of an inode's xattrs; else: ENOSPC */
#define LIMIT_LINK_MAX     65000        /* links to an inode; else: EMLINK */
#define LIMIT_TREE_BYTES   (8ull << 30) /* bytes of all files, default; else: ENOSPC */
#define LIMIT_TREE_ENTRIES 10000000ull  /* inodes, default; else: ENOSPC */

#define LIMIT_COMMAND_MAX    (LIMIT_WRITE_MAX + (128u << 10))   /* bytes of a log entry's payload */
#define LIMIT_EXTENTS_MAX    4096                               /* extents of one Write */
#define LIMIT_STAGE_BYTES    (LIMIT_FILE_MAX + LIMIT_WRITE_MAX) /* bytes of a stage; else: E2BIG */
#define LIMIT_STAGE_EXTENTS  16384       /* extents of a stage; else: E2BIG */
#define LIMIT_REAP_MAX       1024        /* inodes of one Reap */
#define LIMIT_SESSIONS_MAX   4096        /* open sessions */
#define LIMIT_SESSION_WINDOW 4096        /* a session's commands in flight */
#define LIMIT_FRAME_MAX      (4u << 20)  /* bytes of one frame on a peer link */
#define LIMIT_DECODE_BUDGET  (16u << 20) /* bytes that decoding one frame may allocate */
#define LIMIT_MEMBERS_MAX    64          /* members of a cluster */
#define LIMIT_CLUSTER_NAME   64          /* bytes of a cluster's name: [A-Za-z0-9._-]+ */
#define LIMIT_ADDRESS        255         /* bytes of HOST:PORT */
#define LIMIT_QUOTA_COUNT    100000 /* names below a directory that gets a quota; else: E2BIG */

/* Sessions and locks */
#define LIMIT_SESSION_TTL_MIN 2000   /* least milliseconds without a heartbeat until expiry */
#define LIMIT_SESSION_TTL_MS  10000  /* default */
#define LIMIT_SESSION_TTL_MAX 300000 /* most */
#define LIMIT_LOCKS_SESSION   50000  /* locks and requests of a session; else: ENOLCK */
#define LIMIT_LOCKS_TOTAL     200000 /* locks and requests of all sessions; else: ENOLCK */
#define LIMIT_WAITERS_FILE    8192   /* waiting requests of a file; else: ENOLCK */
#define LIMIT_RELEASE_MAX     1024   /* handles of a ReleaseHandle, inodes of a ReleaseEphemeral */

/* Entries with a limited life, and transactions */
#define LIMIT_EPHEMERALS   10000     /* ephemeral entries of a session; else: EDQUOT */
#define LIMIT_TTL_MAX      315360000 /* seconds of a ttl; else: EINVAL */
#define LIMIT_EXPIRE_MAX   1024      /* entries of one ExpireEntries */
#define LIMIT_CONTAINERS   1000 /* containers removed with one entry; those above stay, empty */
#define LIMIT_SEQUENCE_TRY 1024 /* used numbers in a row; else: EEXIST */
#define LIMIT_GUARD_DEPTH  4096 /* directories above a guarded entry; else: EACCES */
#define LIMIT_TXN_STEPS    128  /* steps of a transaction; else: EINVAL */
#define LIMIT_TXN_PATH     4095 /* bytes of a path in it; else: ENAMETOOLONG */
#define LIMIT_TXN_HASHED   (64ull << 20) /* bytes that its conditions read; else: E2BIG */
#define LIMIT_TXN_GROUPS   65536         /* groups of the caller; else: EINVAL */
/* bytes of requests that a host's programs are handing over by ioctl; else: ENOBUFS */
#define LIMIT_EXCHANGES (32u << 20)

/* The name of the control directory, reserved in the root; else: EPERM */
#define LIMIT_CONTROL_NAME ".coordfs"

/* History */
#define LIMIT_HISTORY      100000  /* kept changes, default (user.coordfs.history) */
#define LIMIT_HISTORY_MAX  1000000 /* kept changes, at most */
#define LIMIT_HISTORY_PATH 4095    /* bytes of a path in it; see proto/feed.h */

#endif
