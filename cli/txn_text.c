/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/txn_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/tokenizer.h"
#include "cli/transact.h"
#include "proto/limits.h"

struct parser {
    struct tokenizer tok; /* of the step */
    const struct path_mount *mounted;
    unsigned umask_bits;
    struct txn_text *out;
};

/* ---- Values of words --------------------------------------------------------------------------*/

static bool is_text(const struct token *token, const char *text)
{
    return strcmp(tokenizer_text(token), text) == 0;
}

static bool get_number(struct parser *p, const struct token *token, int base, uint64_t max,
                       const char *what, uint64_t *out)
{
    const char *text = tokenizer_text(token);
    const char *digits = base == 16  ? "0123456789abcdefABCDEF"
                         : base == 8 ? "01234567"
                                     : "0123456789";

    errno = 0;
    *out = strtoull(text, NULL, base);
    if (*text == '\0' || text[strspn(text, digits)] != '\0' || errno != 0 || *out > max)
        return tokenizer_fail(&p->tok, "%s: '%s' must be a %s", tokenizer_text(&p->tok.tokens[0]),
                              text, what);
    return true;
}

static bool get_mode(struct parser *p, const struct token *token, uint32_t *out)
{
    uint64_t mode;

    if (!get_number(p, token, 8, 07777, "mode in octal, 0 to 7777", &mode))
        return false;
    *out = (uint32_t)mode;
    return true;
}

/* Gives; NULL after a message. */
static char *get_path(struct parser *p, const struct token *token)
{
    const char *path = tokenizer_text(token);
    char *inside;

    if (token->bytes.len == 0 || strlen(path) != token->bytes.len) {
        tokenizer_fail(&p->tok, "%s: an empty path, or a path with a NUL, is not valid",
                       tokenizer_text(&p->tok.tokens[0]));
        return NULL;
    }
    if (path[0] != '/')
        return xstrdup(path);
    inside = p->mounted != NULL ? path_inside(p->mounted, path) : NULL;
    if (inside == NULL)
        tokenizer_fail(&p->tok, "%s is outside the mount%s%s", path, p->mounted != NULL ? " " : "",
                       p->mounted != NULL ? p->mounted->mount : "");
    return inside;
}

/* Adds a step with this path. NULL after a message. */
static Cfs__TxnStep *add_step(struct parser *p, const struct token *path)
{
    struct txn_text *t = p->out;
    Cfs__TxnStep *step;
    char *text;

    if (t->txn->n_steps == LIMIT_TXN_STEPS) {
        tokenizer_fail(&p->tok, "%s: a transaction has at most %d steps",
                       tokenizer_text(&p->tok.tokens[0]), LIMIT_TXN_STEPS);
        return NULL;
    }
    text = get_path(p, path);
    if (text == NULL)
        return NULL;
    step = transact_step(t->txn, text);
    free(text);
    t->lines = xrealloc(t->lines, t->txn->n_steps * sizeof(*t->lines));
    t->verbs = xrealloc(t->verbs, t->txn->n_steps * sizeof(*t->verbs));
    t->lines[t->txn->n_steps - 1] = p->tok.line;
    t->verbs[t->txn->n_steps - 1] = xstrdup(tokenizer_text(&p->tok.tokens[0]));
    return step;
}

struct entry_options {
    uint32_t mode;
    bool sequential;
    Cfs__Ephemeral ephemeral;
};

