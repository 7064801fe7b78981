/* SPDX-License-Identifier: Apache-2.0 */
/* What commands hold while something runs: locks, as flock(1) takes them (the whole file, by
 * flock(2), which excludes all hosts), and the session that everything hangs on. */
#ifndef CLI_PRESENCE_H
#define CLI_PRESENCE_H

#include "base/base.h"

/* An answer of the daemon is good for so long. A daemon that does not answer may have been stopped,
 * and its session expired by the others. */
#define PRESENCE_PATIENCE_MS 5000
#define PRESENCE_FOREVER     (-1)

struct presence {
    int fd;
    char *path;
    char *fence;      /* the fencing token; NULL: there is none */
    uint64_t session; /* in which it is held */
};

/* Opens the file, which is made if need be, and locks it; waits so long (0: not at all). If it was
 * removed meanwhile, begins anew. 0 or -errno: -EWOULDBLOCK: not in time; -ENOTTY: not in a mounted
 * coordfs; -EINVAL: it cannot be locked. */
int presence_take(struct presence *p, const char *path, bool shared, int64_t wait_ms);
/* Gives it up, and forgets everything. */
void presence_release(struct presence *p);
/* What such an errno means. */
const char *presence_error(int err);

/* The session of the host, by a descriptor of something in the mount; 0: none, or its lease is
 * over, or what was locked through the descriptor is lost. */
uint64_t presence_session(int fd);
/* For run.h; arg: a struct presence. */
uint64_t presence_until(void *arg);

/* Replaces the content of the file that is locked, all or nothing, if the host's session still
 * holds the lock when it is done. 0 or -errno; -EACCES: it does not. */
int presence_write(const struct presence *p, const void *data, size_t len);

/* COORDFS_LOCK and COORDFS_FENCE, for the command. */
void presence_export(const struct presence *p);

#endif
