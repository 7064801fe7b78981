/* SPDX-License-Identifier: Apache-2.0 */
/* ioctls hold no lock in the kernel, so they may wait for everything. The reply to a change that
 * the kernel does not know leaves when both lanes have told it (promise 3). ioctls bypass the
 * kernel's permission checks, so their changes are transactions on behalf of the caller
 * (fs/kernel/credentials.h), which the state machine checks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/kernel/convert.h"
#include "fs/kernel/credentials.h"
#include "fs/kernel/mount.h"
#include "fs/kernel/payload.h"
#include "fs/ops/ops.h"
#include "proto/ioctl.h"
#include "proto/limits.h"
#include "proto/stamp.h"

struct ioctl {
    struct fs *fs;
    fuse_req_t req;
    uint64_t ino;
    uint64_t fh;
    const void *in; /* size of its structure */
};

/* ---- The barrier ------------------------------------------------------------------------------*/

static void finish_sync(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        fuse_reply_ioctl(r->req, 0, NULL, 0);
}

static void finish_sync_pages(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        lane_then(&r->fs->lanes.names, request_next(r, finish_sync));
}

static void finish_sync_barrier(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        lane_then(&r->fs->lanes.pages, request_next(r, finish_sync_pages));
}

/* This host's writes are committed before the barrier: commands keep their order. */
static void do_sync(struct ioctl *i)
{
    writebacks_drain(i->fs);
    request_barrier(request_new(i->fs, i->req, finish_sync_barrier));
}

/* ---- Transactions on behalf of the caller -----------------------------------------------------*/

/* txn: dir and cred are filled in here. */
static void submit_txn(struct request *r, uint64_t dir, Cfs__Txn *txn)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    struct credentials credentials;
    int error;

    credentials_init(&credentials, fuse_req_ctx(r->req));
    txn->dir = dir;
    txn->cred = &credentials.cred;
    command.op_case = CFS__COMMAND__OP_TXN;
    command.txn = txn;
    error = mount_is_read_only(r->fs->mount_id) ? EROFS : credentials_check(&credentials, txn);
    if (error == 0 && STAMP_SIZE + cfs__command__get_packed_size(&command) > LIMIT_COMMAND_MAX)
        error = E2BIG;
    if (error != 0) {
        request_end(r, error);
    } else {
        writebacks_drain(r->fs); /* the transaction sees this host's earlier writes */
        r->call.keep_reply = true;
        request_submit(r, &command);
    }
    txn->cred = NULL;
    credentials_fini(&credentials);
}

/* ---- An entry ---------------------------------------------------------------------------------*/

/* The entry is made, whatever became of the wait for the lanes. */
static void finish_create(struct request *r, int error)
{
    struct coordfs_ioc_create out = {0};

    (void)error;
    memcpy(out.name, r->name, strlen(r->name));
    fuse_reply_ioctl(r->req, 0, &out, sizeof(out));
}

static void finish_create_pages(struct request *r, int error)
{
    (void)error;
    lane_then(&r->fs->lanes.names, request_next(r, finish_create));
}

static void keep_name(struct request *r)
{
    Cfs__Reply *reply = cfs__reply__unpack(NULL, r->call.reply.len, r->call.reply.data);

    check(reply != NULL && reply->n_steps == 1); /* our own store packed it */
    if (reply->steps[0]->name.len > 0) {
        free(r->name);
        r->name = xcalloc(1, reply->steps[0]->name.len + 1);
        memcpy(r->name, reply->steps[0]->name.data, reply->steps[0]->name.len);
    }
    cfs__reply__free_unpacked(reply, NULL);
}

static void finish_create_call(struct request *r, int error)
{
    if (error == 0)
        keep_name(r);
    buf_fini(&r->call.reply);
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        lane_then(&r->fs->lanes.pages, request_next(r, finish_create_pages));
}

static void do_create(struct ioctl *i)
{
    const struct coordfs_ioc_create *in = i->in;
    Cfs__TxnStep step = CFS__TXN_STEP__INIT, *steps[] = {&step};
    Cfs__Make make = CFS__MAKE__INIT;
    Cfs__Txn txn = CFS__TXN__INIT;
    struct request *r;
    int error = payload_create(in, &make);

    if (error != 0) {
        fuse_reply_err(i->req, error);
        return;
    }
    r = request_new(i->fs, i->req, finish_create_call);
    r->name = xstrdup(in->name);
    step.path = convert_bytes(r->name, strlen(r->name));
    step.op_case = CFS__TXN_STEP__OP_MAKE;
    step.make = &make;
    txn.steps = steps;
    txn.n_steps = 1;
    submit_txn(r, i->ino, &txn);
}

/* ---- Any transaction --------------------------------------------------------------------------*/

static struct ioctl_buffer *ioctl_buffer_of(struct ioctl *i)
{
    struct handle *handle = handle_find(&i->fs->handles, i->fh);