static bool get_option(struct parser *p, const struct token *token, struct entry_options *out)
{
    static const struct {
        const char *text;
        Cfs__Ephemeral ephemeral;
    } kinds[] = {
        {"ephemeral", CFS__EPHEMERAL__EPHEMERAL_SESSION},
        {"ephemeral=session", CFS__EPHEMERAL__EPHEMERAL_SESSION},
        {"ephemeral=open", CFS__EPHEMERAL__EPHEMERAL_OPEN},
    };
    struct token mode = *token;

    if (is_text(token, "sequential")) {
        out->sequential = true;
        return true;
    }
    if (strncmp(tokenizer_text(token), "mode=", 5) == 0) {
        mode.bytes.data += 5;
        return get_mode(p, &mode, &out->mode);
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (is_text(token, kinds[i].text)) {
            out->ephemeral = kinds[i].ephemeral;
            return true;
        }
    return tokenizer_fail(&p->tok, "%s: unknown option '%s'", tokenizer_text(&p->tok.tokens[0]),
                          tokenizer_text(token));
}

static bool get_options(struct parser *p, unsigned from, struct entry_options *out)
{
    for (unsigned i = from; i < p->tok.n; i++)
        if (!get_option(p, &p->tok.tokens[i], out))
            return false;
    return true;
}

/* ---- The verbs: token 0 is the verb itself --------------------------------------------------- */

static bool parse_check(struct parser *p)
{
    static const struct {
        const char *name;
        Cfs__TxnCheck__Kind kind;
        int base; /* of its number; 0: it has none */
        const char *what;
    } kinds[] = {
        {"exists", CFS__TXN_CHECK__KIND__EXISTS, 0, NULL},
        {"absent", CFS__TXN_CHECK__KIND__ABSENT, 0, NULL},
        {"locked", CFS__TXN_CHECK__KIND__LOCKED, 0, NULL},
        {"version", CFS__TXN_CHECK__KIND__VERSION, 10, "version"},
        {"cversion", CFS__TXN_CHECK__KIND__CVERSION, 10, "version"},
        {"aversion", CFS__TXN_CHECK__KIND__AVERSION, 10, "version"},
        {"hash", CFS__TXN_CHECK__KIND__HASH, 16, "hash"},
    };
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);
    uint64_t number = 0;

    if (step == NULL)
        return false;
    step->op_case = CFS__TXN_STEP__OP_CHECK;
    step->check = transact_op(&cfs__txn_check__descriptor);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!is_text(&p->tok.tokens[2], kinds[i].name))
            continue;
        if (p->tok.n != (kinds[i].base == 0 ? 3 : 4))
            return tokenizer_fail(&p->tok, "check: %s takes %s", kinds[i].name,
                                  kinds[i].base == 0 ? "no argument" : "a number");
        if (kinds[i].base != 0 &&
            !get_number(p, &p->tok.tokens[3], kinds[i].base, UINT64_MAX, kinds[i].what, &number))
            return false;
        step->check->kind = kinds[i].kind;
        if (kinds[i].kind == CFS__TXN_CHECK__KIND__HASH)
            step->check->xxh3 = number;
        else
            step->check->version = number;
        return true;
    }
    return tokenizer_fail(&p->tok, "check: unknown condition '%s'",
                          tokenizer_text(&p->tok.tokens[2]));
}

static bool parse_put(struct parser *p)
{
    struct entry_options options = {.mode = 0666};
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);

    if (step == NULL || !get_options(p, 3, &options))
        return false;
    step->op_case = CFS__TXN_STEP__OP_PUT;
    step->put = transact_op(&cfs__txn_put__descriptor);
    step->put->data = transact_bytes(p->tok.tokens[2].bytes.data, p->tok.tokens[2].bytes.len);
    step->put->append = is_text(&p->tok.tokens[0], "append");
    step->put->mode = options.mode;
    step->put->umask = p->umask_bits;
    step->put->sequential = options.sequential;
    step->put->ephemeral = options.ephemeral;
    return true;
}

static Cfs__Make *add_make(struct parser *p, const struct token *path, uint32_t mode)
{
    Cfs__TxnStep *step = add_step(p, path);

    if (step == NULL)
        return NULL;
    step->op_case = CFS__TXN_STEP__OP_MAKE;
    step->make = transact_op(&cfs__make__descriptor);
    step->make->mode = mode;
    step->make->umask = p->umask_bits;
    return step->make;
}

static bool parse_entry(struct parser *p, uint32_t type, uint32_t mode, unsigned from)
{
    struct entry_options options = {.mode = mode};
    Cfs__Make *make = add_make(p, &p->tok.tokens[1], 0);

    if (make == NULL || !get_options(p, from, &options))
        return false;
    make->mode = type | options.mode;
    make->sequential = options.sequential;
    make->ephemeral = options.ephemeral;
    return true;
}

static bool parse_create(struct parser *p)
{
    return parse_entry(p, S_IFREG, 0666, 2);
}

static bool parse_mkdir(struct parser *p)
{
    uint32_t mode = 0777;
    bool has_mode = p->tok.n > 2 && isdigit((unsigned char)*tokenizer_text(&p->tok.tokens[2]));

    if (has_mode && !get_mode(p, &p->tok.tokens[2], &mode))
        return false;
    return parse_entry(p, S_IFDIR, mode, has_mode ? 3 : 2);
}

static bool parse_symlink(struct parser *p)
{
    const struct token *target = &p->tok.tokens[1];
    Cfs__Make *make = add_make(p, &p->tok.tokens[2], S_IFLNK | 0777);

    if (make == NULL)
        return false;
    make->target = transact_bytes(target->bytes.data, target->bytes.len);
    return true;
}

