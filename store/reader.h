/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of the tree. A reader has its own read-only connection and belongs to one thread (the FUSE
 * thread's reads), while the loop thread writes. A single read sees the newest committed state. All
 * reads between reader_begin and reader_end see the same state.
 *
 * All functions return 0 (or a length), or -errno as a filesystem answers. -EIO if SQLite fails. */
#ifndef STORE_READER_H
#define STORE_READER_H

#include "proto/command.pb-c.h"
#include "store/store.h"

struct store_reader;

/* Opens a reader. Any thread; the store must stay open until reader_free. */
struct store_reader *reader_new(struct store *s);
void reader_free(struct store_reader *r);

/* Begins one snapshot for several reads; reader_end ends it. The installation of a received
 * snapshot waits for reader_end, so keep the time short. Do not use a second reader on the same
 * thread meanwhile: it would wait for an installation that waits for the first reader. */
int reader_begin(struct store_reader *r);
void reader_end(struct store_reader *r);

/* The applied raft index of this reader's snapshot. */
int reader_applied(struct store_reader *r, uint64_t *out);

/* *out is a plain struct: nothing to free. */
int reader_attr(struct store_reader *r, uint64_t ino, Cfs__Attr *out);
int reader_lookup(struct store_reader *r, uint64_t parent, const char *name, size_t name_len,
                  Cfs__Attr *out); /* also "." and ".." */
/* Copies the target to out, without a NUL and truncated to size. Returns the number of bytes
 * copied. */
int64_t reader_readlink(struct store_reader *r, uint64_t ino, char *out, size_t size);
/* Reads up to len bytes of content at offset; holes are zeros. Returns the number of bytes, which
 * is 0 at or beyond the end. */
int64_t reader_read(struct store_reader *r, uint64_t ino, uint64_t offset, void *out, size_t len);
/* SEEK_DATA: finds the first offset >= `offset` where something is stored. SEEK_HOLE (`hole`):
 * finds the first offset where nothing is stored, at the latest the end of the file. -ENXIO: there
 * is none, or `offset` is at or beyond the end. The granularity is READER_SEEK_BLOCK, as other
 * filesystems answer. */
#define READER_SEEK_BLOCK 4096u
int64_t reader_seek(struct store_reader *r, uint64_t ino, uint64_t offset, bool hole);
/* Copies the value to out, without a NUL, and returns its length. size 0 asks for the length only.
 * -ERANGE: size is too small. -ENODATA: no such xattr. Of the names user.coordfs.*, only those of
 * store/znode.h, store/quota.h and store/history.h exist here. */
int64_t reader_getxattr(struct store_reader *r, uint64_t ino, const char *name, size_t name_len,
                        void *out, size_t size);
/* Copies the names, each ended by a NUL, as listxattr(2) does. */
int64_t reader_listxattr(struct store_reader *r, uint64_t ino, char *out, size_t size);

/* Lists the entries of a directory in the order of their cookies, from the first cookie > after,
 * without "." and "..". Cookies are > 0 and < 2^62, are never used again, and grow with time: so a
 * position stays valid when entries are added or removed. An entry that is renamed within its
 * directory, or replaced by a rename, keeps its cookie. fn returns false to stop; it must not call
 * reader_readdir. attr is the entry's with `attrs`, else NULL. */
struct reader_entry {
    uint64_t cookie;
    const char *name; /* no NUL at the end; valid during the call */
    size_t name_len;
    uint64_t ino;
    uint32_t type; /* S_IFMT bits */
    const Cfs__Attr *attr;
};
int reader_readdir(struct store_reader *r, uint64_t ino, uint64_t after, bool attrs,
                   bool (*fn)(void *arg, const struct reader_entry *entry), void *arg);

struct reader_usage {
    uint64_t inodes;
    uint64_t bytes; /* stored bytes of content; holes do not count */
    uint64_t max_inodes;
    uint64_t max_bytes;
};
int reader_usage(struct store_reader *r, struct reader_usage *out);

/* Returns how many bytes a file may grow before the tree or a quota is full. */
int64_t reader_room(struct store_reader *r, uint64_t ino);

/* ---- Locks and sessions (rules: store/lock.h) ---- */

struct reader_lock {
    uint64_t ino;
    uint32_t kind; /* Cfs__Lock__Kind */
    uint64_t session;
    uint64_t member; /* the member that owns the session */
    uint64_t owner;
    uint64_t handle;
    uint64_t start;
    uint64_t end; /* inclusive */
    bool write;
    uint32_t pid; /* a process on the member's host */
    bool waits;
    uint64_t number; /* held: the fencing token; waiting: the place in the queue */
};

/* F_GETLK. Finds the first lock, by offset, that conflicts with the asked one, whose wait and pid
 * do not matter. 1: *out is the lock, with member 0. 0: no conflict. */
int reader_getlk(struct store_reader *r, uint64_t session, const Cfs__Lock *asked,
                 struct reader_lock *out);

/* Compares what the session's owner holds with the range asked for (flock: the whole file). 1: it
 * holds all of it, at least as strongly, and *fence is the latest token. 0: it does not. *some: it
 * holds part of it. */
int reader_holds(struct store_reader *r, uint64_t session, const Cfs__Lock *asked, uint64_t *fence,
                 bool *some);
/* Like store_wait_state. Returns an enum store_wait, or -errno. */
int reader_wait_state(struct store_reader *r, uint64_t session, uint64_t id, const Cfs__Lock *asked,
                      uint64_t *fence);

/* user.coordfs.fence: the latest token of the session's locks on the file. -ENODATA: it holds none.
 */
int reader_fence(struct store_reader *r, uint64_t session, uint64_t ino, uint64_t *out);

/* Lists all locks and requests by file: first the held ones, then the queue. fn returns false to
 * stop; it may call other functions of the reader. */
int reader_locks(struct store_reader *r, bool (*fn)(void *arg, const struct reader_lock *lock),
                 void *arg);

/* 1 if a ReleaseEphemeral of the session would remove the inode, 0 if not, or -errno. */
int reader_ends_with_open(struct store_reader *r, uint64_t session, uint64_t ino);

struct reader_session {
    uint64_t id;
    uint64_t member;
    unsigned ttl_ms;
    uint64_t held; /* locks */
    uint64_t waiting;
    uint64_t ephemerals; /* entries that end with the session */
};
/* Lists the sessions in the order of their ids; fn as above. */
int reader_sessions(struct store_reader *r,
                    bool (*fn)(void *arg, const struct reader_session *session), void *arg);

/* ---- Names ---- */

/* Calls fn for each name of the inode, sorted by parent and name, until it returns false. fn must
 * not call the reader. */
int reader_names(struct store_reader *r, uint64_t ino,
                 bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                 void *arg);

/* Copies the path of a directory, or of one of a file's names, from the root ("/" for the root),
 * ended by a NUL, and returns its length. -ENOENT: it has no path. -ENAMETOOLONG: size is too
 * small. */
int64_t reader_path(struct store_reader *r, uint64_t ino, char *out, size_t size);

#endif
