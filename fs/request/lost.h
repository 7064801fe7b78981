/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of this host whose requests were told that they failed, though they may be committed
 * later (EINTR, ETIMEDOUT): so that they are recognised when they are. A signature says what is
 * changed, and how; a command and the change that it makes have the same.
 *
 * Reader thread only. */
#ifndef FS_REQUEST_LOST_H
#define FS_REQUEST_LOST_H

#include "base/base.h"
#include "proto/command.pb-c.h"

struct call;
struct fs;

#define LOST_MAX 1024 /* more are forgotten, the oldest first: they raise no events */

struct losts {
    uint64_t *signatures;
    unsigned n;
};

/* 0: makes no change that anybody sees. */
uint64_t lost_of_command(const Cfs__Command *command);
uint64_t lost_of_change(const Cfs__Change *change);

void lost_add(struct losts *l, uint64_t signature);
/* Is it there? It is not any more. */
bool lost_take(struct losts *l, uint64_t signature);
void lost_clear(struct losts *l); /* also frees */

/* A call has come back: notes its change if nobody knows whether it will be made, and forgets all
 * such changes when they have been made or never will be (fs.uncertain_serial). */
void lost_note_call(struct fs *fs, const struct call *c);

#endif
