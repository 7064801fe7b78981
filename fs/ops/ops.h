/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of FUSE's operations, by subject. Each ends in exactly one reply, immediately or
 * when its parked request is finished. Reader thread only. */
#ifndef FS_OPS_OPS_H
#define FS_OPS_OPS_H

#include "fs/state.h"

extern const struct fuse_lowlevel_ops ops_table; /* ops_table.c */

/* The request will be answered ESTALE: the kernel walks the path again. */
void ops_note_stale(struct fs *fs, fuse_req_t req);
/* The call that the request belongs to gets its final answer. */
void ops_note_end(struct fs *fs, fuse_req_t req);
/* Answers ESTALE. */
void ops_reply_stale(struct fs *fs, fuse_req_t req);

/* Whether the inode may be opened: 0, or ESTALE if it is unlinked or has a name that waits for
 * invalidation, because the caller may have come by a name that is gone. A thread that asks again
 * (node_insists) has come by no name, so it may open the inode. So may a thread that has walked
 * again (fs/inode/again.h) and found it. An inode that existed when it was last opened, and has not
 * changed since, is not looked up in the store, unless its attributes are wanted (`out` is not
 * NULL). */
int ops_open_error(struct fs *fs, fuse_req_t req, uint64_t ino, Cfs__Attr *out);

/* The errno for a request about names in `dir` that came back with `error`: ESTALE once, and ENOENT
 * then (see node_insists and fs/inode/rewalk.h). */
int ops_dir_error(struct fs *fs, fuse_req_t req, uint64_t dir, int error);

/* The bits that a change by this caller clears. kills: the change clears setuid. */
Cfs__Kill ops_kill(struct fs *fs, fuse_req_t req, uint64_t ino, bool kills);

/* Cuts *len > 0 where a file has to end, as write(2) does: 0, or EFBIG if no byte has room. */
int ops_limit(struct fs *fs, uint64_t offset, uint64_t *len);

/* 0, or the errno for a name that no command can carry. */
int ops_name_error(const char *name);

/* ---- ops_name.c: names in directories ---- */
void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                const char *new_name, unsigned flags);
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                struct fuse_file_info *fi);

/* ---- ops_attr.c: attributes ---- */
void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                 struct fuse_file_info *fi);
void ops_readlink(fuse_req_t req, fuse_ino_t ino);
void ops_statfs(fuse_req_t req, fuse_ino_t ino);

/* ---- ops_file.c, ops_sync.c: open files ---- */
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
               struct fuse_file_info *fi);
void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* Makes a handle of a file and tells the kernel how to treat it. fi has the flags. */
void ops_open_handle(struct fs *fs, uint64_t ino, int tid, struct fuse_file_info *fi);
void ops_close_handle(struct fs *fs, uint64_t fh);
/* The error of lost writes that was not yet reported through this handle (or NULL); 0: none. */
int ops_handle_error(struct fs *fs, struct handle *h);

/* ---- ops_ioctl.c: operations that files cannot express (proto/ioctl.h) ---- */
void ops_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
               unsigned flags, const void *in, size_t in_size, size_t out_size);

/* ---- ops_lock.c: flock(2) and fcntl(2) ---- */
void ops_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);
void ops_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
               int sleep);
void ops_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
/* FLUSH: gives up the POSIX locks that the process holds of the file. True: it holds some, and r
 * ends when that is done. */
bool ops_unlock_at_flush(struct request *r, struct handle *h, uint64_t owner);

/* ---- ops_range.c: ranges of open files ---- */
void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                   struct fuse_file_info *fi);
void ops_copy_file_range(fuse_req_t req, fuse_ino_t src, off_t src_offset,
                         struct fuse_file_info *src_fi, fuse_ino_t dst, off_t dst_offset,
                         struct fuse_file_info *dst_fi, size_t len, int flags);
void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);

/* ---- ops_dir.c: open directories ---- */
void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     struct fuse_file_info *fi);
void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* ---- ops_xattr.c: extended attributes ---- */
void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                  int flags);
void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
