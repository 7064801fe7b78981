/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/credentials.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "fs/kernel/procfd.h"
#include "proto/limits.h"

#define BIT(cap) (1ull << (cap))

/* The capabilities that root needs to act on files. */
#define FILES (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID))

/* And of root in a PID namespace that /proc does not show. */
#define ROOT_UNSEEN (FILES | BIT(CAP_MKNOD))

/* The text behind a key at the beginning of a line, or NULL. */
static const char *find_line(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at == NULL ? NULL : at + strlen(key);
}

/* The fourth number is the file system id. It must be the one that the kernel sent. */
static bool is_id(const char *text, const char *key, uint32_t id)
{
    const char *line = find_line(text, key);
    unsigned long long ids[4];

    return line != NULL &&
           sscanf(line, "%llu %llu %llu %llu", &ids[0], &ids[1], &ids[2], &ids[3]) == 4 &&
           ids[3] == id;
}

static void read_groups(struct credentials *c, const char *line)
{
    const char *end = line + strcspn(line, "\n");
    char *next;

    c->cred.groups = xcalloc((size_t)(end - line) / 2 + 1, sizeof(*c->cred.groups));
    while (line < end) {
        unsigned long long group = strtoull(line, &next, 10);

        if (next == line || next > end || c->cred.n_groups == LIMIT_TXN_GROUPS)
            break;
        c->cred.groups[c->cred.n_groups++] = (uint32_t)group;
        line = next + strspn(next, " ");
    }
}

/* Capabilities of another user namespace give no rights here. */
static bool is_in_our_namespace(pid_t tid)
{
    struct stat ours, theirs;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)tid);
    return stat("/proc/self/ns/user", &ours) == 0 && stat(path, &theirs) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static void read_capabilities(struct credentials *c, const char *text, pid_t tid)
{
    const char *line = find_line(text, "\nCapEff:");

    if (line != NULL && is_in_our_namespace(tid))
        c->capabilities = strtoull(line, NULL, 16);
}

void credentials_init(struct credentials *c, const struct fuse_ctx *ctx)
{
    struct buf status = BUF_EMPTY;
    const char *text, *line;

    memset(c, 0, sizeof(*c));
    cfs__cred__init(&c->cred);
    c->cred.uid = ctx->uid;
    c->cred.gid = ctx->gid;
    if (ctx->pid == 0 && ctx->uid == 0)
        c->capabilities = ROOT_UNSEEN;
    if (ctx->pid > 0 && procfd_status(ctx->pid, &status)) {
        text = (const char *)status.data;
        line = find_line(text, "\nGroups:");
        if (is_id(text, "\nUid:", ctx->uid) && is_id(text, "\nGid:", ctx->gid) && line != NULL) {
            read_groups(c, line + strspn(line, "\t "));
            read_capabilities(c, text, ctx->pid);
        }
    }
    buf_fini(&status);
}

void credentials_fini(struct credentials *c)
{
    free(c->cred.groups);
    memset(c, 0, sizeof(*c));
}

static bool begins(ProtobufCBinaryData name, const char *with)
{
    return name.len >= strlen(with) && memcmp(name.data, with, strlen(with)) == 0;
}

static uint64_t xattr_needs(ProtobufCBinaryData name)
{
    return begins(name, "trusted.") || begins(name, "security.") ? BIT(CAP_SYS_ADMIN) : 0;
}

static uint64_t step_needs(const Cfs__TxnStep *s)
{
    uint32_t type;

    if (s->op_case == CFS__TXN_STEP__OP_SET_XATTR)
        return xattr_needs(s->set_xattr->name);
    if (s->op_case == CFS__TXN_STEP__OP_REMOVE_XATTR)
        return xattr_needs(s->remove_xattr->name);
    if (s->op_case != CFS__TXN_STEP__OP_MAKE)
        return 0;
    type = s->make->mode & S_IFMT;
    return type == S_IFCHR || type == S_IFBLK ? BIT(CAP_MKNOD) : 0;
}

int credentials_check(const struct credentials *c, const Cfs__Txn *txn)
{
    uint64_t needed = FILES;

    if (c->cred.uid != 0)
        return 0;
    for (size_t i = 0; i < txn->n_steps; i++)
        needed |= step_needs(txn->steps[i]);
    return (c->capabilities & needed) == needed ? 0 : EPERM;
}
