/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/transact.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "proto/ioctl.h"

/* ---- Making -----------------------------------------------------------------------------------*/

void *transact_op(const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *m = xcalloc(1, type->sizeof_message);

    type->message_init(m);
    return m;
}

ProtobufCBinaryData transact_bytes(const void *data, size_t len)
{
    return (ProtobufCBinaryData){len, len > 0 ? xmemdup(data, len) : NULL};
}

Cfs__Txn *transact_new(void)
{
    return transact_op(&cfs__txn__descriptor);
}

Cfs__TxnStep *transact_step(Cfs__Txn *txn, const char *path)
{
    Cfs__TxnStep *step = transact_op(&cfs__txn_step__descriptor);

    step->path = transact_bytes(path, strlen(path));
    txn->steps = xrealloc(txn->steps, (txn->n_steps + 1) * sizeof(*txn->steps));
    txn->steps[txn->n_steps++] = step;
    return step;
}

Cfs__TxnCheck *transact_check(Cfs__Txn *txn, const char *path, Cfs__TxnCheck__Kind kind,
                              uint64_t version)
{
    Cfs__TxnStep *step = transact_step(txn, path);

    step->op_case = CFS__TXN_STEP__OP_CHECK;
    step->check = transact_op(&cfs__txn_check__descriptor);
    step->check->kind = kind;
    step->check->version = version;
    return step->check;
}

Cfs__TxnPut *transact_put(Cfs__Txn *txn, const char *path, const void *data, size_t len)
{
    Cfs__TxnStep *step = transact_step(txn, path);

    step->op_case = CFS__TXN_STEP__OP_PUT;
    step->put = transact_op(&cfs__txn_put__descriptor);
    step->put->data = transact_bytes(data, len);
    step->put->mode = 0666;
    return step->put;
}

Cfs__Unlink *transact_remove(Cfs__Txn *txn, const char *path, bool directory)
{
    Cfs__TxnStep *step = transact_step(txn, path);

    step->op_case = CFS__TXN_STEP__OP_REMOVE;
    step->remove = transact_op(&cfs__unlink__descriptor);
    step->remove->directory = directory;
    return step->remove;
}

/* ---- Running ----------------------------------------------------------------------------------*/

static int send_parts(int fd, const struct buf *bytes)
{
    struct coordfs_ioc_chunk part;

    for (size_t at = 0; at < bytes->len; at += part.len) {
        part.len = (uint32_t)min_u64(sizeof part.data, bytes->len - at);
        memcpy(part.data, bytes->data + at, part.len);
        if (ioctl(fd, COORDFS_IOC_TXN_APPEND, &part) < 0)
            return -errno;
    }
    return 0;
}

static int fetch_reply(int fd, struct buf *out)
{
    struct coordfs_ioc_chunk part;

    do {
        if (ioctl(fd, COORDFS_IOC_TXN_REPLY, &part) < 0)
            return -errno;
        buf_append(out, part.data, part.len);
    } while (part.len > 0);
    return 0;
}

Cfs__Reply *transact_run(int fd, const Cfs__Txn *txn)
{
    struct buf bytes = BUF_EMPTY, answer = BUF_EMPTY;
    Cfs__Reply *reply = NULL;
    uint32_t len;
    int err;

    buf_reserve(&bytes, cfs__txn__get_packed_size(txn));
    bytes.len = cfs__txn__pack(txn, bytes.data);
    err = send_parts(fd, &bytes);
    if (err == 0 && ioctl(fd, COORDFS_IOC_TXN_RUN, &len) < 0)
        err = -errno;
    if (err == 0)
        err = fetch_reply(fd, &answer);
    if (err == 0 && (reply = cfs__reply__unpack(NULL, answer.len, answer.data)) == NULL)
        err = -EBADMSG;
    buf_fini(&bytes);
    buf_fini(&answer);
    errno = -err;
    return reply;
}

/* ---- Saying -----------------------------------------------------------------------------------*/

