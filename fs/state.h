/* SPDX-License-Identifier: Apache-2.0 */
/* The filesystem's state, shared by the files of fs/. Everything in it belongs to the reader
 * thread, except mailbox, opens, rewalks and the atomic flags. */
#ifndef FS_STATE_H
#define FS_STATE_H

#include <stdatomic.h>

#include <fuse_lowlevel.h>

#include "base/mailbox.h"
#include "fs/backend.h"
#include "fs/cache/lane.h"
#include "fs/cache/moved.h"
#include "fs/control/vdir.h"
#include "fs/fs.h"
#include "fs/inode/attr.h"
#include "fs/inode/handle.h"
#include "fs/inode/node.h"
#include "fs/inode/opens.h"
#include "fs/inode/rewalk.h"
#include "fs/kernel/guardian.h"
#include "fs/kernel/io.h"
#include "fs/lifetime/open_lifetime.h"
#include "fs/lock/locks.h"
#include "fs/mirror/mirror.h"
#include "fs/reading/pass.h"
#include "fs/reading/stale.h"
#include "fs/request/lost.h"
#include "fs/request/request.h"
#include "fs/writeback/writeback.h"

struct fs {
    struct fs_options options; /* strings are its own */
    struct backend backend;
    struct fuse_session *session;
    int mount_id;
    struct io io;
    struct mailbox mailbox;
    struct requests requests;
    struct nodes nodes;
    struct handles handles;
    struct passes passes;
    struct writebacks writebacks;
    struct opens opens;
    struct rewalks rewalks;
    struct lanes lanes;
    struct stale stale;
    struct mirror mirror;
    struct guardian guardian;
    atomic_uint_fast64_t told; /* raft index up to which all changes were posted */
    uint64_t told_seen;        /* and delivered */
    struct locks locks;
    struct vdir vdir;
    struct open_lifetimes open_lifetimes;
    uint64_t last_serial; /* of the calls */
    const struct call_hooks *call_hooks;
    const struct attr_overlay *attr_overlay;
    uint64_t uncertain_serial; /* see fs/cache/invalidate.c; 0: nothing is uncertain */
    struct losts lost;         /* changes whose fate is uncertain */
    uint8_t *scratch;          /* LIMIT_WRITE_MAX bytes for building a reply */
    bool ended;                /* fs_run has returned: nothing is submitted any more */
    atomic_uint_fast64_t invalidate_posted;
    uint64_t invalidate_seen;      /* and delivered */
    struct request_queue for_news; /* requests that wait until no change is missing */
    atomic_bool changing;          /* the store shows changes that were not posted yet */
    atomic_bool stopping;
};

static inline struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif
