/* SPDX-License-Identifier: Apache-2.0 */
#include "store/content.h"

#include <stdlib.h>
#include <string.h>

/* Copies the data of an existing block to out. */
static void load(struct rows *r, const struct block *b, uint8_t out[CONTENT_BLOCK])
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_BLOCK_GET);
    struct bytes data;

    db_bind(st, 1, b->id);
    check(db_step(r->db, st) > 0);
    data = row_bytes(st, 1);
    check(data.len == b->len && data.len <= CONTENT_BLOCK);
    /* Rewriting damaged data would give it a valid checksum. */
    if (!hash_equal(hash_bytes(data.data, data.len), b->sum))
        die("block %llu of inode %llu is damaged on this member's disk: remove the member and add "
            "it anew",
            (unsigned long long)(b->id & ((1u << CONTENT_INDEX_BITS) - 1)),
            (unsigned long long)(b->id >> CONTENT_INDEX_BITS));
    memcpy(out, data.data, data.len);
    db_reset(st);
}

static void put_block(struct rows *r, struct inode *inode, const struct block *was, uint64_t id,
                      struct bytes data)
{
    struct block is;

    if (was != NULL)
        row_block_update(r, was, data, &is);
    else
        row_block_insert(r, id, data, &is);
    inode->stored += is.len - (was != NULL ? was->len : 0);
}

static void write_block(struct rows *r, struct inode *inode, uint64_t index, size_t at,
                        struct bytes data)
{
    uint8_t bytes[CONTENT_BLOCK];
    uint64_t id = content_id(inode->ino, index);
    struct block was;
    bool there = row_block_find(r, id, &was);
    size_t len = there ? was.len : 0;

    if (at == 0 && data.len >= len) { /* the new data replace all of the old */
        put_block(r, inode, there ? &was : NULL, id, data);
        return;
    }
    if (there)
        load(r, &was, bytes);
    if (at > len)
        memset(bytes + len, 0, at - len);
    memcpy(bytes + at, data.data, data.len);
    len = max_u64(len, at + data.len);
    put_block(r, inode, there ? &was : NULL, id, (struct bytes){bytes, len});
}

void content_write(struct rows *r, struct inode *inode, uint64_t offset, struct bytes data)
{
    inode->size = max_u64(inode->size, offset + data.len);
    while (data.len > 0) {
        size_t at = offset % CONTENT_BLOCK;
        size_t len = min_u64(data.len, CONTENT_BLOCK - at);

        write_block(r, inode, offset / CONTENT_BLOCK, at, (struct bytes){data.data, len});
        offset += len;
        data.data += len;
        data.len -= len;
    }
}

/* Shortens the block that holds the new end of the file, so that the bytes behind it do not
 * reappear when the file grows. */
static void cut_block(struct rows *r, struct inode *inode, uint64_t size)
{
    uint8_t bytes[CONTENT_BLOCK];
    size_t keep = size % CONTENT_BLOCK;
    struct block was;

    if (keep == 0 || !row_block_find(r, content_id(inode->ino, size / CONTENT_BLOCK), &was) ||
        was.len <= keep)
        return;
    load(r, &was, bytes);
    put_block(r, inode, &was, was.id, (struct bytes){bytes, keep});
}

void content_truncate(struct rows *r, struct inode *inode, uint64_t size)
{
    if (size < inode->size && inode->stored > 0) {
        uint64_t first = (size + CONTENT_BLOCK - 1) / CONTENT_BLOCK;
        uint64_t last = (1u << CONTENT_INDEX_BITS) - 1;

        inode->stored -=
            row_block_delete_range(r, content_id(inode->ino, first), content_id(inode->ino, last));
        cut_block(r, inode, size);
    }
    inode->size = size;
}

size_t content_load(struct rows *r, uint64_t ino, uint64_t index, uint8_t out[CONTENT_BLOCK])
{
    struct block b;

    if (!row_block_find(r, content_id(ino, index), &b))
        return 0;
    load(r, &b, out);
    return b.len;
}

size_t content_stored(struct rows *r, uint64_t ino, uint64_t index)
{
    struct block b;

    return row_block_find(r, content_id(ino, index), &b) ? b.len : 0;
}

/* ---- Clearing ---------------------------------------------------------------------------------*/

size_t content_cleared(size_t len, uint64_t index, uint64_t from, uint64_t to)
{
    uint64_t start = index * CONTENT_BLOCK;

    if (to < start + len || from >= start + len)
        return len;
    return from > start ? from - start : 0;
}

