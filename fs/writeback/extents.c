/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/writeback/extents.h"

#include <stdlib.h>
#include <string.h>

#include "fs/kernel/convert.h"
#include "proto/limits.h"

static void drop_extents(struct extents *p, size_t n)
{
    while (p->n > n) {
        p->bytes -= p->extents[p->n - 1].data.len;
        buf_fini(&p->extents[--p->n].data);
    }
}

void extents_fini(struct extents *p)
{
    drop_extents(p, 0);
    free(p->extents);
    *p = (struct extents){0};
}

void extents_truncate(struct extents *p)
{
    drop_extents(p, 0);
    p->truncate = true;
}

void extents_cut(struct extents *p, size_t n)
{
    drop_extents(p, n);
    if (p->n == 0)
        p->truncate = false;
}

static struct extent *add_extent(struct extents *p)
{
    if (p->n == p->cap) {
        p->cap = p->cap == 0 ? 4 : 2 * p->cap;
        p->extents = xrealloc(p->extents, p->cap * sizeof(*p->extents));
    }
    p->extents[p->n] = (struct extent){0};
    return &p->extents[p->n++];
}

void extents_write(struct extents *p, uint64_t offset, const void *data, size_t len, bool join)
{
    struct extent *e = p->n == 0 ? NULL : &p->extents[p->n - 1];

    if (!join || e == NULL || e->offset + e->data.len != offset) {
        e = add_extent(p);
        e->offset = offset;
    }
    buf_append(&e->data, data, len);
    p->bytes += len;
}

void extents_prepend(struct extents *p, struct extents *earlier)
{
    struct extents later = *p;

    *p = *earlier;
    *earlier = (struct extents){0};
    p->kill = max_u64(p->kill, later.kill);
    if (later.truncate)
        extents_truncate(p);
    for (size_t i = 0; i < later.n; i++) {
        *add_extent(p) = later.extents[i];
        p->bytes += later.extents[i].data.len;
    }
    free(later.extents);
}

uint64_t extents_size(const struct extents *p, uint64_t size)
{
    if (p->truncate)
        size = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->extents[i].data.len > 0)
            size = max_u64(size, p->extents[i].offset + p->extents[i].data.len);
    return size;
}

void extents_overlay(const struct extents *p, uint64_t offset, uint8_t *out, size_t len)
{
    if (p->truncate)
        memset(out, 0, len);
    for (size_t i = 0; i < p->n; i++) {
        const struct extent *e = &p->extents[i];
        uint64_t from = max_u64(offset, e->offset);
        uint64_t to = min_u64(offset + len, e->offset + e->data.len);

        if (from < to)
            memcpy(out + (from - offset), e->data.data + (from - e->offset), to - from);
    }
}

/* ---- Commands -------------------------------------------------------------------------------- */

struct cutter {
    const struct extents *extents;
    size_t extent; /* the next extent … */
    size_t skip;   /* … from this byte on */
    bool more;
};

/* Fills one command. Returns false if nothing is left. */
static bool cut(struct cutter *c, Cfs__Write *write, Cfs__Extent *extents, Cfs__Extent **pointers)
{
    size_t room = LIMIT_WRITE_MAX;

    if (!c->more)
        return false;
    cfs__write__init(write);
    write->extents = pointers;
    while (c->extent < c->extents->n && room > 0 && write->n_extents < LIMIT_EXTENTS_MAX) {
        const struct extent *e = &c->extents->extents[c->extent];
        size_t len = min_u64(e->data.len - c->skip, room);
        Cfs__Extent *out = &extents[write->n_extents];

        cfs__extent__init(out);
        out->offset = e->offset + c->skip;
        out->data = convert_bytes(e->data.data + c->skip, len);
        pointers[write->n_extents++] = out;
        room -= len;
        c->skip += len;
        if (c->skip == e->data.len) {
            c->extent++;
            c->skip = 0;
        }
    }
    c->more = c->extent < c->extents->n;
    write->truncate = !c->more && c->extents->truncate;
    write->kill = c->more ? CFS__KILL__KILL_NONE : c->extents->kill;
    return true;
}

void extents_commands(const struct extents *p, void (*fn)(void *arg, Cfs__Write *write), void *arg)
{
    struct cutter c = {.extents = p, .more = true};
    size_t max = min_u64(p->n, LIMIT_EXTENTS_MAX);
    Cfs__Extent *extents = xcalloc(max, sizeof(*extents));
    Cfs__Extent **pointers = xcalloc(max, sizeof(Cfs__Extent *));
    Cfs__Write write;

    while (cut(&c, &write, extents, pointers))
        fn(arg, &write);
    free(pointers);
    free(extents);
}

static void count_one(void *arg, Cfs__Write *write)
{
    (void)write;
    ++*(size_t *)arg;
}

size_t extents_n_commands(const struct extents *p)
{
    size_t n = 0;

    extents_commands(p, count_one, &n);
    return n;
}
