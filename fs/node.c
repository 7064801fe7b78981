#include "fs/node.h"

#include <stdlib.h>
#include <sys/stat.h>

#define NODE_ROOT 1u

struct node *node_find(const struct nodes *ns, uint64_t ino)
{
    struct node *node;

    HASH_FIND_U64(ns->table, ino, node);
    return node;
}

static struct node *node_add(struct nodes *ns, uint64_t ino)
{
    struct node *node = xcalloc(1, sizeof(*node));

    node->ino = ino;
    HASH_ADD_U64(ns->table, ino, node);
    return node;
}

static void node_free(struct nodes *ns, struct node *node)
{
    HASH_DEL(ns->table, node);
    free(node->last);
    free(node);
}

void nodes_init(struct nodes *ns)
{
    ns->table = NULL;
    node_add(ns, NODE_ROOT)->lookups = 1;
}

void nodes_fini(struct nodes *ns)
{
    struct node *node, *next;

    HASH_ITER(hh, ns->table, node, next)
    node_free(ns, node);
}

void node_note(struct nodes *ns, const Cfs__Attr *attr)
{
    struct node *node;

    if (!S_ISDIR(attr->mode) || (node = node_find(ns, attr->ino)) == NULL)
        return;
    if (node->last == NULL)
        node->last = xmalloc(sizeof(*node->last));
    *node->last = *attr;
}

void node_remember(struct nodes *ns, const Cfs__Attr *attr)
{
    struct node *node = node_find(ns, attr->ino);

    if (node == NULL)
        node = node_add(ns, attr->ino);
    node->lookups++;
    node->stale_tid = 0;
    node_note(ns, attr);
}

void node_forget(struct nodes *ns, uint64_t ino, uint64_t n)
{
    struct node *node = node_find(ns, ino);

    if (node == NULL || ino == NODE_ROOT)
        return;
    node->lookups -= min_u64(n, node->lookups);
    if (node->lookups == 0)
        node_free(ns, node);
}

uint64_t node_lookups(const struct nodes *ns, uint64_t ino)
{
    const struct node *node = node_find(ns, ino);

    return node == NULL ? 0 : node->lookups;
}

bool node_dead(const struct nodes *ns, uint64_t ino, Cfs__Attr *out)
{
    const struct node *node = node_find(ns, ino);

    if (node == NULL || node->last == NULL)
        return false;
    *out = *node->last;
    out->nlink = 0;
    out->size = 0;
    out->blocks = 0;
    return true;
}

bool node_insists(struct nodes *ns, uint64_t ino, int tid)
{
    struct node *node = node_find(ns, ino);
    bool again;

    if (node == NULL)
        return false;
    again = tid != 0 && node->stale_tid == tid;
    /* One call may have several requests about a directory (LOOKUP, CREATE). */
    node->stale_tid = again && node->last == NULL ? 0 : tid;
    return again;
}