static bool parse_remove(struct parser *p)
{
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);

    if (step == NULL)
        return false;
    step->op_case = CFS__TXN_STEP__OP_REMOVE;
    step->remove = transact_op(&cfs__unlink__descriptor);
    step->remove->directory = is_text(&p->tok.tokens[0], "rmdir");
    return true;
}

static bool parse_move(struct parser *p)
{
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);
    char *to = step != NULL ? get_path(p, &p->tok.tokens[2]) : NULL;

    if (to == NULL)
        return false;
    step->op_case = CFS__TXN_STEP__OP_MOVE;
    step->move = transact_op(&cfs__txn_move__descriptor);
    step->move->to = transact_bytes(to, strlen(to));
    free(to);
    if (p->tok.n == 3)
        return true;
    if (is_text(&p->tok.tokens[3], "noreplace"))
        step->move->mode = CFS__RENAME__MODE__NOREPLACE;
    else if (is_text(&p->tok.tokens[3], "exchange"))
        step->move->mode = CFS__RENAME__MODE__EXCHANGE;
    else
        return tokenizer_fail(&p->tok, "mv: unknown option '%s'",
                              tokenizer_text(&p->tok.tokens[3]));
    return true;
}

static bool parse_link(struct parser *p)
{
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);
    char *to = step != NULL ? get_path(p, &p->tok.tokens[2]) : NULL;

    if (to == NULL)
        return false;
    step->op_case = CFS__TXN_STEP__OP_LINK;
    step->link = transact_op(&cfs__txn_link__descriptor);
    step->link->to = transact_bytes(to, strlen(to));
    free(to);
    return true;
}

static bool set_mode(struct parser *p, const struct token *token, Cfs__SetAttr *c)
{
    c->set_mode = true;
    return get_mode(p, token, &c->mode);
}

static bool set_id(struct parser *p, const struct token *token, protobuf_c_boolean *set,
                   uint32_t *out)
{
    uint64_t id;

    *set = true;
    if (!get_number(p, token, 10, UINT32_MAX - 1, "number of a user or group", &id))
        return false;
    *out = (uint32_t)id;
    return true;
}

static bool set_uid(struct parser *p, const struct token *token, Cfs__SetAttr *c)
{
    return set_id(p, token, &c->set_uid, &c->uid);
}

static bool set_gid(struct parser *p, const struct token *token, Cfs__SetAttr *c)
{
    return set_id(p, token, &c->set_gid, &c->gid);
}

static bool set_size(struct parser *p, const struct token *token, Cfs__SetAttr *c)
{
    c->set_size = true;
    return get_number(p, token, 10, INT64_MAX, "size", &c->size);
}

static bool get_time(struct parser *p, const struct token *token, protobuf_c_boolean *now,
                     int64_t *ns)
{
    uint64_t seconds;

    *now = is_text(token, "now");
    if (*now)
        return true;
    if (!get_number(p, token, 10, INT64_MAX / 1000000000, "time ('now', or seconds)", &seconds))
        return false;
    *ns = (int64_t)seconds * 1000000000;
    return true;
}

static bool set_atime(struct parser *p, const struct token *token, Cfs__SetAttr *c)
{
    c->set_atime = true;
    return get_time(p, token, &c->atime_now, &c->atime_ns);
}

static bool set_mtime(struct parser *p, const struct token *token, Cfs__SetAttr *c)
{
    c->set_mtime = true;
    return get_time(p, token, &c->mtime_now, &c->mtime_ns);
}

static bool set_key(struct parser *p, const struct token *key, const struct token *value,
                    Cfs__SetAttr *c)
{
    static const struct {
        const char *key;
        bool (*set)(struct parser *p, const struct token *token, Cfs__SetAttr *c);
    } keys[] = {{"mode", set_mode}, {"uid", set_uid},     {"gid", set_gid},
                {"size", set_size}, {"atime", set_atime}, {"mtime", set_mtime}};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (is_text(key, keys[i].key))
            return keys[i].set(p, value, c);
    return tokenizer_fail(&p->tok, "setattr: unknown attribute '%s'", tokenizer_text(key));
}

static bool parse_setattr(struct parser *p)
{
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);

    if (step == NULL)
        return false;
    step->op_case = CFS__TXN_STEP__OP_SET_ATTR;
    step->set_attr = transact_op(&cfs__set_attr__descriptor);
    if (p->tok.n % 2 != 0)
        return tokenizer_fail(&p->tok, "setattr: '%s' has no value",
                              tokenizer_text(&p->tok.tokens[p->tok.n - 1]));
    for (unsigned i = 2; i < p->tok.n; i += 2)
        if (!set_key(p, &p->tok.tokens[i], &p->tok.tokens[i + 1], step->set_attr))
            return false;
    return true;
}

