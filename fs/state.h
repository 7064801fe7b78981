/* The filesystem's state, shared by the files of fs/. Everything in it belongs to the reader
 * thread but mailbox, opens, again and the atomic flags. */
#ifndef FS_STATE_H
#define FS_STATE_H

#include <stdatomic.h>

#include <fuse_lowlevel.h>

#include "fs/again.h"
#include "fs/backend.h"
#include "fs/draft.h"
#include "fs/fs.h"
#include "fs/guardian.h"
#include "fs/handle.h"
#include "fs/io.h"
#include "fs/lane.h"
#include "fs/locks.h"
#include "fs/lost.h"
#include "fs/mailbox.h"
#include "fs/mirror.h"
#include "fs/mortal.h"
#include "fs/moved.h"
#include "fs/node.h"
#include "fs/opens.h"
#include "fs/pass.h"
#include "fs/request.h"
#include "fs/stale.h"
#include "fs/vdir.h"

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
    struct drafts drafts;
    struct opens opens;
    struct again again;
    struct moved moved;
    struct lanes lanes;
    struct stale stale;
    struct mirror mirror;
    struct guardian guardian;
    atomic_uint_fast64_t told; /* raft index up to which all changes were posted */
    uint64_t told_seen;        /* and delivered */
    struct locks locks;
    struct vdir vdir;
    struct mortals mortals;
    uint64_t last_serial;      /* of the calls */
    uint64_t uncertain_serial; /* see fs/news.c; 0: nothing is uncertain */
    struct losts lost;         /* what is uncertain */
    uint8_t *scratch;          /* LIMIT_WRITE_MAX bytes for a reply being made */
    bool ended;                /* fs_run has returned: nothing is submitted any more */
    atomic_uint_fast64_t news_posted;
    uint64_t news_seen;            /* and delivered */
    struct request_queue for_news; /* wait until there are none missing */
    atomic_bool changing;          /* the store shows what its news have not been posted of */
    atomic_bool stopping;
};

static inline struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif
