/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of content: fallocate and copy_file_range. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/model_op.h"

static bool too_far(uint64_t offset, uint64_t len)
{
    return len > LIMIT_FILE_MAX || offset > LIMIT_FILE_MAX - len;
}

/* Clears the range. The end of a block need not be stored if it becomes zeros. */
static void clear(struct model_inode *inode, uint64_t from, uint64_t to)
{
    struct buf *c = &inode->content;

    if (from < min_u64(to, c->len))
        memset(c->data + from, 0, min_u64(to, c->len) - from);
    for (uint64_t i = 0; i < ARRAY_LEN(inode->reach); i++) {
        uint64_t start = i * MODEL_BLOCK, end = start + inode->reach[i];

        if (from < end && to >= end)
            inode->reach[i] = from > start ? (uint32_t)(from - start) : 0;
    }
}

static uint64_t holes_of(const struct model_inode *inode, const Cfs__Fallocate *f)
{
    uint64_t holes = f->len;

    for (uint64_t i = 0; i < ARRAY_LEN(inode->reach); i++) {
        uint64_t from = max_u64(i * MODEL_BLOCK, f->offset);
        uint64_t to = min_u64(i * MODEL_BLOCK + inode->reach[i], f->offset + f->len);

        holes -= to > from ? to - from : 0;
    }
    return holes;
}

int model_op_fallocate(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Fallocate *f = command->fallocate;
    struct model_inode *inode = model_find(s->model, f->ino);
    bool punch = f->mode == CFS__FALLOCATE__MODE__PUNCH_HOLE;
    int status = 0;

    if (f->len == 0 || f->mode < 0 || f->mode > CFS__FALLOCATE__MODE__ZERO_KEEP_SIZE)
        return EINVAL;
    status = model_data_status(inode);
    if (status == 0 && !punch && too_far(f->offset, f->len))
        status = EFBIG;
    if (status == 0 &&
        (f->mode == CFS__FALLOCATE__MODE__ALLOCATE || f->mode == CFS__FALLOCATE__MODE__KEEP_SIZE) &&
        s->model->n_quotas > 0 &&
        !model_quota_fits(s->model, model_quota_of(s->model, inode), holes_of(inode, f), 0))
        status = EDQUOT;
    if (status != 0)
        return status;
    if (f->mode == CFS__FALLOCATE__MODE__ALLOCATE || f->mode == CFS__FALLOCATE__MODE__ZERO_RANGE)
        model_set_size(inode, max_u64(inode->attr.size, f->offset + f->len));
    if (punch || f->mode == CFS__FALLOCATE__MODE__ZERO_RANGE ||
        f->mode == CFS__FALLOCATE__MODE__ZERO_KEEP_SIZE) {
        uint64_t size = inode->attr.size, from = min_u64(f->offset, size);

        clear(inode, from, f->len > size - from ? size : from + f->len);
    }
    model_note_content(s, inode, f->kill);
    model_reply_attr(reply, inode);
    return 0;
}

/* ---- Copy ------------------------------------------------------------------------------------ */

static int copy_status(const Cfs__Copy *c, const struct model_inode *src,
                       const struct model_inode *dst, uint64_t *len)
{
    int status;

    if (src == NULL || dst == NULL)
        return ESTALE;
    status = model_data_status(src);
    if (status == 0)
        status = model_data_status(dst);
    if (status != 0)
        return status;
    *len = c->src_offset < src->attr.size ? min_u64(c->len, src->attr.size - c->src_offset) : 0;
    if (*len > 0 && too_far(c->dst_offset, *len))
        return EFBIG;
    if (src != dst)
        return 0;
    if (c->truncate)
        return EINVAL;
    if (*len > 0 && c->src_offset < c->dst_offset + *len && c->dst_offset < c->src_offset + *len)
        return EINVAL;
    return 0;
}

/* Copies the stored bytes of the range block by block; the rest becomes holes. */
static void copy_stored(const struct model_inode *src, struct model_inode *dst, const Cfs__Copy *c,
                        uint64_t len)
{
    for (uint64_t i = 0; i < ARRAY_LEN(src->reach); i++) {
        uint64_t from = max_u64(i * MODEL_BLOCK, c->src_offset);
        uint64_t to = min_u64(i * MODEL_BLOCK + src->reach[i], c->src_offset + len);
        ProtobufCBinaryData piece;

        if (from >= to)
            continue;
        piece.len = to - from;
        piece.data = xmalloc(piece.len);
        model_read(src, from, piece.data, piece.len);
        model_put_bytes(dst, c->dst_offset + (from - c->src_offset), &piece);
        free(piece.data);
    }
}

static void copy_all(const struct model_inode *src, struct model_inode *dst, const Cfs__Copy *c,
                     uint64_t len)
{
    if (c->truncate)
        model_set_size(dst, 0);
    if (len == 0)
        return;
    model_set_size(dst, max_u64(dst->attr.size, c->dst_offset + len));
    clear(dst, c->dst_offset, c->dst_offset + len);
    copy_stored(src, dst, c, len);
}

static bool copy_fits(const struct model *m, const struct model_inode *src,
                      const struct model_inode *dst, const Cfs__Copy *c, uint64_t len)
{
    struct model_inode *shadow;

    if (m->n_quotas == 0)
        return true;
    shadow = model_shadow(dst);
    copy_all(src, shadow, c, len);
    return model_quota_fits_growth(m, dst, model_shadow_end(shadow));
}

int model_op_copy(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Copy *c = command->copy;
    struct model_inode *src = model_find(s->model, c->src), *dst = model_find(s->model, c->dst);
    uint64_t len = 0;
    int status = copy_status(c, src, dst, &len);

    if (status == 0 && !copy_fits(s->model, src, dst, c, len))
        status = EDQUOT;
    if (status != 0)
        return status;
    copy_all(src, dst, c, len);
    if (len > 0 || c->truncate)
        model_note_content(s, dst, c->kill);
    reply->value = len;
    model_reply_attr(reply, dst);
    return 0;
}