static bool parse_setxattr(struct parser *p)
{
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);

    if (step == NULL)
        return false;
    step->op_case = CFS__TXN_STEP__OP_SET_XATTR;
    step->set_xattr = transact_op(&cfs__set_xattr__descriptor);
    step->set_xattr->name = transact_bytes(tokenizer_text(&p->tok.tokens[2]),
                                           strlen(tokenizer_text(&p->tok.tokens[2])));
    step->set_xattr->value =
        transact_bytes(p->tok.tokens[3].bytes.data, p->tok.tokens[3].bytes.len);
    return true;
}

static bool parse_rmxattr(struct parser *p)
{
    Cfs__TxnStep *step = add_step(p, &p->tok.tokens[1]);

    if (step == NULL)
        return false;
    step->op_case = CFS__TXN_STEP__OP_REMOVE_XATTR;
    step->remove_xattr = transact_op(&cfs__remove_xattr__descriptor);
    step->remove_xattr->name = transact_bytes(tokenizer_text(&p->tok.tokens[2]),
                                              strlen(tokenizer_text(&p->tok.tokens[2])));
    return true;
}

static const struct verb {
    const char *name;
    unsigned min, max; /* number of arguments */
    bool (*parse)(struct parser *p);
    const char *usage;
} verbs[] = {
    {"check", 2, 3, parse_check,
     "PATH exists|absent|locked|version N|cversion N|aversion N|hash H"},
    {"put", 2, 5, parse_put, "PATH CONTENT [mode=M] [sequential] [ephemeral=session|open]"},
    {"append", 2, 5, parse_put, "PATH CONTENT [mode=M] [sequential] [ephemeral=session|open]"},
    {"create", 1, 4, parse_create, "PATH [mode=M] [sequential] [ephemeral=session|open]"},
    {"mkdir", 1, 4, parse_mkdir, "PATH [MODE] [sequential] [ephemeral=session|open]"},
    {"symlink", 2, 2, parse_symlink, "TARGET PATH"},
    {"ln", 2, 2, parse_link, "EXISTING NEW"},
    {"mv", 2, 3, parse_move, "OLD NEW [noreplace|exchange]"},
    {"rm", 1, 1, parse_remove, "PATH"},
    {"rmdir", 1, 1, parse_remove, "PATH"},
    {"setattr", 3, 13, parse_setattr, "PATH mode|uid|gid|size|mtime|atime VALUE ..."},
    {"setxattr", 3, 3, parse_setxattr, "PATH NAME VALUE"},
    {"rmxattr", 2, 2, parse_rmxattr, "PATH NAME"},
};

static bool parse_step(struct parser *p)
{
    const char *name = tokenizer_text(&p->tok.tokens[0]);

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(name, verbs[i].name) != 0)
            continue;
        if (p->tok.n - 1 < verbs[i].min || p->tok.n - 1 > verbs[i].max)
            return tokenizer_fail(&p->tok, "usage: %s %s", name, verbs[i].usage);
        return verbs[i].parse(p);
    }
    return tokenizer_fail(&p->tok, "unknown verb '%s'", name);
}

/* ---- All --------------------------------------------------------------------------------------*/

static bool parse_all(struct parser *p)
{
    bool error, ok = true;

    while (ok && tokenizer_read(&p->tok, &error))
        ok = p->tok.n == 0 || parse_step(p);
    if (ok && !error && p->out->txn->n_steps == 0)
        return tokenizer_fail(&p->tok, "the input has no step");
    return ok && !error;
}

int txn_text_parse(const char *text, size_t len, const struct path_mount *mounted,
                   unsigned umask_bits, struct txn_text *out, char *errmsg, size_t errmsg_len)
{
    struct parser p = {.mounted = mounted, .umask_bits = umask_bits, .out = out};
    bool ok;

    *out = (struct txn_text){.txn = transact_new()};
    tokenizer_init(&p.tok, text, len, errmsg, errmsg_len);
    ok = parse_all(&p);
    tokenizer_fini(&p.tok);
    if (ok)
        return 0;
    txn_text_fini(out);
    return -EINVAL;
}

void txn_text_fini(struct txn_text *t)
{
    for (size_t i = 0; t->txn != NULL && i < t->txn->n_steps; i++)
        if (t->verbs != NULL)
            free(t->verbs[i]);
    free(t->verbs);
    free(t->lines);
    if (t->txn != NULL)
        cfs__txn__free_unpacked(t->txn, NULL);
    *t = (struct txn_text){0};
}
