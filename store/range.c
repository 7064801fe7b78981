/* SPDX-License-Identifier: Apache-2.0 */
#include "store/range.h"

#include <errno.h>

#include "store/content.h"
#include "store/file.h"
#include "store/quota.h"

static bool is_beyond(uint64_t offset, uint64_t len)
{
    return offset > LIMIT_FILE_MAX || len > LIMIT_FILE_MAX - offset;
}

/* ---- Fallocate --------------------------------------------------------------------------------*/

/* Returns the bytes of the range that are not stored. */
static uint64_t holes_in(struct op *op, uint64_t ino, uint64_t from, uint64_t to)
{
    uint64_t holes = to - from;

    for (uint64_t b = from / CONTENT_BLOCK; b * CONTENT_BLOCK < to; b++) {
        uint64_t start = max_u64(b * CONTENT_BLOCK, from);
        uint64_t end = min_u64(b * CONTENT_BLOCK + content_stored(op->rows, ino, b), to);

        holes -= end > start ? end - start : 0;
    }
    return holes;
}

static const struct {
    bool needs_room;
    bool clears;
    bool grows;
} modes[] = {
    [CFS__FALLOCATE__MODE__ALLOCATE] = {.needs_room = true, .grows = true},
    [CFS__FALLOCATE__MODE__KEEP_SIZE] = {.needs_room = true},
    [CFS__FALLOCATE__MODE__PUNCH_HOLE] = {.clears = true},
    [CFS__FALLOCATE__MODE__ZERO_RANGE] = {.clears = true, .grows = true},
    [CFS__FALLOCATE__MODE__ZERO_KEEP_SIZE] = {.clears = true},
};

static uint32_t check_room(struct op *op, const Cfs__Fallocate *c, const struct inode *inode)
{
    uint64_t quota = quota_of(op, inode), holes;

    if (op_has_room(op, c->len) && quota_has_room(op, quota, c->len, 0))
        return 0;
    holes = holes_in(op, c->ino, c->offset, c->offset + c->len);
    if (!op_has_room(op, holes))
        return ENOSPC;
    return quota_has_room(op, quota, holes, 0) ? 0 : EDQUOT;
}

static uint32_t check_fallocate(struct op *op, const Cfs__Fallocate *c, const struct inode *inode)
{
    if (c->mode != CFS__FALLOCATE__MODE__PUNCH_HOLE && is_beyond(c->offset, c->len))
        return EFBIG;
    return modes[c->mode].needs_room ? check_room(op, c, inode) : 0;
}

uint32_t range_fallocate(struct op *op, const Cfs__Fallocate *c)
{
    struct op_inode i;
    uint32_t status;

    if (c->len == 0 || (uint32_t)c->mode >= ARRAY_LEN(modes))
        return EINVAL;
    if (!op_inode_find(op, c->ino, &i))
        return ESTALE;
    if ((status = op_check_regular(&i.was)) || (status = check_fallocate(op, c, &i.was)))
        return status;

    if (modes[c->mode].clears && c->offset < i.was.size)
        content_clear(op->rows, &i.is, c->offset,
                      c->offset + min_u64(c->len, i.was.size - c->offset));
    if (modes[c->mode].grows)
        i.is.size = max_u64(i.is.size, c->offset + c->len);
    file_data_changed(op, &i.is, c->kill);
    op_inode_save(op, &i);
    op_reply_attr(op, &i.is);
    return 0;
}

/* ---- Copy -------------------------------------------------------------------------------------*/

struct copy {
    const Cfs__Copy *c;
    uint64_t len; /* to be copied */
    struct op_inode src;
    struct op_inode dst; /* equal to src if both are one inode */
};

static bool overlaps(const struct copy *copy)
{
    const Cfs__Copy *c = copy->c;

    return c->src_offset < c->dst_offset + copy->len && c->dst_offset < c->src_offset + copy->len;
}

static uint32_t copy_find(struct op *op, struct copy *copy)
{
    const Cfs__Copy *c = copy->c;
    uint32_t status;

    if (!op_inode_find(op, c->src, &copy->src) || !op_inode_find(op, c->dst, &copy->dst))
        return ESTALE;
    if ((status = op_check_regular(&copy->src.was)) || (status = op_check_regular(&copy->dst.was)))
        return status;
    if (c->src_offset < copy->src.was.size)
        copy->len = min_u64(c->len, copy->src.was.size - c->src_offset);
    if (copy->len > 0 && is_beyond(c->dst_offset, copy->len))
        return EFBIG;
    if (c->src == c->dst && (c->truncate || (copy->len > 0 && overlaps(copy))))
        return EINVAL;
    return 0;
}