static const char *const what[] = {
    [CFS__TXN_CHECK__KIND__VERSION] = "version",
    [CFS__TXN_CHECK__KIND__CVERSION] = "cversion",
    [CFS__TXN_CHECK__KIND__AVERSION] = "aversion",
};

static uint64_t number_of(const Cfs__Attr *attr, Cfs__TxnCheck__Kind kind)
{
    return kind == CFS__TXN_CHECK__KIND__VERSION    ? attr->version
           : kind == CFS__TXN_CHECK__KIND__CVERSION ? attr->cversion
                                                    : attr->aversion;
}

static bool is_guard(const Cfs__TxnStep *step)
{
    static const char guard[] = "user.coordfs.guard";

    return step->op_case == CFS__TXN_STEP__OP_SET_XATTR &&
           step->set_xattr->name.len == sizeof guard - 1 &&
           memcmp(step->set_xattr->name.data, guard, sizeof guard - 1) == 0;
}

char *transact_why(const Cfs__TxnStep *step, const Cfs__StepReply *reply)
{
    const Cfs__TxnCheck *c = step->op_case == CFS__TXN_STEP__OP_CHECK ? step->check : NULL;

    if (c != NULL && reply->status == ECANCELED && c->kind == CFS__TXN_CHECK__KIND__HASH)
        return xstrdup("the content differs");
    if (c != NULL && reply->status == ECANCELED && reply->attr != NULL)
        return xasprintf("the %s is %llu, not %llu", what[c->kind],
                         (unsigned long long)number_of(reply->attr, c->kind),
                         (unsigned long long)c->version);
    if (c != NULL && reply->status == EACCES && c->kind == CFS__TXN_CHECK__KIND__LOCKED &&
        reply->attr != NULL)
        return xstrdup("this host does not hold its lock");
    if (is_guard(step) && reply->status == EINVAL)
        return xstrdup(explain_text(EXPLAIN_GUARD));
    return xstrdup(explain_errno((int)reply->status));
}

bool transact_is_mismatch(const Cfs__Txn *txn, const Cfs__Reply *reply)
{
    const Cfs__TxnStep *step;

    if (reply->status == 0 || reply->value == 0 || reply->value > txn->n_steps)
        return false;
    step = txn->steps[reply->value - 1];
    return step->op_case == CFS__TXN_STEP__OP_CHECK &&
           (reply->status == ECANCELED || reply->status == ENOENT || reply->status == EEXIST ||
            (reply->status == EACCES && step->check->kind == CFS__TXN_CHECK__KIND__LOCKED));
}

const char *transact_error(int error)
{
    static char text[160];

    if (error != EINTR && error != ETIMEDOUT)
        return error == E2BIG ? explain_text(EXPLAIN_TOO_LARGE) : explain_errno(error);
    snprintf(text, sizeof text,
             "%s: it is unknown whether the change was or will be made: look before trying again",
             error == EINTR ? "interrupted" : "no quorum");
    return text;
}

static int report(const char *path, const Cfs__Txn *txn, const Cfs__Reply *reply)
{
    const char *error = reply == NULL ? transact_error(errno) : explain_errno((int)reply->status);
    char *why;

    if (reply == NULL || reply->value == 0 || reply->value > reply->n_steps)
        return cli_fail(CLI_FAILED, "%s: %s", path, error);
    why = transact_why(txn->steps[reply->value - 1], reply->steps[reply->value - 1]);
    cli_fail(0, "%s: %s", path, why);
    free(why);
    return transact_is_mismatch(txn, reply) ? CLI_MISMATCH : CLI_FAILED;
}

int transact_do(int dir, const char *path, Cfs__Txn *txn)
{
    Cfs__Reply *reply = transact_run(dir, txn);
    int rc = reply != NULL && reply->status == 0 ? CLI_OK : report(path, txn, reply);

    if (reply != NULL)
        cfs__reply__free_unpacked(reply, NULL);
    cfs__txn__free_unpacked(txn, NULL);
    return rc;
}