    if (handle != NULL && handle->ioctl_buffer == NULL)
        handle->ioctl_buffer = ioctl_buffer_new(&i->fs->handles.exchanged);
    return handle != NULL ? handle->ioctl_buffer : NULL;
}

static void do_txn_part(struct ioctl *i)
{
    const struct coordfs_ioc_chunk *in = i->in;
    struct ioctl_buffer *x = ioctl_buffer_of(i);
    int error = EINVAL;

    if (x == NULL)
        error = EBADF;
    else if (in->len <= sizeof(in->data))
        error = ioctl_buffer_add(x, in->data, in->len, fuse_req_ctx(i->req)->uid == 0);
    if (error != 0)
        fuse_reply_err(i->req, error);
    else
        fuse_reply_ioctl(i->req, 0, NULL, 0);
}

static void finish_txn(struct request *r, int error)
{
    uint32_t len = (uint32_t)r->count;

    (void)error; /* the transaction is over */
    fuse_reply_ioctl(r->req, 0, &len, sizeof(len));
}

static void finish_txn_pages(struct request *r, int error)
{
    (void)error;
    lane_then(&r->fs->lanes.names, request_next(r, finish_txn));
}

/* An outcome is a reply, too: only a failed transport is an error. */
static void finish_txn_call(struct request *r, int error)
{
    struct handle *handle = handle_find(&r->fs->handles, r->fh);

    if (r->call.reply.data == NULL || handle == NULL || handle->ioctl_buffer == NULL) {
        buf_fini(&r->call.reply);
        fuse_reply_err(r->req, error != 0 ? error : EBADF);
        return;
    }
    r->count = r->call.reply.len;
    ioctl_buffer_answer(handle->ioctl_buffer, &r->call.reply);
    lane_then(&r->fs->lanes.pages, request_next(r, finish_txn_pages));
}

static void do_txn_run(struct ioctl *i)
{
    struct ioctl_buffer *x = ioctl_buffer_of(i);
    struct buf bytes = x != NULL ? ioctl_buffer_take(x) : (struct buf)BUF_EMPTY;
    Cfs__Txn *txn = payload_txn(bytes.data, bytes.len);
    struct request *r;

    buf_fini(&bytes);
    if (txn == NULL) {
        fuse_reply_err(i->req, x != NULL ? EBADMSG : EBADF);
        return;
    }
    r = request_new(i->fs, i->req, finish_txn_call);
    r->fh = i->fh;
    submit_txn(r, i->ino, txn);
    cfs__txn__free_unpacked(txn, NULL);
}

static void do_txn_reply(struct ioctl *i)
{
    struct ioctl_buffer *x = ioctl_buffer_of(i);
    struct coordfs_ioc_chunk out = {0};

    if (x != NULL)
        out.len = (uint32_t)ioctl_buffer_next(x, out.data, sizeof(out.data));
    fuse_reply_ioctl(i->req, 0, &out, sizeof(out));
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static void do_lease(struct ioctl *i)
{
    const struct backend *b = &i->fs->backend;
    uint64_t session = b->ops->session != NULL ? b->ops->session(b->ctx) : 1;

    fuse_reply_ioctl(i->req, 0, &session, sizeof(session));
}

/* ---- All --------------------------------------------------------------------------------------*/

static const struct verb {
    unsigned cmd;
    void (*run)(struct ioctl *i);
} verbs[] = {
    {COORDFS_IOC_SYNC, do_sync},           {COORDFS_IOC_CREATE, do_create},
    {COORDFS_IOC_TXN_APPEND, do_txn_part}, {COORDFS_IOC_TXN_RUN, do_txn_run},
    {COORDFS_IOC_TXN_REPLY, do_txn_reply}, {COORDFS_IOC_LEASE, do_lease},
};

/* ENOTTY, not ENOSYS, for an unknown number: the kernel would turn ENOSYS into success of isatty(3)
 * and similar calls. The number itself says how many bytes the kernel hands over. */
void ops_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
               unsigned flags, const void *in, size_t in_size, size_t out_size)
{
    struct ioctl i = {.fs = fs_of(req), .req = req, .ino = ino, .fh = fi->fh, .in = in};

    (void)arg;
    (void)flags;
    if (locks_lost(i.fs, handle_find(&i.fs->handles, i.fh))) {
        fuse_reply_err(req, EIO);
        return;
    }
    for (size_t v = 0; v < ARRAY_LEN(verbs); v++) {
        if (verbs[v].cmd != cmd)
            continue;
        check((_IOC_DIR(cmd) & _IOC_WRITE) == 0 || in_size == _IOC_SIZE(cmd));
        check((_IOC_DIR(cmd) & _IOC_READ) == 0 || out_size == _IOC_SIZE(cmd));
        verbs[v].run(&i);
        return;
    }
    fuse_reply_err(req, ENOTTY);
}
