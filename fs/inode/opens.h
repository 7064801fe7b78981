/* SPDX-License-Identifier: Apache-2.0 */
/* The set of files that this host keeps open. The reader thread maintains it; the loop thread asks
 * it, to report unlinked files that are still in use. Thread-safe. */
#ifndef FS_INODE_OPENS_H
#define FS_INODE_OPENS_H

#include <pthread.h>

#include "base/base.h"

struct opens_entry;

struct opens {
    pthread_mutex_t lock;
    struct opens_entry *entries;
};

void opens_init(struct opens *o);
void opens_fini(struct opens *o);

void opens_add(struct opens *o, uint64_t ino);
void opens_drop(struct opens *o, uint64_t ino); /* undoes one opens_add */
unsigned opens_count(struct opens *o, uint64_t ino);

#endif