/* Returns the end of the stored bytes of src in [from, to), or `from` if there are none. The range
 * is at most one block long, so it lies in at most two blocks. */
static uint64_t stored_end(struct op *op, uint64_t ino, uint64_t from, uint64_t to)
{
    for (uint64_t b = (to - 1) / CONTENT_BLOCK + 1; b-- > from / CONTENT_BLOCK;) {
        uint64_t start = max_u64(b * CONTENT_BLOCK, from);
        uint64_t end = min_u64(b * CONTENT_BLOCK + content_stored(op->rows, ino, b), to);

        if (end > start)
            return end;
    }
    return from;
}

/* Returns exactly by how much dst's stored bytes would grow. */
static int64_t copy_growth(struct op *op, const struct copy *copy)
{
    const Cfs__Copy *c = copy->c;
    uint64_t end = c->dst_offset + copy->len;
    int64_t growth = c->truncate ? -(int64_t)copy->dst.was.stored : 0;

    for (uint64_t b = c->dst_offset / CONTENT_BLOCK; b * CONTENT_BLOCK < end; b++) {
        uint64_t from = max_u64(b * CONTENT_BLOCK, c->dst_offset);
        uint64_t to = min_u64((b + 1) * CONTENT_BLOCK, end);
        uint64_t shift = c->dst_offset - c->src_offset; /* modulo 2^64 */
        uint64_t was = c->truncate ? 0 : content_stored(op->rows, c->dst, b);
        uint64_t is = content_cleared(was, b, from, to);
        uint64_t new_end = stored_end(op, c->src, from - shift, to - shift) + shift;

        if (new_end > from)
            is = max_u64(is, new_end - b * CONTENT_BLOCK);
        growth += (int64_t)is - (int64_t)was;
    }
    return growth;
}

/* First compares a cheap upper bound; computes the exact growth only near the limit. */
static uint32_t copy_check_space(struct op *op, const struct copy *copy)
{
    uint64_t bound = copy->len + 2 * CONTENT_BLOCK, quota = quota_of(op, &copy->dst.was);
    int64_t growth;

    if (copy->len == 0 || (op_has_room(op, bound) && quota_has_room(op, quota, bound, 0)))
        return 0;
    growth = copy_growth(op, copy);
    if (growth > 0 && !op_has_room(op, (uint64_t)growth))
        return ENOSPC;
    return growth <= 0 || quota_has_room(op, quota, (uint64_t)growth, 0) ? 0 : EDQUOT;
}

static void copy_blocks(struct op *op, struct copy *copy)
{
    const Cfs__Copy *c = copy->c;
    uint64_t end = c->src_offset + copy->len;
    uint8_t bytes[CONTENT_BLOCK];

    for (uint64_t b = c->src_offset / CONTENT_BLOCK; b * CONTENT_BLOCK < end; b++) {
        uint64_t start = b * CONTENT_BLOCK;
        uint64_t from = max_u64(start, c->src_offset);
        uint64_t to = min_u64(start + content_load(op->rows, c->src, b, bytes), end);

        if (to > from)
            content_write(op->rows, &copy->dst.is, c->dst_offset + (from - c->src_offset),
                          (struct bytes){bytes + (from - start), to - from});
    }
}

static void copy_content(struct op *op, struct copy *copy)
{
    const Cfs__Copy *c = copy->c;
    struct inode *dst = &copy->dst.is;

    if (c->truncate)
        content_truncate(op->rows, dst, 0);
    if (copy->len > 0) {
        content_clear(op->rows, dst, c->dst_offset, c->dst_offset + copy->len);
        copy_blocks(op, copy);
        dst->size = max_u64(dst->size, c->dst_offset + copy->len);
    }
    file_data_changed(op, dst, c->kill);
    op_inode_save(op, &copy->dst);
}

uint32_t range_copy(struct op *op, const Cfs__Copy *c)
{
    struct copy copy = {.c = c};
    uint32_t status;

    if ((status = copy_find(op, &copy)) || (status = copy_check_space(op, &copy)))
        return status;
    if (copy.len > 0 || c->truncate)
        copy_content(op, &copy);
    op->reply.value = copy.len;
    op_reply_attr(op, &copy.dst.is);
    return 0;
}
