/* SPDX-License-Identifier: Apache-2.0 */
/* Staged writes: content put aside until a Write of the same session names its stage. */
#include <errno.h>
#include <stdlib.h>

#include "tests/lib/model_op.h"

static void free_extents(struct model_session *s, uint64_t stage, bool all)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->n_staged; i++)
        if (all || s->staged[i].stage == stage)
            buf_fini(&s->staged[i].data);
        else
            s->staged[kept++] = s->staged[i];
    s->n_staged = kept;
}

void model_staged_fini(struct model_session *s)
{
    free_extents(s, 0, true);
    free(s->staged);
}

void model_staged_drop(struct model_session *s, uint64_t stage)
{
    free_extents(s, stage, false);
}

size_t model_staged(const struct model_session *s, uint64_t stage, uint64_t *bytes)
{
    size_t n = 0;

    *bytes = 0;
    for (size_t i = 0; i < s->n_staged; i++)
        if (s->staged[i].stage == stage) {
            *bytes += s->staged[i].data.len;
            n++;
        }
    return n;
}

static int stage_status(const struct model_session *s, const Cfs__Stage *stage)
{
    uint64_t total = 0, bytes;
    size_t n = model_staged(s, stage->stage, &bytes);

    if (stage->n_extents > LIMIT_EXTENTS_MAX)
        return E2BIG;
    for (size_t i = 0; i < stage->n_extents; i++) {
        const Cfs__Extent *e = stage->extents[i];

        total += e->data.len;
        if (total > LIMIT_WRITE_MAX)
            return E2BIG;
        if (e->data.len > 0 &&
            (e->offset > LIMIT_FILE_MAX || e->data.len > LIMIT_FILE_MAX - e->offset))
            return EFBIG;
    }
    return bytes + total > LIMIT_STAGE_BYTES || n + stage->n_extents > LIMIT_STAGE_EXTENTS ? E2BIG
                                                                                           : 0;
}

int model_op_stage(struct model_step *s, const Cfs__Command *command,
                   struct model_reply *reply BASE_UNUSED)
{
    const Cfs__Stage *stage = command->stage;
    struct model_session *session = model_find_session(s->model, s->session);
    int status = stage->stage == 0 ? EINVAL : model_data_status(model_find(s->model, stage->ino));

    if (status == 0)
        status = stage_status(session, stage);
    if (status != 0)
        return status;
    for (size_t i = 0; i < stage->n_extents; i++) {
        const Cfs__Extent *e = stage->extents[i];

        if (e->data.len == 0)
            continue;
        session->staged =
            xrealloc(session->staged, (session->n_staged + 1) * sizeof *session->staged);
        session->staged[session->n_staged++] =
            (struct model_staged){stage->stage, e->offset, buf_copy(e->data.data, e->data.len)};
    }
    return 0;
}

int model_op_unstage(struct model_step *s, const Cfs__Command *command,
                     struct model_reply *reply BASE_UNUSED)
{
    model_staged_drop(model_find_session(s->model, s->session), command->unstage->stage);
    return 0;
}
