/* SPDX-License-Identifier: Apache-2.0 */
/* The control directory .coordfs in the root of each mount: files that are not in the tree, but
 * made when they are read. lookup finds it, readdir of the root does not show it, and nothing can
 * be made, renamed or removed in it. Its inode numbers have the highest bit, which the store never
 * gives.
 *
 * What a file shows is made by the loop thread (backend_ops.control), and taken over by each open
 * file with a read at offset 0, which is parked until then: so each reading from the beginning
 * shows one state. Sizes are 0, as in /proc, and nothing is cached. Some tell of changes by
 * poll(2), as /proc/self/mounts does: POLLPRI and POLLERR until it is read again. The same tell of
 * them by inotify, through the mirror (fs/mirror/mirror.h): OPEN, MODIFY, CLOSE_WRITE, as if
 * somebody had written them, on the file and on the directory. It costs nothing when the kernel
 * knows neither. events and log are made from the history of changes: fs/control/events.h.
 *
 * Reader thread only, unless said. */
#ifndef FS_CONTROL_VDIR_H
#define FS_CONTROL_VDIR_H

#include "fs/control/events.h"
#include "fs/hash.h"
#include "fs/request/request.h"
#include "proto/limits.h"

#define VDIR_BIT  (UINT64_C(1) << 63)
#define VDIR_INO  (VDIR_BIT | 1)
#define VDIR_NAME LIMIT_CONTROL_NAME

enum vdir_kind { VDIR_MADE, VDIR_EVENTS, VDIR_LOG };

struct vdir_file;
struct vdir_job;

struct vdir_handle {
    uint64_t fh;
    const struct vdir_file *file;
    struct buf content;           /* as of the last read at offset 0 */
    struct request_queue readers; /* that wait for it */
    bool asked;                   /* the loop is making it */
    uint64_t seen;                /* how often the file had changed then */
    struct events events;         /* events */
    struct fuse_pollhandle *poll; /* who is to be woken; NULL: nobody */
    UT_hash_handle hh;
};

#define VDIR_FILES_MAX 16

struct vdir {
    bool exists;
    struct vdir_handle *handles;
    uint64_t next_fh;
    LIST_HEAD(, vdir_job) jobs; /* on the loop */
    struct {
        uint64_t changes;
        int64_t time_ns; /* of the last */
    } files[VDIR_FILES_MAX];
    struct events_all events;
};

void vdir_init(struct fs *fs);
void vdir_fini(struct fs *fs); /* the backend has stopped */

/* Loop thread: the file shows something else now. */
void vdir_post_changed(struct fs *fs, const char *name);
/* There may be new changes in the history. */
void vdir_news(struct fs *fs);

static inline bool vdir_owns(uint64_t ino)
{
    return (ino & VDIR_BIT) != 0;
}

/* Is it the directory's own name? */
bool vdir_is_name(struct fs *fs, uint64_t parent, const char *name);

struct vdir_handle *vdir_find(struct fs *fs, uint64_t fh); /* NULL: none */
bool vdir_is_events(const struct vdir_handle *h);
void vdir_wake_poll(struct vdir_handle *h);

/* ---- Operations on inodes that vdir_owns, and the lookup of vdir_is_name ---- */
void vdir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void vdir_getattr(fuse_req_t req, fuse_ino_t ino);
void vdir_setattr(fuse_req_t req, fuse_ino_t ino, int to_set);
void vdir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vdir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void vdir_release(fuse_req_t req, struct fuse_file_info *fi);
void vdir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vdir_readdir(fuse_req_t req, size_t size, off_t off, bool plus);
void vdir_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
               struct fuse_pollhandle *ph);
/* False: not for us. */
bool vdir_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, const void *in, size_t in_size,
                struct fuse_file_info *fi);

#endif
