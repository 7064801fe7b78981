/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/gen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Numbers --------------------------------------------------------------------------------- */

struct gen_rng gen_rng_from(uint64_t seed)
{
    return (struct gen_rng){seed};
}

uint64_t gen_u64(struct gen_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t gen_below(struct gen_rng *rng, uint64_t n)
{
    return n > 0 ? gen_u64(rng) % n : 0;
}

bool gen_chance(struct gen_rng *rng, unsigned num, unsigned den)
{
    return gen_below(rng, den) < num;
}

void gen_bytes(struct gen_rng *rng, void *out, size_t len)
{
    uint8_t *at = out;

    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(gen_u64(rng) >> 32);
}

void gen_damage(struct gen_rng *rng, struct buf *bytes, size_t from)
{
    size_t at = from + gen_below(rng, bytes->len - from), len = gen_below(rng, 6);

    switch (gen_below(rng, 4)) {
    case 0:
        bytes->data[at] ^= (uint8_t)(1u << gen_below(rng, 8));
        break;
    case 1:
        bytes->data[at] = (uint8_t)gen_u64(rng);
        break;
    case 2: /* a part is missing */
        len = min_u64(len, bytes->len - at);
        memmove(bytes->data + at, bytes->data + at + len, bytes->len - at - len);
        bytes->len -= len;
        break;
    default: /* a part occurs twice */
        len = min_u64(len, bytes->len - at);
        buf_reserve(bytes, len);
        memmove(bytes->data + at + len, bytes->data + at, bytes->len - at);
        bytes->len += len;
        break;
    }
}

uint64_t gen_env(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text != NULL && *text != 0 ? strtoull(text, NULL, 0) : fallback;
}

/* ---- Selection of operations ----------------------------------------------------------------- */

static const struct {
    enum gen_kind kind;
    unsigned weight;
} weights[] = {
    {GEN_NOOP, 1},      {GEN_OPEN_SESSION, 3}, {GEN_MAKE, 28},        {GEN_LINK, 8},
    {GEN_UNLINK, 16},   {GEN_RENAME, 24},      {GEN_SET_ATTR, 7},     {GEN_TRUNCATE, 8},
    {GEN_WRITE, 20},    {GEN_SET_XATTR, 10},   {GEN_REMOVE_XATTR, 4}, {GEN_REAP, 4},
    {GEN_FALLOCATE, 8}, {GEN_COPY, 10},        {GEN_BARRIER, 2},      {GEN_COMMIT, 16},
    {GEN_RESTART, 1},   {GEN_SNAPSHOT, 2},     {GEN_COMPACT, 1},      {GEN_CRASH, 1},
    {GEN_STAGE, 6},     {GEN_UNSTAGE, 1},
};

/* Swarm testing (Groce and others 2012): each sequence leaves out some kinds and prefers others.
 * Together they reach states that an even mixture does not. */
struct gen_mix gen_mix(struct gen_rng *rng)
{
    static const unsigned factors[] = {0, 1, 1, 1, 6};
    struct gen_mix mix = {0};

    for (size_t i = 0; i < ARRAY_LEN(weights); i++) {
        unsigned factor = factors[gen_below(rng, ARRAY_LEN(factors))];

        if (factor == 0 && (weights[i].kind == GEN_MAKE || weights[i].kind == GEN_OPEN_SESSION ||
                            weights[i].kind == GEN_COMMIT))
            factor = 1; /* without these, nothing would happen */
        if (factor > 1 && weights[i].kind > GEN_COMMIT)
            factor = 2; /* these take long */
        mix.weights[weights[i].kind] = weights[i].weight * factor;
    }
    return mix;
}

struct gen_op gen_op(struct gen_rng *rng, const struct gen_mix *mix)
{
    struct gen_op op = {0};
    uint64_t sum = 0, at;

    for (size_t i = 0; i < GEN_KINDS; i++)
        sum += mix->weights[i];
    at = gen_below(rng, sum);
    while (at >= mix->weights[op.kind])
        at -= mix->weights[op.kind++];
    for (size_t i = 0; i < GEN_NUMBERS; i++)
        op.n[i] = (uint32_t)gen_u64(rng);
    return op;
}

/* ---- Selection of targets -------------------------------------------------------------------- */

/* Each function decides with the low bits whether to pick an ordinary value, and uses the other
 * bits for the choice. So one number is enough. */

static uint64_t pick_missing(const struct model *m, uint32_t n)
{
    switch (n % 4) {
    case 0:
        return 0;
    case 1:
        return m->next_ino + n % 7;
    case 2:
        return UINT64_MAX - n % 3;
    default: /* perhaps one that existed once */
        return 2 + n % m->next_ino;
    }
}

static uint64_t pick_ino(const struct model *m, uint32_t n)
{
    if (n % 24 == 0)
        return pick_missing(m, n / 24);
    return m->inodes[n / 24 % m->n_inodes]->attr.ino;
}

static uint64_t pick_of_type(const struct model *m, uint32_t n, uint32_t type)
{
    size_t count = 0, at = 0;

    for (size_t i = 0; i < m->n_inodes; i++)
        count += (m->inodes[i]->attr.mode & S_IFMT) == type;
    if (n % 16 == 0 || count == 0)
        return pick_ino(m, n / 16);
    for (size_t i = 0; i < m->n_inodes; i++)
        if ((m->inodes[i]->attr.mode & S_IFMT) == type && at++ == n / 16 % count)
            return m->inodes[i]->attr.ino;
    check(false);
}

static uint64_t pick_dir(const struct model *m, uint32_t n)
{
    return pick_of_type(m, n, S_IFDIR);
}

static char long_name[LIMIT_NAME_MAX + 2];
static char long_target[LIMIT_SYMLINK_MAX + 2];

static ProtobufCBinaryData binary(const void *data, size_t len)
{
    union { /* protobuf-c has no const, and does not write */
        const void *from;
        uint8_t *to;
    } cast = {data};

    return (ProtobufCBinaryData){len, cast.to};
}

static ProtobufCBinaryData pick_name(uint32_t n)
{
    static const struct {
        const char *text;
        size_t len;
    } odd[] = {{"", 0},    {".", 1},        {"..", 2},        {"x/y", 3},
               {"/", 1},   {"nul\0x", 5},   {"\xff\xfe", 2},  {"A", 1},
               {"a ", 2},  {"a%' \"\n", 6}, {long_name, 255}, {long_name, 256},
               {"...", 3}, {"a\0", 2},      {long_name, 254}, {"0", 1}};
    static const char *const usual[] = {"a", "b", "c", "d", "e"};

    memset(long_name, 'n', sizeof long_name - 1);
    if (n % 16 == 0)
        return binary(odd[n / 16 % ARRAY_LEN(odd)].text, odd[n / 16 % ARRAY_LEN(odd)].len);
    return binary(usual[n / 16 % ARRAY_LEN(usual)], 1);
}

/* Picks a place, mostly one with an entry. */
static void pick_place(const struct model *m, uint32_t n, uint32_t n2, uint64_t *parent,
                       ProtobufCBinaryData *name)
{
    if (n % 4 == 0 || m->n_entries == 0) {
        *parent = pick_dir(m, n / 4);
        *name = pick_name(n2);
    } else {
        const struct model_entry *e = m->entries[n / 4 % m->n_entries];

        *parent = e->dir;
        *name = binary(e->name.data, e->name.len);
    }
}

static uint64_t pick_offset(uint32_t n)
{
    static const uint64_t near[] = {0,     0,      0,      1,      100,    511,    512,
                                    4095,  4096,   5000,   65535,  65536,  65536,  65537,
                                    70000, 131071, 131072, 131073, 196608, 200000, 262143};
    static const uint64_t far[] = {
        LIMIT_FILE_MAX - 1, LIMIT_FILE_MAX, LIMIT_FILE_MAX + 1,  LIMIT_FILE_MAX - 65536,
        UINT64_MAX,         UINT64_MAX - 1, (uint64_t)INT64_MAX, (uint64_t)INT64_MAX + 1,
        1ull << 32,         3u << 20};

    if (n % 32 == 0)
        return far[n / 32 % ARRAY_LEN(far)];
    return near[n / 32 % ARRAY_LEN(near)];
}

static size_t pick_length(uint32_t n)
{
    static const size_t small[] = {1, 1, 2, 10, 100, 100, 511, 0};
    static const size_t large[] = {4096, 4097, 65535, 65536, 65537, 131072, 140000};

    if (n % 512 == 0)
        return n / 512 % 2 ? LIMIT_WRITE_MAX : LIMIT_WRITE_MAX + 1;
    return n % 4 == 0 ? large[n / 4 % ARRAY_LEN(large)] : small[n / 4 % ARRAY_LEN(small)];
}

/* ---- Bytes: one static block of data that never changes, at different places ----------------- */

static ProtobufCBinaryData content(uint32_t n, size_t len)
{
    static uint8_t noise[LIMIT_WRITE_MAX + 300];
    static const uint8_t zeros[LIMIT_WRITE_MAX + 1];

    if (noise[0] == 0) {
        struct gen_rng rng = gen_rng_from(4711);

        gen_bytes(&rng, noise, sizeof noise);
        noise[0] = 1;
    }
    return n % 8 == 0 ? binary(zeros, len) : binary(noise + n / 8 % 256, len);
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* The memory that a command may point to until it is packed. */
struct parts {
    Cfs__Noop noop;
    Cfs__OpenSession open_session;
    Cfs__Make make;
    Cfs__Link link;
    Cfs__Unlink unlink;
    Cfs__Rename rename;
    Cfs__SetAttr set_attr;
    Cfs__Write write;
    Cfs__SetXattr set_xattr;
    Cfs__RemoveXattr remove_xattr;
    Cfs__Reap reap;
    Cfs__Fallocate fallocate;
    Cfs__Copy copy;
    Cfs__Stage stage;
    Cfs__Unstage unstage;
    Cfs__Extent extents[LIMIT_EXTENTS_MAX + 1];
    Cfs__Extent *extent_list[LIMIT_EXTENTS_MAX + 1];
    uint64_t inos[LIMIT_REAP_MAX + 1];
};

#define SELECT(command, p, CASE, field, init)                                                      \
    ((command)->op_case = CFS__COMMAND__OP_##CASE, init(&(p)->field),                              \
     (command)->field = &(p)->field)

static void make_noop(const uint32_t *n BASE_UNUSED, const struct model *m BASE_UNUSED,
                      struct parts *p, Cfs__Command *c)
{
    SELECT(c, p, NOOP, noop, cfs__noop__init);
}

static void make_open_session(const uint32_t *n, const struct model *m, struct parts *p,
                              Cfs__Command *c)
{
    Cfs__OpenSession *open = SELECT(c, p, OPEN_SESSION, open_session, cfs__open_session__init);

    open->member = 1 + n[0] % 4;
    open->nonce = 1000 + m->applied;
    if (n[1] % 3 == 0 && m->n_sessions > 0)
        open->nonce = m->sessions[n[1] / 3 % m->n_sessions]->nonce;
    else if (n[1] % 3 == 1)
        open->nonce = 1000 + n[1] / 3 % 8; /* perhaps a nonce of an earlier session */
}

static uint32_t pick_mode(uint32_t n)
{
    static const uint32_t modes[] = {0644, 0755, 0600, 02755, 04755, 06711, 01777, 0};

    return n % 8 == 7 ? n / 8 % 010000 : modes[n / 8 % ARRAY_LEN(modes)];
}

static ProtobufCBinaryData pick_target(size_t len)
{
    for (size_t i = 0; i < sizeof long_target; i++)
        long_target[i] = i % 9 == 8 ? '/' : (char)('a' + i % 23);
    return binary(long_target, len);
}

static void make_make(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    static const uint32_t types[] = {S_IFREG,  S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFDIR,
                                     S_IFDIR,  S_IFDIR, S_IFDIR, S_IFLNK, S_IFLNK, S_IFIFO,
                                     S_IFSOCK, S_IFCHR, S_IFBLK, 0};
    static const size_t targets[] = {1, 3, 100, LIMIT_SYMLINK_MAX, LIMIT_SYMLINK_MAX + 1, 0};
    Cfs__Make *make = SELECT(c, p, MAKE, make, cfs__make__init);
    uint32_t type = types[n[0] % ARRAY_LEN(types)];

    make->parent = pick_dir(m, n[1]);
    make->name = pick_name(n[2]);
    make->mode = type | pick_mode(n[3]);
    make->umask = n[8] % 3 ? 022 : n[8] / 3 % 01000;
    make->uid = n[4] % 3;
    make->gid = n[5] % 4;
    if (type == S_IFCHR || type == S_IFBLK)
        make->rdev = n[6] % 1000;
    if (type == S_IFLNK)
        make->target = pick_target(targets[n[7] % ARRAY_LEN(targets)]);
}

static void make_link(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    Cfs__Link *link = SELECT(c, p, LINK, link, cfs__link__init);

    link->ino = n[0] % 3 ? pick_of_type(m, n[0] / 3, S_IFREG) : pick_ino(m, n[0] / 3);
    link->parent = pick_dir(m, n[1]);
    link->name = pick_name(n[2]);
}

static void make_unlink(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    Cfs__Unlink *unlink = SELECT(c, p, UNLINK, unlink, cfs__unlink__init);
    const struct model_entry *e;
    const struct model_inode *inode;

    pick_place(m, n[0], n[1], &unlink->parent, &unlink->name);
    e = model_find_entry(m, unlink->parent, unlink->name.data, unlink->name.len);
    inode = e != NULL ? model_find(m, e->ino) : NULL;
    unlink->directory = inode != NULL && model_is_dir(inode);
    if (n[2] % 6 == 0)
        unlink->directory = !unlink->directory;
}

static void make_rename(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    Cfs__Rename *rename = SELECT(c, p, RENAME, rename, cfs__rename__init);

    pick_place(m, n[0], n[1], &rename->parent, &rename->name);
    if (n[2] % 2)
        pick_place(m, n[3], n[4], &rename->new_parent, &rename->new_name);
    else {
        rename->new_parent = pick_dir(m, n[3]);
        rename->new_name = pick_name(n[4]);
    }
    rename->mode = (Cfs__Rename__Mode)(n[5] % 6 < 3 ? 0 : n[5] % 6 == 3 ? 1 : 2);
}

static void make_set_attr(const uint32_t *n, const struct model *m, struct parts *p,
                          Cfs__Command *c)
{
    Cfs__SetAttr *set = SELECT(c, p, SET_ATTR, set_attr, cfs__set_attr__init);

    set->ino = pick_ino(m, n[0]);
    set->set_mode = n[1] % 3 == 0;
    set->set_uid = n[1] / 3 % 3 == 0;
    set->set_gid = n[1] / 9 % 3 == 0;
    set->set_atime = n[1] / 27 % 3 == 0;
    set->set_mtime = n[1] / 81 % 3 == 0;
    set->atime_now = n[2] % 2;
    set->mtime_now = n[2] / 2 % 2;
    set->kill = set->set_mode ? CFS__KILL__KILL_NONE : (Cfs__Kill)(n[2] / 4 % 4 % 3);
    set->set_size = n[2] / 16 % 16 == 0;
    set->mode = pick_mode(n[3]) | (n[4] % 4 ? 0u : (uint32_t)S_IFIFO);
    set->uid = n[5] % 3;
    set->gid = n[6] % 4;
    set->size = pick_offset(n[7]);
    set->atime_ns = (int64_t)n[8] * 1000000007 - 1000000000;
    set->mtime_ns = (int64_t)n[9] * -1000000009;
}

static void make_truncate(const uint32_t *n, const struct model *m, struct parts *p,
                          Cfs__Command *c)
{
    Cfs__SetAttr *set = SELECT(c, p, SET_ATTR, set_attr, cfs__set_attr__init);

    set->ino = pick_of_type(m, n[0], S_IFREG);
    set->set_size = true;
    set->size = n[1] % 6 == 0 ? 0 : pick_offset(n[3] % 8 ? n[2] : n[2] * 32);
}

static size_t pick_extents(uint32_t n)
{
    if (n % 1024 == 0)
        return n / 1024 % 2 ? LIMIT_EXTENTS_MAX : LIMIT_EXTENTS_MAX + 1;
    return n % 4 == 0 ? n / 4 % 5 : 1;
}

static size_t pick_content(const uint32_t *n, struct parts *p)
{
    struct gen_rng rng = gen_rng_from(n[5]);
    size_t count = pick_extents(n[4]);

    for (size_t i = 0; i < count; i++) {
        size_t len = count > 10 ? 1 : pick_length((uint32_t)gen_u64(&rng));

        cfs__extent__init(&p->extents[i]);
        p->extents[i].offset = pick_offset((uint32_t)gen_u64(&rng));
        p->extents[i].data = content((uint32_t)gen_u64(&rng), len);
        p->extent_list[i] = &p->extents[i];
    }
    return count;
}

/* Picks the session that sends the command, if it exists. */
static const struct model_session *pick_session(const uint32_t *n, const struct model *m)
{
    return m->n_sessions > 0 ? m->sessions[n[GEN_NUMBERS - 1] / 64 % m->n_sessions] : NULL;
}

static uint64_t pick_stage(uint32_t n)
{
    return n % 64 == 0 ? n / 64 % 2 * UINT64_MAX : 1 + n % 2;
}

static void make_write(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    Cfs__Write *write = SELECT(c, p, WRITE, write, cfs__write__init);
    const struct model_session *session = pick_session(n, m);
    uint64_t bytes;

    write->ino = pick_of_type(m, n[0], S_IFREG);
    write->truncate = n[1] % 5 == 0;
    write->append = n[2] % 3 == 0;
    write->kill = (Cfs__Kill)(n[3] % 3);
    write->n_extents = pick_content(n, p);
    write->extents = p->extent_list;
    if (n[6] % 3 != 0)
        return;
    write->stage = pick_stage(n[7]);
    write->append = n[2] % 24 == 0;
    if (session != NULL)
        write->staged = (uint32_t)model_staged(session, write->stage, &bytes);
    write->staged += n[8] % 16 == 0;
}

static void make_stage(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    Cfs__Stage *stage = SELECT(c, p, STAGE, stage, cfs__stage__init);

    stage->ino = pick_of_type(m, n[0], S_IFREG);
    stage->stage = pick_stage(n[7]);
    stage->n_extents = pick_content(n, p);
    stage->extents = p->extent_list;
}

static void make_unstage(const uint32_t *n, const struct model *m BASE_UNUSED, struct parts *p,
                         Cfs__Command *c)
{
    Cfs__Unstage *unstage = SELECT(c, p, UNSTAGE, unstage, cfs__unstage__init);

    unstage->stage = pick_stage(n[7]);
}

static ProtobufCBinaryData pick_xattr_name(uint32_t n)
{
    static const char *const usual[] = {"user.a",    "user.b", "system.posix_acl_access",
                                        "trusted.c", "user.A", "system.posix_acl_default",
                                        "user.a",    "user.b", "security.capability"};

    memset(long_name, 'n', sizeof long_name - 1);
    if (n % 24 == 0)
        return binary(long_name, n / 24 % 2 ? LIMIT_XATTR_NAME : LIMIT_XATTR_NAME + 1);
    if (n % 24 == 1)
        return binary("", 0);
    if (n % 24 == 2)
        return binary("user.\0x", 7);
    if (n % 24 < 6)
        return binary(long_name, 200 + n / 24 % 55);
    return binary(usual[n / 24 % ARRAY_LEN(usual)], strlen(usual[n / 24 % ARRAY_LEN(usual)]));
}

/* Picks an ACL, mostly a valid one. */
static ProtobufCBinaryData pick_acl(uint32_t n)
{
    static const uint8_t tags[][6] = {
        {1, 4, 32},    {1, 2, 4, 16, 32}, {1, 4, 8, 16, 32}, {1, 4, 16, 32}, {1, 2, 2, 4, 16, 32},
        {1, 2, 4, 32}, {1, 4, 2, 16, 32}, {4, 32},           {1, 4, 4, 32},  {1, 4, 64, 32}};
    static uint8_t acl[4 + 6 * 8 + 1];
    struct gen_rng rng = gen_rng_from(n);
    const uint8_t *tag = tags[n % 8 < 6 ? n / 8 % 5 : n / 8 % ARRAY_LEN(tags)];
    size_t len = 4;

    if (n % 64 == 1)
        return binary("\2\0\0\0", n / 64 % 2 ? 4 : 0);
    memset(acl, 0, sizeof acl);
    acl[0] = n % 64 == 2 ? 1 : 2;
    for (; len < 4 + 6 * 8 && tag[(len - 4) / 8] != 0; len += 8) {
        acl[len] = tag[(len - 4) / 8];
        acl[len + 2] = (uint8_t)gen_below(&rng, n % 64 == 3 ? 9 : 8);
        memset(acl + len + 4, n % 64 == 4 || (acl[len] != 2 && acl[len] != 8) ? 255 : 1, 4);
    }
    return binary(acl, len - (n % 64 == 5 ? 3 : 0));
}

static void make_set_acl(const uint32_t *n, const struct model *m, Cfs__SetXattr *set)
{
    static const char access[] = "system.posix_acl_access", dflt[] = "system.posix_acl_default";

    set->ino = n[1] % 2 ? pick_dir(m, n[1] / 2) : pick_ino(m, n[1] / 2);
    set->name = n[2] % 2 ? binary(access, strlen(access)) : binary(dflt, strlen(dflt));
    set->value = pick_acl(n[3]);
    set->kill_sgid = n[4] % 4 == 0;
}

static ProtobufCBinaryData pick_quota_name(uint32_t n)
{
    static const char *const text[] = {"user.coordfs.quota.bytes", "user.coordfs.quota.entries"};

    if (n % 16 == 0)
        return binary("user.coordfs.usage.bytes", 24);
    return binary(text[n / 16 % 2], strlen(text[n / 16 % 2]));
}

static void make_set_quota(const uint32_t *n, const struct model *m, Cfs__SetXattr *set)
{
    static const char *const values[] = {"0",   "1",    "3",  "8",  "20", "100", "1K",
                                         "20K", "100K", "1M", "7T", "64", "300", "30000"};
    static const char *const odd[] = {
        "", "K", "x", "-1", "1k", "1KK", "99999999999999999999", "9223372036854775807", "8388608T"};
    const char *value =
        n[3] % 16 == 0 ? odd[n[3] / 16 % ARRAY_LEN(odd)] : values[n[3] / 16 % ARRAY_LEN(values)];

    set->ino = n[0] % 8 == 0 ? pick_ino(m, n[0] / 8) : pick_of_type(m, n[0] / 8, S_IFDIR);
    set->name = pick_quota_name(n[1]);
    set->value = binary(value, strlen(value));
    set->mode = (Cfs__SetXattr__Mode)(n[4] % 12 < 10 ? 0 : n[4] % 12 - 9);
}

static void make_set_xattr(const uint32_t *n, const struct model *m, struct parts *p,
                           Cfs__Command *c)
{
    static const size_t lengths[] = {
        0, 1, 5, 5, 300, 4096, LIMIT_XATTR_VALUE, LIMIT_XATTR_VALUE, LIMIT_XATTR_VALUE + 1};
    Cfs__SetXattr *set = SELECT(c, p, SET_XATTR, set_xattr, cfs__set_xattr__init);

    if (n[7] % 3 == 0) {
        make_set_acl(n, m, set);
        return;
    }
    if (n[7] % 3 == 1 && n[8] % 2) {
        make_set_quota(n, m, set);
        return;
    }
    set->ino = n[0] % 2 ? MODEL_ROOT : pick_ino(m, n[0] / 2);
    set->name = pick_xattr_name(n[1]);
    set->value = content(n[2], lengths[n[3] % ARRAY_LEN(lengths)]);
    set->mode = (Cfs__SetXattr__Mode)(n[4] % 6 < 4 ? 0 : n[4] % 6 - 3);
    if (set->ino != MODEL_ROOT || n[5] % 2)
        return;
    set->name = binary(long_name, 200 + n[6] % 55); /* fill the root, up to the total limit */
    set->value = content(n[2], LIMIT_XATTR_VALUE);
    set->mode = CFS__SET_XATTR__MODE__ANY;
}

static void make_remove_xattr(const uint32_t *n, const struct model *m, struct parts *p,
                              Cfs__Command *c)
{
    Cfs__RemoveXattr *remove = SELECT(c, p, REMOVE_XATTR, remove_xattr, cfs__remove_xattr__init);

    remove->ino = n[0] % 2 ? MODEL_ROOT : pick_ino(m, n[0] / 2);
    remove->name = pick_xattr_name(n[1]);
    if (n[2] % 2 && m->n_quotas > 0) {
        remove->ino = m->quotas[n[3] % m->n_quotas].dir;
        remove->name = pick_quota_name(n[4]);
    }
}

static void make_reap(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    Cfs__Reap *reap = SELECT(c, p, REAP, reap, cfs__reap__init);
    struct gen_rng rng = gen_rng_from(n[0]);
    size_t many = n[1] % 512 == 0 ? LIMIT_REAP_MAX + n[1] / 512 % 2 : 0;

    reap->inos = p->inos;
    for (size_t i = 0; i < m->n_inodes && reap->n_inos < LIMIT_REAP_MAX; i++)
        if (model_is_orphan(m->inodes[i]) && gen_chance(&rng, 1, 2))
            p->inos[reap->n_inos++] = m->inodes[i]->attr.ino;
    while (reap->n_inos < many || (reap->n_inos < LIMIT_REAP_MAX && gen_chance(&rng, 1, 2)))
        p->inos[reap->n_inos++] = pick_ino(m, (uint32_t)gen_u64(&rng));
}

static uint64_t pick_range(uint32_t n)
{
    static const uint64_t lengths[] = {1,     100,   4096,  16384,          16384,      20000,
                                       32768, 49153, 65536, LIMIT_FILE_MAX, UINT64_MAX, 0};

    return n % 3 == 0 ? n / 3 % 200000 : lengths[n / 3 % ARRAY_LEN(lengths)];
}

/* Picks an offset around the borders of the first few blocks. */
static uint64_t pick_border(uint32_t n)
{
    static const uint64_t offsets[] = {0, 0, 1, 16383, 16384, 16385, 32768, 49152, 65536};

    return n % 3 == 0 ? pick_offset(n / 3) : offsets[n / 3 % ARRAY_LEN(offsets)];
}

static void make_fallocate(const uint32_t *n, const struct model *m, struct parts *p,
                           Cfs__Command *c)
{
    Cfs__Fallocate *f = SELECT(c, p, FALLOCATE, fallocate, cfs__fallocate__init);

    f->ino = pick_of_type(m, n[0], S_IFREG);
    f->mode = (Cfs__Fallocate__Mode)(n[1] % 32 == 0 ? 5 : n[1] % 16 < 9 ? 2 : n[1] / 32 % 5);
    f->offset = pick_border(n[2]);
    f->len = pick_range(n[3]);
    f->kill = (Cfs__Kill)(n[4] % 3);
}

static void make_copy(const uint32_t *n, const struct model *m, struct parts *p, Cfs__Command *c)
{
    Cfs__Copy *copy = SELECT(c, p, COPY, copy, cfs__copy__init);

    copy->src = pick_of_type(m, n[0], S_IFREG);
    copy->dst = n[1] % 4 == 0 ? copy->src : pick_of_type(m, n[2], S_IFREG);
    copy->src_offset = pick_border(n[3]);
    copy->dst_offset = pick_border(n[4]);
    copy->len = pick_range(n[5]);
    copy->truncate = n[6] % 5 == 0;
    copy->kill = (Cfs__Kill)(n[7] % 3);
}

static void (*const makers[])(const uint32_t *, const struct model *, struct parts *,
                              Cfs__Command *) = {
    [GEN_NOOP] = make_noop,
    [GEN_OPEN_SESSION] = make_open_session,
    [GEN_MAKE] = make_make,
    [GEN_LINK] = make_link,
    [GEN_UNLINK] = make_unlink,
    [GEN_RENAME] = make_rename,
    [GEN_SET_ATTR] = make_set_attr,
    [GEN_TRUNCATE] = make_truncate,
    [GEN_WRITE] = make_write,
    [GEN_SET_XATTR] = make_set_xattr,
    [GEN_REMOVE_XATTR] = make_remove_xattr,
    [GEN_REAP] = make_reap,
    [GEN_FALLOCATE] = make_fallocate,
    [GEN_COPY] = make_copy,
    [GEN_STAGE] = make_stage,
    [GEN_UNSTAGE] = make_unstage,
};

/* ---- Stamps ---------------------------------------------------------------------------------- */

/* Usually the next command of a session; sometimes a repeated one, one that is too early, or one of
 * a session that does not exist (any more). */
static struct stamp make_stamp(const struct gen_op *op, const struct model *m)
{
    uint32_t n = op->n[GEN_NUMBERS - 1], n2 = op->n[GEN_NUMBERS - 2];
    struct stamp s = {.time_ns = 1700000000000000000 + (int64_t)m->applied * 1000003};
    const struct model_session *session;

    if (n % 16 == 0)
        s.time_ns -= n2; /* the clocks differ */
    if (op->kind == GEN_OPEN_SESSION && n % 8 != 1)
        return s;
    if (m->n_sessions == 0 || n % 64 == 2) {
        s.session = n / 64 % 4 == 0 ? 0 : 1 + n / 64 % (m->applied + 2);
        s.seq = 1;
        return s;
    }
    session = m->sessions[n / 64 % m->n_sessions];
    s.session = session->id;
    s.seq = session->last_seq + 1;
    if (n % 64 < 8 && session->last_seq > 0) /* a repetition */
        s.seq = session->last_seq - n2 / 8 % min_u64(session->last_seq, 6);
    else if (n % 64 < 10)
        s.seq += 1 + n2 / 8 % 3;
    s.acked = session->acked;
    if (n2 % 4 == 0)
        s.acked = s.seq - 1 - n2 / 4 % min_u64(s.seq, 5);
    s.acked = min_u64(s.acked, s.seq - 1);
    return s;
}

/* The store treats a configuration as bytes. */
static void make_internal(const uint32_t *n, struct buf *data, struct store_entry *entry)
{
    struct gen_rng rng = gen_rng_from(n[1]);
    size_t start = data->len, len = n[2] % 100;

    if (n[0] % 2)
        return;
    buf_reserve(data, len + 1);
    gen_bytes(&rng, data->data + start, len);
    data->len += len;
    entry->type = STORE_CHANGE;
    entry->data = data->data + start;
    entry->len = len;
}

void gen_entry(const struct gen_op *op, const struct model *m, struct buf *data,
               struct store_entry *entry)
{
    static struct parts parts;
    Cfs__Command command = CFS__COMMAND__INIT;
    struct stamp stamp = make_stamp(op, m);
    size_t start = data->len, len;

    check(gen_is_entry(op));
    *entry = (struct store_entry){.term = 1 + m->applied / 50, .type = STORE_BARRIER};
    if (op->kind == GEN_BARRIER) {
        make_internal(op->n, data, entry);
        return;
    }
    makers[op->kind](op->n, m, &parts, &command);
    len = cfs__command__get_packed_size(&command);
    buf_reserve(data, STAMP_SIZE + len);
    stamp_encode(&stamp, data->data + start);
    cfs__command__pack(&command, data->data + start + STAMP_SIZE);
    data->len += STAMP_SIZE + len;
    entry->type = STORE_COMMAND;
    entry->data = data->data + start;
    entry->len = STAMP_SIZE + len;
}
