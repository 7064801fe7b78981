/* SPDX-License-Identifier: Apache-2.0 */
/* Delivers what the loop thread reports and several features must know. It goes through the
 * mailbox; the reader thread hands it to each feature, in an order that this file decides. (A
 * report for one feature only is posted and delivered by that feature.)
 *
 * Loop thread. */
#ifndef FS_DELIVER_H
#define FS_DELIVER_H

#include "base/base.h"
#include "fs/fs.h"
#include "proto/command.pb-c.h"

struct fs;

/* fs_changed. Takes the array and the changes in it. */
void deliver_changes(struct fs *fs, Cfs__Change **changes, size_t n, bool own);
/* fs_replaced. */
void deliver_replaced(struct fs *fs);
/* fs_session. */
void deliver_session(struct fs *fs, uint64_t session);

/* Any thread: new options of the mount. */
void deliver_options(struct fs *fs, unsigned timeout_ms, enum fs_lostlock lostlock);

#endif
