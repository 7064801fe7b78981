/* SPDX-License-Identifier: Apache-2.0 */
/* Complaints that may come as often as strangers like are logged once a minute per kind and origin.
 * {0} has none. Not thread-safe. */
#ifndef RAFT_COMPLAINTS_H
#define RAFT_COMPLAINTS_H

#include "base/base.h"

#define COMPLAINTS_MAX 64    /* remembered; of more, those that come first are repeated first */
#define COMPLAINTS_MS  60000 /* until the same may be said again */

struct complaints {
    struct {
        uint64_t key;
        uint64_t until;
    } said[COMPLAINTS_MAX];
};

/* May this be logged now? Then it is taken as said. now_ms: monotone. */
BASE_MUST_USE bool complaints_may(struct complaints *c, uint64_t now_ms, const char *who,
                                  const char *what);

#endif
