/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas: the model counts everything each time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/model_op.h"

#define QUOTA_BYTES   "user.coordfs.quota.bytes"
#define QUOTA_ENTRIES "user.coordfs.quota.entries"
#define USAGE_BYTES   "user.coordfs.usage.bytes"
#define USAGE_ENTRIES "user.coordfs.usage.entries"

/* ---- The quota that counts ------------------------------------------------------------------- */

struct model_quota *model_find_quota(const struct model *m, uint64_t dir)
{
    for (size_t i = 0; i < m->n_quotas; i++)
        if (m->quotas[i].dir == dir)
            return &m->quotas[i];
    return NULL;
}

uint64_t model_quota_of_dir(const struct model *m, uint64_t dir)
{
    while (model_find_quota(m, dir) == NULL) {
        if (dir == MODEL_ROOT)
            return 0;
        dir = model_find(m, dir)->attr.parent;
    }
    return dir;
}

static uint64_t next_above(const struct model *m, uint64_t quota)
{
    return quota == MODEL_ROOT ? 0 : model_quota_of_dir(m, model_find(m, quota)->attr.parent);
}

uint64_t model_quota_of(const struct model *m, const struct model_inode *inode)
{
    if (inode->attr.ino == MODEL_ROOT)
        return 0;
    if (model_is_orphan(inode))
        return inode->charged;
    if (model_is_dir(inode))
        return model_quota_of_dir(m, inode->attr.parent);
    for (size_t i = 0; i < m->n_entries; i++)
        if (m->entries[i]->ino == inode->attr.ino)
            return model_quota_of_dir(m, m->entries[i]->dir);
    check(false);
    return 0;
}

/* ---- Counting -------------------------------------------------------------------------------- */

static bool is_charged(const struct model *m, const struct model_inode *inode, uint64_t quota)
{
    for (uint64_t at = model_quota_of(m, inode); at != 0; at = next_above(m, at))
        if (at == quota)
            return true;
    return false;
}

void model_quota_usage(const struct model *m, uint64_t quota, uint64_t *bytes, uint64_t *entries)
{
    *bytes = *entries = 0;
    for (size_t i = 0; i < m->n_inodes; i++) {
        const struct model_inode *inode = m->inodes[i];

        if (!is_charged(m, inode, quota))
            continue;
        *bytes += model_stored(inode) + model_xattr_bytes(inode);
        *bytes += S_ISLNK(inode->attr.mode) ? inode->attr.size : 0;
        ++*entries;
    }
}

bool model_quota_fits(const struct model *m, uint64_t quota, uint64_t bytes, uint64_t entries)
{
    for (uint64_t at = quota; at != 0; at = next_above(m, at)) {
        const struct model_quota *q = model_find_quota(m, at);
        uint64_t used_bytes, used_entries;

        model_quota_usage(m, at, &used_bytes, &used_entries);
        if (bytes > 0 && used_bytes + bytes > q->max_bytes)
            return false;
        if (entries > 0 && used_entries + entries > q->max_entries)
            return false;
    }
    return true;
}

bool model_quota_fits_growth(const struct model *m, const struct model_inode *inode,
                             uint64_t stored)
{
    uint64_t was = model_stored(inode);

    return stored <= was || model_quota_fits(m, model_quota_of(m, inode), stored - was, 0);
}

struct model_inode *model_shadow(const struct model_inode *inode)
{
    struct model_inode *shadow = xcalloc(1, sizeof *shadow);

    shadow->attr = inode->attr;
    memcpy(shadow->reach, inode->reach, sizeof shadow->reach);
    return shadow;
}

