/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/lifetime/open_lifetime.h"

#include <stdlib.h>

#include "fs/hash.h"
#include "fs/request/retried_command.h"
#include "fs/state.h"

struct open_lifetime {
    uint64_t ino;
    UT_hash_handle hh;
};

static struct open_lifetime *find(struct fs *fs, uint64_t ino)
{
    struct open_lifetime *m;

    HASH_FIND_U64(fs->open_lifetimes.table, ino, m);
    return m;
}

static void drop(struct fs *fs, struct open_lifetime *m)
{
    HASH_DEL(fs->open_lifetimes.table, m);
    free(m);
}

static bool ends_with_open(struct fs *fs, uint64_t ino)
{
    const struct backend *b = &fs->backend;
    uint64_t session = locks_session(fs);

    return b->ops->ends_with_open != NULL && session != 0 &&
           b->ops->ends_with_open(b->ctx, session, ino);
}

static void look(struct fs *fs, uint64_t ino)
{
    struct open_lifetime *m = find(fs, ino);
    bool is = ends_with_open(fs, ino);

    if (is && m == NULL) {
        m = xcalloc(1, sizeof(*m));
        m->ino = ino;
        HASH_ADD_U64(fs->open_lifetimes.table, ino, m);
    }
    if (!is && m != NULL)
        drop(fs, m);
}

void open_lifetimes_note(struct fs *fs, const Cfs__Change *c)
{
    if (c->kind == CFS__CHANGE__KIND__CREATE || c->kind == CFS__CHANGE__KIND__XATTR)
        look(fs, c->ino);
}

void open_lifetime_closed(struct fs *fs, uint64_t ino)
{
    struct open_lifetime *m = find(fs, ino);

    if (m == NULL || opens_count(&fs->opens, ino) > 0)
        return;
    if (ends_with_open(fs, ino)) /* the entry may be gone by now */
        retried_command_ephemeral(fs, locks_session(fs), ino);
    else
        drop(fs, m);
}

void open_lifetimes_forget(struct fs *fs)
{
    struct open_lifetime *m, *next;

    HASH_ITER (hh, fs->open_lifetimes.table, m, next)
        drop(fs, m);
}
