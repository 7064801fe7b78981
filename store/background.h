/* SPDX-License-Identifier: Apache-2.0 */
/* Work that may take long, on a thread of its own: copies, verifications, checkpoints.
 *
 * A simulation has one thread and decides itself when such work is done: it sets
 * `background_plan` before it opens a store. Then nothing is started here, the plan is told
 * instead, and calls background_run when it likes; background_join does it at the latest. */
#ifndef STORE_BACKGROUND_H
#define STORE_BACKGROUND_H

#include <pthread.h>

#include "base/base.h"

struct background {
    void *(*main)(void *arg);
    void *arg;
    pthread_t thread;
    bool started; /* and not joined */
    bool done;    /* with a plan: it has run */
};

struct background_plan {
    void (*started)(struct background *b);  /* background_run may be called from now on, … */
    void (*finished)(struct background *b); /* … and from now on no more */
    /* Checkpoints are then made by store_commit itself, and for a log so many times smaller. */
    unsigned checkpoint_scale;
};

extern const struct background_plan *background_plan; /* NULL, as in production: threads */

/* Dies when there is no thread; `what` it is for. b stays where it is until it was joined. */
void background_start(struct background *b, void *(*main)(void *arg), void *arg, const char *what);
/* Waits for its end; nothing when it was not started. */
void background_join(struct background *b);
void background_run(struct background *b);

#endif
