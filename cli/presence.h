/* SPDX-License-Identifier: Apache-2.0 */
/* A lock that a command holds while it runs: on a whole file, by flock(2), which excludes all
 * hosts. And the host's session, which the lock belongs to. */
#ifndef CLI_PRESENCE_H
#define CLI_PRESENCE_H

#include "base/base.h"

/* How long an answer of the daemon is valid. A daemon that does not answer may be stopped, and the
 * other members may have expired its session. */
#define PRESENCE_PATIENCE_MS 5000
#define PRESENCE_FOREVER     (-1)

struct presence {
    int fd;
    char *path;
    char *fence;      /* the fencing token; NULL: there is none */
    uint64_t session; /* that owns the lock */
};

/* Opens the file, creates it if it does not exist, and locks it. Waits at most wait_ms (0: does not
 * wait). If the file was removed meanwhile, begins again. 0 or -errno: -EWOULDBLOCK: not in time;
 * -ENOTTY: not in a mounted coordfs; -EINVAL: not a regular file. */
int presence_take(struct presence *p, const char *path, bool shared, int64_t wait_ms);
/* Releases the lock and frees everything. */
void presence_release(struct presence *p);
/* The text for an error of presence_take. */
const char *presence_error(int err);

/* The session of this host; fd: anything in the mount. 0: no session, or its lease has expired, or
 * a lock taken through fd is lost. */
uint64_t presence_session(int fd);
/* For run.h; arg: a struct presence. */
uint64_t presence_until(void *arg);

/* Replaces the content of the locked file atomically, if the host's session still holds the lock. 0
 * or -errno; -EACCES: the session does not hold it. */
int presence_write(const struct presence *p, const void *data, size_t len);

/* Sets COORDFS_LOCK and COORDFS_FENCE in the environment. */
void presence_export(const struct presence *p);

#endif
