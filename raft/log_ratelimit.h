/* SPDX-License-Identifier: Apache-2.0 */
/* Limits log lines that strangers can provoke: the same text about the same origin is logged at
 * most once a minute. A zeroed struct is empty. Not thread-safe. */
#ifndef RAFT_LOG_RATELIMIT_H
#define RAFT_LOG_RATELIMIT_H

#include "base/base.h"

#define LOG_RATELIMIT_MAX 64    /* lines remembered; the oldest is forgotten first */
#define LOG_RATELIMIT_MS  60000 /* pause between two equal lines */

struct log_ratelimit {
    struct {
        uint64_t key;
        uint64_t until;
    } said[LOG_RATELIMIT_MAX];
};

/* True if this line may be logged now; it then counts as logged. `now_ms` is monotonic. */
BASE_MUST_USE bool log_ratelimit_allows(struct log_ratelimit *c, uint64_t now_ms,
                                        const char *origin, const char *text);

#endif
