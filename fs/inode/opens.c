/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/opens.h"

#include <stdlib.h>

#include "fs/hash.h"

struct opens_entry {
    uint64_t ino;
    unsigned count;
    UT_hash_handle hh;
};

void opens_init(struct opens *o)
{
    o->entries = NULL;
    check(pthread_mutex_init(&o->lock, NULL) == 0);
}

void opens_fini(struct opens *o)
{
    struct opens_entry *entry, *next;

    HASH_ITER (hh, o->entries, entry, next) {
        HASH_DEL(o->entries, entry);
        free(entry);
    }
    check(pthread_mutex_destroy(&o->lock) == 0);
}

void opens_add(struct opens *o, uint64_t ino)
{
    struct opens_entry *entry;

    pthread_mutex_lock(&o->lock);
    HASH_FIND_U64(o->entries, ino, entry);
    if (entry == NULL) {
        entry = xcalloc(1, sizeof(*entry));
        entry->ino = ino;
        HASH_ADD_U64(o->entries, ino, entry);
    }
    entry->count++;
    pthread_mutex_unlock(&o->lock);
}

void opens_drop(struct opens *o, uint64_t ino)
{
    struct opens_entry *entry;

    pthread_mutex_lock(&o->lock);
    HASH_FIND_U64(o->entries, ino, entry);
    check(entry != NULL && entry->count > 0);
    if (--entry->count == 0) {
        HASH_DEL(o->entries, entry);
        free(entry);
    }
    pthread_mutex_unlock(&o->lock);
}

unsigned opens_count(struct opens *o, uint64_t ino)
{
    struct opens_entry *entry;
    unsigned count;

    pthread_mutex_lock(&o->lock);
    HASH_FIND_U64(o->entries, ino, entry);
    count = entry == NULL ? 0 : entry->count;
    pthread_mutex_unlock(&o->lock);
    return count;
}
