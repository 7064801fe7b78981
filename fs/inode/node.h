/* SPDX-License-Identifier: Apache-2.0 */
/* The inodes that the kernel knows (by our replies to LOOKUP and the like), until it forgets them.
 * A node id is the inode number; numbers are never reused, so the generation is always 0.
 *
 * What has lost its last name lives on in the store as long as the kernel of any host that has a
 * session knows it: it may be open, mounted, a working directory, or held by O_PATH. The kernel
 * forgets an inode when it has no entry for it and nothing uses it. A host that was cut off from
 * the others so long that its session has ended is not asked; so a node remembers the last
 * attributes of a directory, and one that is gone from the store can still be answered for.
 *
 * Reader thread only, but for nodes_know. The root is always known. */
#ifndef FS_INODE_NODE_H
#define FS_INODE_NODE_H

#include <pthread.h>

#include "base/base.h"
#include "proto/command.pb-c.h"

struct lane_job;
struct known;

/* What is remembered of few of them: directories, open files, and what is being forgotten. */
struct node {
    Cfs__Attr *last;      /* directories only */
    struct lane_job *job; /* that makes the kernel forget its pages or attributes; NULL: none */
    int stale_tid;        /* was told ESTALE last; 0: nobody */
    unsigned moving;      /* names of it that the kernel is about to forget */
    unsigned readers;     /* open handles that may put content into the page cache */
    unsigned passes;      /* of them: those that read through it, and nothing else */
    uint64_t passed_ms;   /* when the last of these was opened */
    uint64_t bypass_ms;   /* until when it is read past the page cache; 0: it is not */
    bool cached;          /* the kernel may have pages of its content */
    bool changed;         /* a directory: another host has changed its list */
    bool alive;           /* the tree has it, and has had no change of it since that was seen */
};

/* A table of our own: the kernel may know a million inodes, and then a general one costs more than
 * all else in the process. */
struct nodes {
    pthread_mutex_t lock; /* the reader holds it when it changes what is in the table */
    struct known **buckets;
    size_t n_buckets; /* a power of 2 */
    size_t n;
};

void nodes_init(struct nodes *ns);
void nodes_fini(struct nodes *ns);
/* Any thread: does the kernel know the inode? */
bool nodes_know(struct nodes *ns, uint64_t ino);
void nodes_each(struct nodes *ns, void (*fn)(void *arg, uint64_t ino), void *arg);

/* The kernel is about to learn of the inode by a reply: one more lookup to be forgotten. */
void node_remember(struct nodes *ns, const Cfs__Attr *attr);
/* Passing over what is not known: the kernel's word is no reason to die. */
void node_forget(struct nodes *ns, uint64_t ino, uint64_t n);

/* What is remembered of it; NULL: nothing, or the kernel does not know it. */
struct node *node_find(const struct nodes *ns, uint64_t ino);
/* The same, with room to remember; NULL: the kernel does not know it. */
struct node *node_get(struct nodes *ns, uint64_t ino);
/* There may be nothing to remember of it any more. */
void node_settle(struct nodes *ns, uint64_t ino);
/* Is it to be read past the page cache now? */
bool node_bypassed(struct node *node, uint64_t now_ms);
uint64_t node_lookups(const struct nodes *ns, uint64_t ino);
/* S_IFMT bits of what the kernel was told; 0: it does not know it (or it is the root). */
uint32_t node_type(const struct nodes *ns, uint64_t ino);

/* Newer attributes of a directory were seen. */
void node_note(struct nodes *ns, const Cfs__Attr *attr);
/* What a directory that the tree has no more looks like: its last attributes, with no links and no
 * size. False when it is not a directory that the kernel knows. */
bool node_dead(const struct nodes *ns, uint64_t ino, Cfs__Attr *out);

/* The answer ESTALE, to a request for what is gone from the tree, makes the kernel walk the path
 * again and look each name up: whoever got there by an old name finds what is there now. Whoever
 * got there in another way (a working directory, /proc/PID/fd) comes back with the same request, at
 * once: he insists, and gets what a local filesystem would answer. True: this is the second time
 * that this thread asks. For files, each time begins anew. */
bool node_insists(struct nodes *ns, uint64_t ino, int tid);
#endif