static void clear_block(struct rows *r, struct inode *inode, uint64_t index, uint64_t from,
                        uint64_t to)
{
    uint64_t start = index * CONTENT_BLOCK, id = content_id(inode->ino, index);
    uint8_t bytes[CONTENT_BLOCK];
    struct block was;
    size_t keep, at;

    if (!row_block_find(r, id, &was) || from >= start + was.len)
        return;
    keep = content_cleared(was.len, index, from, to);
    if (keep == 0) {
        inode->stored -= row_block_delete_range(r, id, id);
        return;
    }
    load(r, &was, bytes);
    at = from > start ? from - start : 0;
    if (keep == was.len)
        memset(bytes + at, 0, to - start - at);
    put_block(r, inode, &was, id, (struct bytes){bytes, keep});
}

void content_clear(struct rows *r, struct inode *inode, uint64_t from, uint64_t to)
{
    uint64_t first = (from + CONTENT_BLOCK - 1) / CONTENT_BLOCK, last = to / CONTENT_BLOCK;

    if (from >= to || inode->stored == 0)
        return;
    if (first < last) /* whole blocks */
        inode->stored -= row_block_delete_range(r, content_id(inode->ino, first),
                                                content_id(inode->ino, last - 1));
    if (from % CONTENT_BLOCK != 0)
        clear_block(r, inode, from / CONTENT_BLOCK, from, to);
    if (to % CONTENT_BLOCK != 0 && last >= first) /* else the same block was done above */
        clear_block(r, inode, last, from, to);
}

/* ---- Growth -----------------------------------------------------------------------------------*/

/* Where the bytes of the writes to one block end. Afterwards the length of the block is the largest
 * of these ends and of its length before. */
struct reach {
    uint64_t index;
    uint64_t len;
};

static int compare_reach(const void *a, const void *b)
{
    const struct reach *x = a, *y = b;

    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->len > y->len ? -1 : x->len < y->len; /* longest first */
}

static size_t collect(const struct content_range *writes, size_t n, struct reach *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t end = writes[i].offset + writes[i].len;

        if (writes[i].len == 0)
            continue;
        for (uint64_t b = writes[i].offset / CONTENT_BLOCK; b <= (end - 1) / CONTENT_BLOCK; b++) {
            if (out != NULL)
                out[count] = (struct reach){b, min_u64(end - b * CONTENT_BLOCK, CONTENT_BLOCK)};
            count++;
        }
    }
    return count;
}

int64_t content_growth(struct rows *r, const struct inode *inode, bool truncate,
                       const struct content_range *writes, size_t n)
{
    size_t count = collect(writes, n, NULL);
    struct reach *reach = xmalloc(count * sizeof *reach);
    int64_t growth = truncate ? -(int64_t)inode->stored : 0;

    collect(writes, n, reach);
    qsort(reach, count, sizeof *reach, compare_reach);
    for (size_t i = 0; i < count; i++) {
        struct block b = {.len = 0};

        if (i > 0 && reach[i].index == reach[i - 1].index)
            continue;
        if (!truncate && !row_block_find(r, content_id(inode->ino, reach[i].index), &b))
            b.len = 0;
        if (reach[i].len > b.len)
            growth += (int64_t)(reach[i].len - b.len);
    }
    free(reach);
    return growth;
}

/* ---- Hash -------------------------------------------------------------------------------------*/

static void add_zeros(struct hash_stream *h, uint64_t n)
{
    static const uint8_t zeros[CONTENT_BLOCK];

    for (; n > 0; n -= min_u64(n, sizeof zeros))
        hash_stream_add(h, zeros, min_u64(n, sizeof zeros));
}

uint64_t content_xxh3(struct rows *r, const struct inode *inode)
{
    struct hash_stream *h = hash_stream_new();
    sqlite3_stmt *st = db_get(r->db, STATEMENT_BLOCK_RANGE);
    uint64_t at = 0;

    db_bind(st, 1, content_id(inode->ino, 0));
    db_bind(st, 2, content_id(inode->ino, (1u << CONTENT_INDEX_BITS) - 1));
    while (db_step(r->db, st) > 0) {
        uint64_t index = db_u64(st, 0) & ((1u << CONTENT_INDEX_BITS) - 1);
        struct bytes data = row_bytes(st, 2);

        add_zeros(h, index * CONTENT_BLOCK - at);
        hash_stream_add(h, data.data, data.len);
        at = index * CONTENT_BLOCK + data.len;
    }
    add_zeros(h, inode->size - at);
    return hash_stream_end(h);
}
