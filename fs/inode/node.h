/* SPDX-License-Identifier: Apache-2.0 */
/* The inodes that the kernel knows, from our replies to LOOKUP and similar requests until FORGET. A
 * node id is the inode number; numbers are never reused, so the generation is always 0.
 *
 * An inode without a name lives on in the store as long as the kernel of any host with a session
 * knows it: it may be open, mounted, a working directory, or held by O_PATH. The kernel forgets an
 * inode when it has no entry for it and nothing uses it. A host that was cut off so long that its
 * session has ended is not asked. So a node remembers the last attributes of a directory, and
 * requests about a directory that is gone from the store can still be answered.
 *
 * Reader thread only, except nodes_know. The root is always known. */
#ifndef FS_INODE_NODE_H
#define FS_INODE_NODE_H

#include <pthread.h>

#include "base/base.h"
#include "proto/command.pb-c.h"

struct lane_job;
struct known;

/* Extra data of a few inodes: directories, open files, and those that wait for invalidation. */
struct node {
    Cfs__Attr *last;      /* directories only */
    struct lane_job *job; /* the job that invalidates its pages or attributes; NULL: none */
    unsigned moving;      /* names of it that wait for invalidation */
    unsigned readers;     /* open handles that may fill the page cache */
    unsigned passes;      /* of these: handles that only read through it */
    uint64_t passed_ms;   /* when the last of these was opened */
    uint64_t bypass_ms;   /* until when it is read past the page cache; 0: it is not */
    bool cached;          /* the kernel may have pages of its content */
    bool changed;         /* a directory: another host has changed its listing */
    bool alive;           /* the tree has it, unchanged since that was seen */
};

/* A hash table of our own: the kernel may know a million inodes, and a general table would then
 * cost more memory than the rest of the process. */
struct nodes {
    pthread_mutex_t lock; /* the reader thread holds it while it changes the table */
    struct known **buckets;
    size_t n_buckets; /* a power of 2 */
    size_t n;
};

void nodes_init(struct nodes *ns);
void nodes_fini(struct nodes *ns);
/* Any thread: true if the kernel knows the inode. */
bool nodes_know(struct nodes *ns, uint64_t ino);
void nodes_each(struct nodes *ns, void (*fn)(void *arg, uint64_t ino), void *arg);

/* A reply will tell the kernel of the inode: one more look-up that FORGET will return. */
void node_remember(struct nodes *ns, const Cfs__Attr *attr);
/* Ignores inodes that are not known: a wrong message of the kernel is no reason to die. */
void node_forget(struct nodes *ns, uint64_t ino, uint64_t n);

/* The extra data of the inode; NULL: none, or the kernel does not know it. */
struct node *node_find(const struct nodes *ns, uint64_t ino);
/* The same, allocated if missing; NULL: the kernel does not know the inode. */
struct node *node_get(struct nodes *ns, uint64_t ino);
/* The inode may need no extra data any more. */
void node_settle(struct nodes *ns, uint64_t ino);
/* True if the inode must be read past the page cache now. */
bool node_bypassed(struct node *node, uint64_t now_ms);
uint64_t node_lookups(const struct nodes *ns, uint64_t ino);
/* S_IFMT bits that the kernel was told; 0: it does not know the inode (or it is the root). */
uint32_t node_type(const struct nodes *ns, uint64_t ino);

/* Newer attributes of a directory were seen. */
void node_note(struct nodes *ns, const Cfs__Attr *attr);
/* The attributes of a directory that is gone from the tree: its last ones, with no links and no
 * size. False if it is no directory that the kernel knows. */
bool node_dead(const struct nodes *ns, uint64_t ino, Cfs__Attr *out);

#endif
