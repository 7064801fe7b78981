/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the operation of a command. */
#include <errno.h>

#include "tests/lib/model_op.h"

static int op_noop(struct model_step *s BASE_UNUSED, const Cfs__Command *command BASE_UNUSED,
                   struct model_reply *reply BASE_UNUSED)
{
    return 0;
}

/* A session cannot open a session. */
static int op_refused(struct model_step *s BASE_UNUSED, const Cfs__Command *command BASE_UNUSED,
                      struct model_reply *reply BASE_UNUSED)
{
    return EINVAL;
}

static model_op_fn *const ops[] = {
    [CFS__COMMAND__OP_NOOP] = op_noop,
    [CFS__COMMAND__OP_OPEN_SESSION] = op_refused,
    [CFS__COMMAND__OP_MAKE] = model_op_make,
    [CFS__COMMAND__OP_LINK] = model_op_link,
    [CFS__COMMAND__OP_UNLINK] = model_op_unlink,
    [CFS__COMMAND__OP_RENAME] = model_op_rename,
    [CFS__COMMAND__OP_SET_ATTR] = model_op_set_attr,
    [CFS__COMMAND__OP_WRITE] = model_op_write,
    [CFS__COMMAND__OP_SET_XATTR] = model_op_set_xattr,
    [CFS__COMMAND__OP_REMOVE_XATTR] = model_op_remove_xattr,
    [CFS__COMMAND__OP_REAP] = model_op_reap,
    [CFS__COMMAND__OP_FALLOCATE] = model_op_fallocate,
    [CFS__COMMAND__OP_COPY] = model_op_copy,
    [CFS__COMMAND__OP_STAGE] = model_op_stage,
    [CFS__COMMAND__OP_UNSTAGE] = model_op_unstage,
};

void model_op_run(struct model_step *step, const Cfs__Command *command, struct model_reply *reply)
{
    check(command->op_case > 0 && command->op_case < (int)ARRAY_LEN(ops));
    check(ops[command->op_case] != NULL);
    reply->status = (uint32_t)ops[command->op_case](step, command, reply);
}
