/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the tests of locks: commands for locks of several hosts, one line each. */
#ifndef TESTS_LIB_LOCK_KIT_H
#define TESTS_LIB_LOCK_KIT_H

#include "tests/lib/store_kit.h"

#define LOCK_KIT_END INT64_MAX

enum lock_kit_how { READ = 0, WRITE = 1, NOWAIT = 2 }; /* READ or WRITE, optionally with NOWAIT */

/* Each returns the status; kit.value and kit.grants have the other results. */
uint32_t lock_flock(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t handle, int how);
uint32_t lock_unflock(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t handle);
/* POSIX; the handle is the owner's number + 1000. */
uint32_t lock_range(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t owner, uint64_t start,
                    uint64_t end, int how);
uint32_t lock_range_by(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t handle,
                       uint64_t owner, uint64_t start, uint64_t end, int how);
uint32_t lock_unrange(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t owner,
                      uint64_t start, uint64_t end);
uint32_t lock_release(struct kit *k, struct kit_host *h, uint64_t handle);
uint32_t lock_cancel_wait(struct kit *k, struct kit_host *h, uint64_t id);
uint32_t lock_close(struct kit *k, struct kit_host *h);
uint32_t lock_expire(struct kit *k, struct kit_host *h, uint64_t session, uint64_t term);

/* All locks as text, one after another, in the reader's order: INO KIND MEMBER/OWNER TYPE START-
 * END, for example "2f 1/7W;", "2p 1/7R0-9;"; waiting requests end with "?". */
const char *lock_list(struct kit *k);

#endif
