#include "fs/mortal.h"

#include <stdlib.h>

#include "fs/errand.h"
#include "fs/hash.h"
#include "fs/state.h"

struct mortal {
    uint64_t ino;
    UT_hash_handle hh;
};

static struct mortal *find(struct fs *fs, uint64_t ino)
{
    struct mortal *m;

    HASH_FIND_U64(fs->mortals.table, ino, m);
    return m;
}

static void drop(struct fs *fs, struct mortal *m)
{
    HASH_DEL(fs->mortals.table, m);
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
    struct mortal *m = find(fs, ino);
    bool is = ends_with_open(fs, ino);

    if (is && m == NULL) {
        m = xcalloc(1, sizeof(*m));
        m->ino = ino;
        HASH_ADD_U64(fs->mortals.table, ino, m);
    }
    if (!is && m != NULL)
        drop(fs, m);
}

void mortals_note(struct fs *fs, const Cfs__Change *c)
{
    if (c->kind == CFS__CHANGE__KIND__CREATE || c->kind == CFS__CHANGE__KIND__XATTR)
        look(fs, c->ino);
}

void mortal_closed(struct fs *fs, uint64_t ino)
{
    struct mortal *m = find(fs, ino);

    if (m == NULL || opens_count(&fs->opens, ino) > 0)
        return;
    if (ends_with_open(fs, ino)) /* it may be gone by now */
        errand_ephemeral(fs, locks_session(fs), ino);
    else
        drop(fs, m);
}

void mortals_forget(struct fs *fs)
{
    struct mortal *m, *next;

    HASH_ITER(hh, fs->mortals.table, m, next)
    drop(fs, m);
}
