/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NODE_ROOT     1u
#define FIRST_BUCKETS 1024u
#define TYPE_SHIFT    12

struct known {
    uint64_t ino;
    uint64_t lookups : 60;
    uint64_t type : 4;  /* S_IFMT bits of the mode, shifted down; 0: unknown */
    struct known *next; /* in its bucket */
    struct node *node;  /* NULL: nothing is remembered */
};

/* ---- The table ------------------------------------------------------------------------------- */

static struct known **bucket_of(const struct nodes *ns, uint64_t ino)
{
    uint64_t mixed = ino * 0x9e3779b97f4a7c15u; /* Fibonacci hashing: Knuth, TAOCP 6.4 */

    return &ns->buckets[(mixed >> 32) & (ns->n_buckets - 1)];
}

/* The place of the pointer to it, or the end of its bucket. */
static struct known **known_place(const struct nodes *ns, uint64_t ino)
{
    struct known **at = bucket_of(ns, ino);

    while (*at != NULL && (*at)->ino != ino)
        at = &(*at)->next;
    return at;
}

static struct known *known_find(const struct nodes *ns, uint64_t ino)
{
    return *known_place(ns, ino);
}

static void grow(struct nodes *ns)
{
    struct nodes old = *ns;

    ns->n_buckets *= 2;
    ns->buckets = xcalloc(ns->n_buckets, sizeof(*ns->buckets));
    for (size_t i = 0; i < old.n_buckets; i++)
        for (struct known *k = old.buckets[i], *next; k != NULL; k = next) {
            struct known **bucket = bucket_of(ns, k->ino);

            next = k->next;
            k->next = *bucket;
            *bucket = k;
        }
    free(old.buckets);
}

static struct known *known_add(struct nodes *ns, uint64_t ino)
{
    struct known *k = xcalloc(1, sizeof(*k));

    k->ino = ino;
    pthread_mutex_lock(&ns->lock);
    if (ns->n == ns->n_buckets)
        grow(ns);
    *known_place(ns, ino) = k;
    ns->n++;
    pthread_mutex_unlock(&ns->lock);
    return k;
}

static void drop_node(struct known *k)
{
    if (k->node != NULL)
        free(k->node->last);
    free(k->node);
    k->node = NULL;
}

static void known_remove(struct nodes *ns, struct known **place)
{
    struct known *k = *place;

    pthread_mutex_lock(&ns->lock);
    *place = k->next;
    ns->n--;
    pthread_mutex_unlock(&ns->lock);
    drop_node(k);
    free(k);
}

void nodes_init(struct nodes *ns)
{
    memset(ns, 0, sizeof(*ns));
    check(pthread_mutex_init(&ns->lock, NULL) == 0);
    ns->n_buckets = FIRST_BUCKETS;
    ns->buckets = xcalloc(ns->n_buckets, sizeof(*ns->buckets));
    known_add(ns, NODE_ROOT)->lookups = 1;
}

void nodes_fini(struct nodes *ns)
{
    for (size_t i = 0; i < ns->n_buckets; i++)
        while (ns->buckets[i] != NULL)
            known_remove(ns, &ns->buckets[i]);
    free(ns->buckets);
    check(pthread_mutex_destroy(&ns->lock) == 0);
}

bool nodes_know(struct nodes *ns, uint64_t ino)
{
    bool known;

    pthread_mutex_lock(&ns->lock);
    known = known_find(ns, ino) != NULL;
    pthread_mutex_unlock(&ns->lock);
    return known;
}

void nodes_each(struct nodes *ns, void (*fn)(void *arg, uint64_t ino), void *arg)
{
    for (size_t i = 0; i < ns->n_buckets; i++)
        for (const struct known *k = ns->buckets[i]; k != NULL; k = k->next)
            fn(arg, k->ino);
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

struct node *node_find(const struct nodes *ns, uint64_t ino)
{
    const struct known *k = known_find(ns, ino);

    return k == NULL ? NULL : k->node;
}

struct node *node_get(struct nodes *ns, uint64_t ino)
{
    struct known *k = known_find(ns, ino);

    if (k == NULL)
        return NULL;
    if (k->node == NULL)
        k->node = xcalloc(1, sizeof(*k->node));
    return k->node;
}

void node_settle(struct nodes *ns, uint64_t ino)
{
    struct known *k = known_find(ns, ino);
    const struct node *node = k == NULL ? NULL : k->node;

    if (node != NULL && node->last == NULL && node->job == NULL && node->moving == 0 &&
        node->readers == 0 && node->bypass_ms == 0 && !node->cached && !node->changed)
        drop_node(k);
}

bool node_bypassed(struct node *node, uint64_t now_ms)
{
    if (node->bypass_ms <= now_ms)
        node->bypass_ms = 0;
    return node->bypass_ms != 0;
}

void node_note(struct nodes *ns, const Cfs__Attr *attr)
{
    struct node *node;

    if (!S_ISDIR(attr->mode) || (node = node_get(ns, attr->ino)) == NULL)
        return;
    if (node->last == NULL)
        node->last = xmalloc(sizeof(*node->last));
    *node->last = *attr;
}

void node_remember(struct nodes *ns, const Cfs__Attr *attr)
{
    struct known *k = known_find(ns, attr->ino);

    if (k == NULL)
        k = known_add(ns, attr->ino);
    k->lookups++;
    k->type = attr->mode >> TYPE_SHIFT & 15;
    node_note(ns, attr);
}

void node_forget(struct nodes *ns, uint64_t ino, uint64_t n)
{
    struct known **place = known_place(ns, ino);

    if (*place == NULL || ino == NODE_ROOT)
        return;
    (*place)->lookups -= min_u64(n, (*place)->lookups);
    if ((*place)->lookups == 0)
        known_remove(ns, place);
}

uint64_t node_lookups(const struct nodes *ns, uint64_t ino)
{
    const struct known *k = known_find(ns, ino);

    return k == NULL ? 0 : k->lookups;
}

uint32_t node_type(const struct nodes *ns, uint64_t ino)
{
    const struct known *k = known_find(ns, ino);

    return k == NULL ? 0 : (uint32_t)k->type << TYPE_SHIFT;
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
