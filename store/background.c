/* SPDX-License-Identifier: Apache-2.0 */
#include "store/background.h"

const struct background_plan *background_plan;

void background_start(struct background *b, void *(*main)(void *arg), void *arg, const char *what)
{
    int err = 0;

    check(!b->started);
    b->main = main;
    b->arg = arg;
    b->done = false;
    if (background_plan == NULL)
        err = pthread_create(&b->thread, NULL, main, arg);
    if (err != 0)
        die("cannot create a thread for %s: error %d", what, err);
    b->started = true;
    if (background_plan != NULL)
        background_plan->started(b);
}

void background_run(struct background *b)
{
    check(b->started && !b->done);
    b->done = true;
    b->main(b->arg);
}

void background_join(struct background *b)
{
    if (!b->started)
        return;
    if (background_plan == NULL) {
        pthread_join(b->thread, NULL);
    } else {
        if (!b->done)
            background_run(b);
        background_plan->finished(b);
    }
    b->started = false;
}
