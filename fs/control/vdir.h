/* SPDX-License-Identifier: Apache-2.0 */
/* The control directory .coordfs in the root of each mount. Its files are not in the tree; their
 * content is made when they are read. lookup finds the directory, readdir of the root does not list
 * it, and nothing can be created, renamed or removed in it. Its inode numbers have the highest bit
 * set, which the store never does.
 *
 * The loop thread makes the content of a file (backend_ops.control). An open file takes it with a
 * read at offset 0, which is parked until then, so each reading from the beginning shows one state.
 * Sizes are 0, as in /proc, and nothing is cached. Some files report changes by poll(2), as
 * /proc/self/mounts does: POLLPRI and POLLERR until the file is read again. They also raise inotify
 * events through the mirror (fs/mirror/mirror.h): OPEN, MODIFY, CLOSE_WRITE on the file and on the
 * directory, as if a process had written the file. This costs nothing if the kernel knows neither
 * of them. events and log are made from the history of changes: fs/control/events.h.
 *
 * Reader thread only, unless a comment says otherwise. */
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
    struct buf content;           /* from the last read at offset 0 */
    struct request_queue readers; /* requests that wait for the content */
    bool asked;                   /* the loop thread is making the content */
    uint64_t seen;                /* the file's change count at that time */
    struct events events;         /* events */
    struct fuse_pollhandle *poll; /* the poll to wake; NULL: none */
    UT_hash_handle hh;
};

#define VDIR_FILES_MAX 16

struct vdir {
    bool exists;
    struct vdir_handle *handles;
    uint64_t next_fh;
    LIST_HEAD(, vdir_job) jobs; /* jobs on the loop thread */
    struct {
        uint64_t changes;
        int64_t time_ns; /* of the last change */
    } files[VDIR_FILES_MAX];
    struct events_all events;
};

void vdir_init(struct fs *fs);
void vdir_fini(struct fs *fs); /* the backend has stopped */

/* Loop thread: the file has new content. */
void vdir_post_changed(struct fs *fs, const char *name);
/* The history may have new changes. */
void vdir_news(struct fs *fs);

static inline bool vdir_owns(uint64_t ino)
{
    return (ino & VDIR_BIT) != 0;
}

/* True if it is the directory's own name. */
bool vdir_is_name(struct fs *fs, uint64_t parent, const char *name);

struct vdir_handle *vdir_find(struct fs *fs, uint64_t fh); /* NULL: none */
bool vdir_is_events(const struct vdir_handle *h);
void vdir_wake_poll(struct vdir_handle *h);

/* ---- Operations on inodes that vdir_owns, and the lookup of a vdir_is_name ---- */
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
/* Returns false if the request is not for the control directory. */
bool vdir_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, const void *in, size_t in_size,
                struct fuse_file_info *fi);

#endif
