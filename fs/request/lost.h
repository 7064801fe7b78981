/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of this host whose requests were told that they failed (EINTR, ETIMEDOUT), although they
 * may be committed later. They are recognised then by their signature: it says what is changed and
 * how, and a command has the same signature as the change that it makes.
 *
 * Promise P5 does not allow to miss them: without this module, a watcher on this host would not
 * hear of such a change, since the mirror leaves out what this host has done itself.
 *
 * Reader thread only. */
#ifndef FS_REQUEST_LOST_H
#define FS_REQUEST_LOST_H

#include "base/base.h"
#include "proto/command.pb-c.h"

struct call;
struct fs;

#define LOST_MAX 1024 /* beyond this the oldest are dropped: they raise no events */

struct losts {
    uint64_t *signatures;
    unsigned n;
};

/* 0: the command makes no visible change. */
uint64_t lost_of_command(const Cfs__Command *command);
uint64_t lost_of_change(const Cfs__Change *change);

void lost_add(struct losts *l, uint64_t signature);
/* Removes the signature. True: it was there. */
bool lost_take(struct losts *l, uint64_t signature);
void lost_clear(struct losts *l); /* also frees */

/* A call has come back. Notes its change if its fate is unknown, and drops all such changes when
 * they were made or never will be (fs.uncertain_serial). */
void lost_note_call(struct fs *fs, const struct call *c);

#endif
