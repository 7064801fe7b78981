/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of the tree: a read-only connection of its own, for one thread (the FUSE reader's), while
 * the loop thread writes. Each read sees the newest committed state; reads between reader_begin
 * and reader_end see one and the same.
 *
 * All functions: 0 (or a length) or -errno as a filesystem answers. -EIO when SQLite fails. */
#ifndef STORE_READER_H
#define STORE_READER_H

#include "proto/command.pb-c.h"
#include "store/store.h"

struct store_reader;

/* Opens a reader. The store's thread or, with the store kept open meanwhile, any thread. */
struct store_reader *reader_new(struct store *s);
void reader_free(struct store_reader *r);

/* One snapshot for several reads. A reader holds up the installation of a snapshot between the
 * two: keep it short, and do not use another reader meanwhile on the same thread (it would wait for
 * an installation that waits for the first). Calls outside such a pair are a pair of their own. */
int reader_begin(struct store_reader *r);
void reader_end(struct store_reader *r);

/* The raft index this snapshot is as of. */
int reader_applied(struct store_reader *r, uint64_t *out);

/* out is a plain struct: nothing to free. */
int reader_attr(struct store_reader *r, uint64_t ino, Cfs__Attr *out);
int reader_lookup(struct store_reader *r, uint64_t parent, const char *name, size_t name_len,
                  Cfs__Attr *out); /* "." and ".." too */
/* The target into out (not terminated), cut off where out ends; the length that was copied. */
int64_t reader_readlink(struct store_reader *r, uint64_t ino, char *out, size_t size);
/* Up to len bytes of content at offset, holes as zeros; how many (0 at and past the end). */
int64_t reader_read(struct store_reader *r, uint64_t ino, uint64_t offset, void *out, size_t len);
/* SEEK_DATA: the first offset >= this one where something is stored; SEEK_HOLE (`hole`): where
 * nothing is, which is the file's end at the latest. -ENXIO: there is none, or offset is at or past
 * the end. Both with the granularity in which other filesystems answer, READER_SEEK_BLOCK. */
#define READER_SEEK_BLOCK 4096u
int64_t reader_seek(struct store_reader *r, uint64_t ino, uint64_t offset, bool hole);
/* Of user.coordfs.*, those of store/znode.h.
 * The value (not terminated) and its length; size 0 asks for the length; -ERANGE when too long;
 * -ENODATA when there is none. */
int64_t reader_getxattr(struct store_reader *r, uint64_t ino, const char *name, size_t name_len,
                        void *out, size_t size);
/* The names, each terminated by a NUL, as listxattr(2). */
int64_t reader_listxattr(struct store_reader *r, uint64_t ino, char *out, size_t size);

/* Entries of a directory in the order of their cookies, from the first cookie > after. Cookies are
 * > 0, < 2^62, unique for ever, and larger for later entries: positions stay valid whatever is
 * added or removed meanwhile. An entry that is renamed within its directory, or replaced by a
 * rename, keeps its cookie. Without "." and "..". fn returns false to stop, and must not call
 * reader_readdir. With attrs, attr is
 * the entry's, else NULL. */
struct reader_entry {
    uint64_t cookie;
    const char *name; /* not terminated; borrowed for the call */
    size_t name_len;
    uint64_t ino;
    uint32_t type; /* S_IFMT bits */
    const Cfs__Attr *attr;
};
int reader_readdir(struct store_reader *r, uint64_t ino, uint64_t after, bool attrs,
                   bool (*fn)(void *arg, const struct reader_entry *entry), void *arg);

struct reader_usage {
    uint64_t inodes;
    uint64_t bytes; /* of content, as stored: holes do not count */
    uint64_t max_inodes;
    uint64_t max_bytes;
};
int reader_usage(struct store_reader *r, struct reader_usage *out);

/* How many bytes may be added to a file before the tree, or a quota, is full. */
int64_t reader_room(struct store_reader *r, uint64_t ino);

/* ---- Locks and sessions (rules: store/lock.h) ---- */

struct reader_lock {
    uint64_t ino;
    uint32_t kind; /* Cfs__Lock__Kind */
    uint64_t session;
    uint64_t member; /* whose session it is */
    uint64_t owner;
    uint64_t handle;
    uint64_t start;
    uint64_t end; /* inclusive */
    bool write;
    uint32_t pid; /* on the member's host */
    bool waits;
    uint64_t number; /* held: the fencing token; waiting: the place in the queue */
};

/* F_GETLK: the first lock, by offset, that stands in the way of what is asked for (its wait and pid
 * do not matter): 1 and the lock (member: 0), 0 none. */
int reader_getlk(struct store_reader *r, uint64_t session, const Cfs__Lock *asked,
                 struct reader_lock *out);

/* What the session's owner has of the range asked for (of flock: of the file). 1, with the latest
 * token in *fence: all of it, at least that strong; 0: not. *some: anything at all. */
int reader_holds(struct store_reader *r, uint64_t session, const Cfs__Lock *asked, uint64_t *fence,
                 bool *some);
/* As store_wait_state: enum store_wait, or -errno. */
int reader_wait_state(struct store_reader *r, uint64_t session, uint64_t id, const Cfs__Lock *asked,
                      uint64_t *fence);

/* user.coordfs.fence: the latest token of the session's locks of the file. -ENODATA: it holds none.
 */
int reader_fence(struct store_reader *r, uint64_t session, uint64_t ino, uint64_t *out);

/* All locks and requests, by file: first what is held, then the queue. fn returns false to stop; it
 * may call other functions of the reader. */
int reader_locks(struct store_reader *r, bool (*fn)(void *arg, const struct reader_lock *lock),
                 void *arg);

/* Would the session's ReleaseEphemeral remove it? 1, 0, or -errno. */
int reader_ends_with_open(struct store_reader *r, uint64_t session, uint64_t ino);

struct reader_session {
    uint64_t id;
    uint64_t member;
    unsigned ttl_ms;
    uint64_t held; /* locks */
    uint64_t waiting;
    uint64_t ephemerals; /* entries that go with it */
};
/* In order of their ids; fn as above. */
int reader_sessions(struct store_reader *r,
                    bool (*fn)(void *arg, const struct reader_session *session), void *arg);

/* ---- Names ---- */

/* fn for each name of the inode, by parent and name, until it returns false; it
 * must not call the reader. */
int reader_names(struct store_reader *r, uint64_t ino,
                 bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                 void *arg);

/* The path of a directory, or of one of a file's names, from the root ("/" for the root), NUL
 * terminated; its length. -ENOENT when it has none, -ENAMETOOLONG when it does not fit. */
int64_t reader_path(struct store_reader *r, uint64_t ino, char *out, size_t size);

#endif
