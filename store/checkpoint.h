/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of the write-ahead log, on a thread and a connection of their own, so that the loop
 * thread does not pay for them. A checkpoint copies the pages of the log into the database file;
 * then the log can be overwritten from its start. The thread sleeps until checkpoint_notify wakes
 * it, so an idle store costs nothing. */
#ifndef STORE_CHECKPOINT_H
#define STORE_CHECKPOINT_H

#include <pthread.h>

#include "base/base.h"

struct checkpoint;

/* Borrows path and mutex until checkpoint_stop. The loop thread holds `writer` during each of its
 * transactions. 0 or -errno, with a reason in errmsg. */
int checkpoint_start(const char *path, pthread_mutex_t *writer, struct checkpoint **out,
                     char *errmsg, size_t errmsg_len);
/* Stops the thread and closes its connection. */
void checkpoint_stop(struct checkpoint *c);

/* Reports the number of pages in the log. Loop thread, after each commit; does not wait. */
void checkpoint_notify(struct checkpoint *c, unsigned pages);

#endif
