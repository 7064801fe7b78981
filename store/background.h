/* SPDX-License-Identifier: Apache-2.0 */
/* Long work on a thread of its own: snapshots, verifications, checkpoints.
 *
 * A simulation has one thread and decides when such work is done. It sets `background_plan` before
 * it opens a store. Then background_start starts no thread but calls the plan, and the plan calls
 * background_run when it likes. background_join runs the work if the plan has not done so. */
#ifndef STORE_BACKGROUND_H
#define STORE_BACKGROUND_H

#include <pthread.h>

#include "base/base.h"

struct background {
    void *(*main)(void *arg);
    void *arg;
    pthread_t thread;
    bool started; /* the thread runs, or waits for background_join */
    bool done;    /* with a plan only: the work was done */
};

struct background_plan {
    void (*started)(struct background *b);  /* from now on the plan may call background_run, … */
    void (*finished)(struct background *b); /* … and from now on it may not */
    /* With a plan, store_commit makes the checkpoints itself; all thresholds are divided by this.
     */
    unsigned checkpoint_scale;
};

extern const struct background_plan *background_plan; /* NULL in production: use threads */

/* Starts main(arg). Dies if no thread can be created; `what` names the work in that message. b must
 * stay valid and in place until background_join. */
void background_start(struct background *b, void *(*main)(void *arg), void *arg, const char *what);
/* Waits until the work is done. Does nothing if it was not started. */
void background_join(struct background *b);
void background_run(struct background *b);

#endif
