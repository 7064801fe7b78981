/* SPDX-License-Identifier: Apache-2.0 */
/* WAL checkpoints, on a thread and a connection of their own, so that the loop thread does not pay
 * for them: what the write-ahead log holds is copied into the database file, and then the log can
 * be written from its start again. An idle store costs nothing: the thread sleeps until told. */
#ifndef STORE_CHECKPOINT_H
#define STORE_CHECKPOINT_H

#include <pthread.h>

#include "base/base.h"

struct checkpoint;

/* Borrows path and mutex. `writer` is held by the loop thread during each of its transactions.
 * 0 or -errno, then a reason in errmsg. */
int checkpoint_start(const char *path, pthread_mutex_t *writer, struct checkpoint **out,
                     char *errmsg, size_t errmsg_len);
/* Ends the thread and closes its connection. */
void checkpoint_stop(struct checkpoint *c);

/* The log has so many pages now. Loop thread, after each commit; returns at once. */
void checkpoint_notify(struct checkpoint *c, unsigned pages);

#endif