uint64_t model_shadow_end(struct model_inode *shadow)
{
    uint64_t stored = model_stored(shadow);

    buf_fini(&shadow->content);
    free(shadow);
    return stored;
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void drop_quota(struct model *m, uint64_t dir)
{
    uint64_t above = next_above(m, dir);

    for (size_t i = 0; i < m->n_inodes; i++)
        if (m->inodes[i]->charged == dir)
            m->inodes[i]->charged = above;
    *model_find_quota(m, dir) = m->quotas[m->n_quotas - 1];
    m->n_quotas--;
}

void model_quota_lost(struct model *m, uint64_t dir, struct model_inode *inode)
{
    if (model_find_quota(m, inode->attr.ino) != NULL)
        drop_quota(m, inode->attr.ino);
    inode->charged = model_quota_of_dir(m, dir);
}

/* ---- Xattrs ---------------------------------------------------------------------------------- */

static bool is_called(const ProtobufCBinaryData *name, const char *text)
{
    return name->len == strlen(text) && memcmp(name->data, text, name->len) == 0;
}

bool model_quota_is_name(const ProtobufCBinaryData *name)
{
    return is_called(name, QUOTA_BYTES) || is_called(name, QUOTA_ENTRIES) ||
           is_called(name, USAGE_BYTES) || is_called(name, USAGE_ENTRIES);
}

bool model_quota_is_reserved(const ProtobufCBinaryData *name)
{
    return name->len >= 13 && memcmp(name->data, "user.coordfs.", 13) == 0 &&
           !model_quota_is_name(name);
}

static bool parse(const ProtobufCBinaryData *value, uint64_t *out)
{
    char text[40], *end;
    unsigned shift = 0;
    unsigned __int128 number = 0;

    if (value->len == 0 || value->len >= sizeof text)
        return false;
    memcpy(text, value->data, value->len);
    text[value->len] = 0;
    end = text + value->len - 1;
    if (value->len > 1 && strchr("KMGT", *end) != NULL) {
        shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 40;
        *end = 0;
    }
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 20)
        return false;
    for (const char *p = text; *p != 0; p++)
        number = number * 10 + (unsigned)(*p - '0');
    number <<= shift;
    *out = (uint64_t)number;
    return number < INT64_MAX;
}

/* True if a file has names both below the directory and elsewhere. */
static bool is_torn(const struct model *m, const struct model_inode *dir)
{
    for (size_t i = 0; i < m->n_inodes; i++) {
        const struct model_inode *inode = m->inodes[i];
        unsigned in = 0, out = 0;

        for (size_t n = 0; n < m->n_entries && !model_is_dir(inode); n++)
            if (m->entries[n]->ino == inode->attr.ino) {
                if (model_is_within(m, model_find(m, m->entries[n]->dir), dir->attr.ino))
                    in++;
                else
                    out++;
            }
        if (in > 0 && out > 0)
            return true;
    }
    return false;
}

static int check_mode(Cfs__SetXattr__Mode mode, bool there)
{
    if (mode == CFS__SET_XATTR__MODE__CREATE && there)
        return EEXIST;
    return mode == CFS__SET_XATTR__MODE__REPLACE && !there ? ENODATA : 0;
}

int model_quota_set(struct model *m, const struct model_inode *inode, const Cfs__SetXattr *set)
{
    bool is_bytes = is_called(&set->name, QUOTA_BYTES);
    struct model_quota *q = model_find_quota(m, inode->attr.ino);
    uint64_t limit;
    int status;

    if (!is_bytes && !is_called(&set->name, QUOTA_ENTRIES))
        return EPERM;
    status = check_mode(set->mode, q != NULL && (is_bytes ? q->max_bytes : q->max_entries) !=
                                                    MODEL_QUOTA_NONE);
    if (status != 0)
        return status;
    if (!model_is_dir(inode) || model_is_orphan(inode) || !parse(&set->value, &limit))
        return EINVAL;
    if (q == NULL) {
        if (is_torn(m, inode))
            return EXDEV;
        m->quotas = xrealloc(m->quotas, (m->n_quotas + 1) * sizeof *m->quotas);
        q = &m->quotas[m->n_quotas++];
        *q = (struct model_quota){inode->attr.ino, MODEL_QUOTA_NONE, MODEL_QUOTA_NONE};
    }
    *(is_bytes ? &q->max_bytes : &q->max_entries) = limit;
    return 0;
}

int model_quota_remove(struct model *m, const struct model_inode *inode,
                       const ProtobufCBinaryData *name)
{
    bool is_bytes = is_called(name, QUOTA_BYTES);
    struct model_quota *q = model_find_quota(m, inode->attr.ino);
    uint64_t *limit;

    if (!is_bytes && !is_called(name, QUOTA_ENTRIES))
        return EPERM;
    if (q == NULL)
        return ENODATA;
    limit = is_bytes ? &q->max_bytes : &q->max_entries;
    if (*limit == MODEL_QUOTA_NONE)
        return ENODATA;
    *limit = MODEL_QUOTA_NONE;
    if (q->max_bytes == MODEL_QUOTA_NONE && q->max_entries == MODEL_QUOTA_NONE)
        drop_quota(m, inode->attr.ino);
    return 0;
}
