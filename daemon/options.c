/* SPDX-License-Identifier: Apache-2.0 */
/* One table has all options: parser, field and help text. */
#include "daemon/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/log.h"
#include "proto/control.h"

struct parse {
    struct options *o;
    char *errmsg;
    size_t errmsg_len;
};

struct option_def;
typedef bool (*option_set)(struct parse *p, const struct option_def *def, const char *value);

struct option_def {
    const char *key;
    const char *arg; /* NULL: takes no value */
    option_set set;
    size_t field, size; /* in struct options; size 0: none */
    uint64_t min, max;
    const char *help; /* NULL: not listed */
};

BASE_PRINTF(2, 3) static bool fail(struct parse *p, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(p->errmsg, p->errmsg_len, fmt, args);
    va_end(args);
    return false;
}

static void *field(struct parse *p, const struct option_def *def)
{
    return (char *)p->o + def->field;
}

static bool set_string(struct parse *p, const struct option_def *def, const char *value)
{
    char **at = field(p, def);

    if (value[0] == '\0')
        return fail(p, "--%s: the value must not be empty", def->key);
    free(*at);
    *at = xstrdup(value);
    return true;
}

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool number(struct parse *p, const struct option_def *def, const char *value, uint64_t *out)
{
    if (!parse_number(value, out) || *out < def->min || *out > def->max)
        return fail(p, "--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, def->key, value,
                    def->min, def->max);
    return true;
}

static bool set_u64(struct parse *p, const struct option_def *def, const char *value)
{
    return number(p, def, value, field(p, def));
}

static bool set_uint(struct parse *p, const struct option_def *def, const char *value)
{
    uint64_t n = 0;

    if (!number(p, def, value, &n))
        return false;
    *(unsigned *)field(p, def) = (unsigned)n;
    return true;
}

static bool set_seconds(struct parse *p, const struct option_def *def, const char *value)
{
    uint64_t n = 0;

    if (!number(p, def, value, &n))
        return false;
    *(unsigned *)field(p, def) = (unsigned)n * 1000;
    return true;
}

static bool set_true(struct parse *p, const struct option_def *def, const char *value BASE_UNUSED)
{
    *(bool *)field(p, def) = true;
    return true;
}

static bool set_name(struct parse *p, const struct option_def *def, const char *value)
{
    size_t len = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    if (value[0] == '\0' || value[0] == '.' || value[len] != '\0' || len > LIMIT_CLUSTER_NAME)
        return fail(p, "--%s: '%s' is not a name (letters, digits, '.', '_', '-'; at most %d)",
                    def->key, value, LIMIT_CLUSTER_NAME);
    return set_string(p, def, value);
}

static bool valid_address(const char *value)
{
    const char *colon = strrchr(value, ':');
    uint64_t port;

    return colon != NULL && colon != value && strlen(value) <= LIMIT_ADDRESS &&
           parse_number(colon + 1, &port) && port > 0 && port < 65536;
}

static bool set_address(struct parse *p, const struct option_def *def, const char *value)
{
    if (!valid_address(value))
        return fail(p, "--%s: '%s' is not HOST:PORT", def->key, value);
    return set_string(p, def, value);
}

static bool set_peer(struct parse *p, const struct option_def *def, const char *value)
{
    struct options *o = p->o;
    char id_text[24];
    const char *eq = strchr(value, '=');
    uint64_t id;
    unsigned i;

    if (eq == NULL || (size_t)(eq - value) >= sizeof id_text)
        return fail(p, "--%s: '%s' is not ID=HOST:PORT", def->key, value);
    memcpy(id_text, value, (size_t)(eq - value));
    id_text[eq - value] = '\0';
    if (!parse_number(id_text, &id) || id == 0 || !valid_address(eq + 1))
        return fail(p, "--%s: '%s' is not ID=HOST:PORT", def->key, value);
    for (i = 0; i < o->n_members; i++)
        if (o->members[i].id == id)
            return fail(p, "--%s: member %" PRIu64 " is named twice", def->key, id);
    if (o->n_members == LIMIT_MEMBERS_MAX)
        return fail(p, "--%s: more than %d members", def->key, LIMIT_MEMBERS_MAX);
    o->members[o->n_members++] = (struct driver_member){id, xstrdup(eq + 1), DRIVER_VOTER};
    return true;
}

static bool set_log_level(struct parse *p, const struct option_def *def, const char *value)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    unsigned i;

    for (i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *(int *)field(p, def) = (int)i;
            return true;
        }
    }
    return fail(p, "--%s: '%s' is not error, warn, info or debug", def->key, value);
}

static bool set_consistency(struct parse *p, const struct option_def *def, const char *value)
{
    *(bool *)field(p, def) = strcmp(value, "strong") == 0;
    if (strcmp(value, "strong") == 0 || strcmp(value, "local") == 0)
        return true;
    return fail(p, "--%s: '%s' is not local or strong", def->key, value);
}

static const char *const lostlock_names[] = {
    [FS_LOSTLOCK_NONE] = "none", [FS_LOSTLOCK_TERM] = "term", [FS_LOSTLOCK_KILL] = "kill"};

const char *options_lostlock_name(enum fs_lostlock how)
{
    return lostlock_names[how];
}

static bool set_lostlock(struct parse *p, const struct option_def *def, const char *value)
{
    for (unsigned i = 0; i < ARRAY_LEN(lostlock_names); i++) {
        if (strcmp(value, lostlock_names[i]) == 0) {
            *(enum fs_lostlock *)field(p, def) = (enum fs_lostlock)i;
            return true;
        }
    }
    return fail(p, "--%s: '%s' is not none, term or kill", def->key, value);
}

static bool set_stale(struct parse *p, const struct option_def *def, const char *value)
{
    *(bool *)field(p, def) = strcmp(value, "deny") == 0;
    if (strcmp(value, "deny") == 0 || strcmp(value, "serve") == 0)
        return true;
    return fail(p, "--%s: '%s' is not serve or deny", def->key, value);
}

static bool set_mirror(struct parse *p, const struct option_def *def, const char *value)
{
    *(bool *)field(p, def) = strcmp(value, "off") == 0;
    if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)
        return true;
    return fail(p, "--%s: '%s' is not on or off", def->key, value);
}

static bool set_options(struct parse *p, const struct option_def *def, const char *value);

#define FIELD(name) offsetof(struct options, name), sizeof(((struct options *)NULL)->name)
#define NO_FIELD    0, 0

static const struct option_def defs[] = {
    {"name", "NAME", set_name, FIELD(name), 0, 0, "the cluster's name (required)"},
    {"state", "DIR", set_string, FIELD(state), 0, 0,
     "database and socket [" CONTROL_STATE_BASE "/NAME]"},
    {"mount", "DIR", set_string, FIELD(mount), 0, 0,
     "mountpoint; without it: a member without a mount"},
    {"id", "N", set_u64, FIELD(id), 1, INT64_MAX, "this member's number [1]"},
    {"listen", "HOST:PORT", set_address, FIELD(listen), 0, 0,
     "address where other members reach this one"},
    {"peer", "ID=HOST:PORT", set_peer, NO_FIELD, 0, 0, "another member of the first configuration"},
    {"timeout", "SEC", set_seconds, FIELD(timeout_ms), 1, 3600,
     "changes fail with ETIMEDOUT after this long without a quorum [8]"},
    {"session-ttl", "SEC", set_seconds, FIELD(session_ttl_ms), LIMIT_SESSION_TTL_MIN / 1000,
     LIMIT_SESSION_TTL_MAX / 1000,
     "time until locks and ephemeral entries of a dead host are removed [10]"},
    {"consistency", "HOW", set_consistency, FIELD(strong), 0, 0,
     "strong: each open, lookup and getattr asks the quorum first; local: does not [local]"},
    {"lostlock", "HOW", set_lostlock, FIELD(lostlock), 0, 0,
     "term, kill: signal all processes that have a file with a lost lock open; none [none]"},
    {"stale", "HOW", set_stale, FIELD(deny), 0, 0,
     "without a quorum: serve reads from what this host has, or deny them (EIO) [serve]"},
    {"mirror", "on|off", set_mirror, FIELD(no_mirror), 0, 0,
     "inotify events for changes made on other hosts [on]"},
    {"election-timeout", "MS", set_uint, FIELD(election_ms), 100, 60000,
     "time without a message from the leader until another is elected [1000]"},
    {"heartbeat", "MS", set_uint, FIELD(heartbeat_ms), 10, 30000, "[a tenth of election-timeout]"},
    {"compact", "N", set_u64, FIELD(compact_every), 16, 100000000,
     "entries between two compactions of the log [16384]"},
    {"trailing", "N", set_u64, FIELD(compact_trailing), 16, 100000000,
     "entries that a compaction leaves for members that lag [16384]"},
    {"foreground", NULL, set_true, FIELD(foreground), 0, 0, "do not detach"},
    {"log", "FILE", set_string, FIELD(log), 0, 0, "log there instead of to syslog"},
    {"log-level", "LEVEL", set_log_level, FIELD(log_level), 0, 0,
     "error, warn, info, debug [info]"},
    {"sloppy", NULL, set_true, FIELD(sloppy), 0, 0, "ignore unknown keys in the -o that follow"},
    {"remount", NULL, set_true, FIELD(remount), 0, 0,
     "change a running mount, as mount -o remount does; start nothing"},
    {"debug-fuse", NULL, set_true, FIELD(debug_fuse), 0, 0, "log every request of the kernel"},
    {"o", "KEY[=VALUE],...", set_options, NO_FIELD, 0, 0, "the same keys, as in fstab"},
};

/* Words of mount(8): flags for mount(2), and words that this program ignores. */
static const struct {
    const char *word;
    unsigned long set, clear;
} mount_words[] = {
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC, 0},
    {"noatime", MS_NOATIME, 0},
    {"atime", 0, 0},
    {"relatime", 0, 0},
    {"nodiratime", 0, 0},
    {"strictatime", 0, 0},
    {"nofail", 0, 0},
    {"_netdev", 0, 0},
    {"auto", 0, 0},
    {"noauto", 0, 0},
    {"user", 0, 0},
    {"nouser", 0, 0},
    {"users", 0, 0},
    {"owner", 0, 0},
    {"group", 0, 0},
    {"defaults", 0, 0},
    {"allow_other", 0, 0},
    {"default_permissions", 0, 0},
    {"nosymfollow", 0, 0},
};

/* The kernel's own options, as /proc/mounts shows them: mount(8) passes them to a remount. */
static bool is_of_kernel(const char *word)
{
    static const char *const keys[] = {
        "user_id=", "group_id=", "rootmode=", "fd=", "max_read=", "blksize=", "user="};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strncmp(word, keys[i], strlen(keys[i])) == 0)
            return true;
    return false;
}

static bool mount_word(struct options *o, const char *word)
{
    unsigned i;

    if (o->remount && is_of_kernel(word))
        return true;
    if (strncmp(word, "x-", 2) == 0 || strncmp(word, "X-", 2) == 0 ||
        strncmp(word, "comment=", 8) == 0 || word[0] == '\0')
        return true;
    for (i = 0; i < ARRAY_LEN(mount_words); i++) {
        if (strcmp(word, mount_words[i].word) == 0) {
            o->ms_flags |= mount_words[i].set;
            o->ms_flags &= ~mount_words[i].clear;
            return true;
        }
    }
    return false;
}

static const struct option_def *find_def(const char *key, size_t len)
{
    unsigned i;

    for (i = 0; i < ARRAY_LEN(defs); i++)
        if (strlen(defs[i].key) == len && strncmp(defs[i].key, key, len) == 0)
            return &defs[i];
    return NULL;
}

/* The definition of "key" or "key=value", if it has a value exactly if it needs one; NULL after a
 * message. */
static const struct option_def *def_of_word(struct parse *p, const char *word)
{
    const char *eq = strchr(word, '=');
    const struct option_def *def = find_def(word, eq != NULL ? (size_t)(eq - word) : strlen(word));

    if (def == NULL || def->set == set_options)
        fail(p, "unknown mount option '%s': coordfsd --help lists them", word);
    else if (def->arg == NULL && eq != NULL)
        fail(p, "mount option '%s' takes no value", def->key);
    else if (def->arg != NULL && eq == NULL)
        fail(p, "mount option '%s' needs a value (%s)", def->key, def->arg);
    else
        return def;
    return NULL;
}

static bool set_word(struct parse *p, const struct option_def *def, const char *word)
{
    const char *eq = strchr(word, '=');

    return def->set(p, def, eq != NULL ? eq + 1 : "");
}

static void keep_word(struct options *o, const char *word)
{
    char *longer = xasprintf("%s%s,", o->words != NULL ? o->words : "", word);

    free(o->words);
    o->words = longer;
}

static bool is_unknown(const char *word)
{
    const struct option_def *def = find_def(word, strcspn(word, "="));

    return def == NULL || def->set == set_options;
}

static bool set_one(struct parse *p, const char *word)
{
    const struct option_def *def;

    if (mount_word(p->o, word) || (p->o->sloppy && is_unknown(word)))
        return true;
    def = def_of_word(p, word);
    if (def == NULL || !set_word(p, def, word))
        return false;
    if (def->field != offsetof(struct options, remount) || def->size == 0)
        keep_word(p->o, word);
    return true;
}

static bool set_options(struct parse *p, const struct option_def *def BASE_UNUSED,
                        const char *value)
{
    char *words = xstrdup(value);
    char *rest = words;
    char *word;
    bool ok = true;

    while (ok && (word = strsep(&rest, ",")) != NULL)
        ok = set_one(p, word);
    free(words);
    return ok;
}

/* "--key", "--key=value", "-o words" or "-owords": *value is NULL when it is the next argument. */
static const struct option_def *match_argument(const char *arg, const char **value)
{
    const char *eq = strchr(arg, '=');

    *value = NULL;
    if (strncmp(arg, "-o", 2) == 0) {
        if (arg[2] != '\0')
            *value = arg + 2;
        return find_def("o", 1);
    }
    if (strncmp(arg, "--", 2) != 0 || strcmp(arg, "--o") == 0)
        return NULL;
    if (eq != NULL)
        *value = eq + 1;
    return find_def(arg + 2, eq != NULL ? (size_t)(eq - arg - 2) : strlen(arg + 2));
}

static bool parse_arguments(struct parse *p, int argc, char **argv)
{
    const struct option_def *def;
    const char *value;
    int i;

    for (i = 1; i < argc; i++) {
        def = match_argument(argv[i], &value);
        if (def == NULL)
            return fail(p, "unknown argument '%s': coordfsd --help lists them", argv[i]);
        if (def->arg == NULL && value != NULL)
            return fail(p, "--%s takes no value", def->key);
        if (def->arg != NULL && value == NULL) {
            if (++i >= argc)
                return fail(p, "--%s needs a value (%s)", def->key, def->arg);
            value = argv[i];
        }
        if (!def->set(p, def, value))
            return false;
    }
    return true;
}

static bool complete(struct parse *p)
{
    struct options *o = p->o;
    unsigned i;

    if (o->name == NULL)
        return fail(p, "--name is missing: give the name of the cluster");
    if (o->remount && o->mount == NULL)
        return fail(p, "--mount is missing: give the mount to change");
    for (i = 0; i < o->n_members; i++)
        if (o->members[i].id == o->id)
            return fail(p, "--peer: member %" PRIu64 " is this member itself (--id)", o->id);
    if (o->n_members > 0 && o->listen == NULL && !o->remount)
        return fail(p, "--listen is missing: the other members must reach this one");
    if (o->heartbeat_ms > 0 && o->heartbeat_ms * 2 > o->election_ms)
        return fail(p, "--heartbeat must be at most half of --election-timeout");
    if (o->state == NULL)
        o->state = xasprintf("%s/%s", CONTROL_STATE_BASE, o->name);
    return true;
}

static bool wants(int argc, char **argv, const char *word)
{
    return argc == 2 && strcmp(argv[1], word) == 0;
}

enum options_action options_parse(int argc, char **argv, struct options *out, char *errmsg,
                                  size_t errmsg_len)
{
    struct parse p = {out, errmsg, errmsg_len};

    *out = (struct options){
        .id = 1,
        .ms_flags = MS_NOSUID | MS_NODEV,
        .election_ms = 1000,
        .timeout_ms = 8000,
        .session_ttl_ms = LIMIT_SESSION_TTL_MS,
        .compact_every = 16384,
        .compact_trailing = 16384,
        .log_level = LOG_LEVEL_INFO,
    };
    if (wants(argc, argv, "--help") || wants(argc, argv, "-h"))
        return OPTIONS_HELP;
    if (wants(argc, argv, "--version") || wants(argc, argv, "-V"))
        return OPTIONS_VERSION;
    return parse_arguments(&p, argc, argv) && complete(&p) ? OPTIONS_RUN : OPTIONS_ERROR;
}

/* ---- A running mount --------------------------------------------------------------------------*/

static bool is_string(const struct option_def *def)
{
    return def->set == set_string || def->set == set_name || def->set == set_address;
}

static bool has_peer(const struct options *o, const struct driver_member *peer)
{
    for (unsigned i = 0; i < o->n_members; i++)
        if (o->members[i].id == peer->id && strcmp(o->members[i].address, peer->address) == 0)
            return true;
    return false;
}

/* `wanted` has only this option. */
static bool is_in_force(const struct option_def *def, const struct options *o,
                        const struct options *wanted)
{
    const void *is = (const char *)o + def->field, *wants = (const char *)wanted + def->field;

    if (def->set == set_peer)
        return has_peer(o, &wanted->members[0]);
    if (!is_string(def))
        return memcmp(is, wants, def->size) == 0;
    return *(char *const *)is != NULL && strcmp(*(char *const *)is, *(char *const *)wants) == 0;
}

static bool is_live(const struct option_def *def)
{
    static const char *const keys[] = {"timeout", "lostlock", "log-level"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(def->key, keys[i]) == 0)
            return true;
    return false;
}

bool options_accept(const struct options *o, const char *word, char *errmsg, size_t errmsg_len)
{
    struct options wanted = {0};
    struct parse p = {&wanted, errmsg, errmsg_len};
    const struct option_def *def = def_of_word(&p, word);
    bool ok = def != NULL && set_word(&p, def, word);

    if (ok && !is_live(def) && !is_in_force(def, o, &wanted))
        ok = fail(&p, "cannot change '%s': unmount it, then mount it with this option", word);
    options_fini(&wanted);
    return ok;
}

void options_change(struct options *o, const char *word)
{
    char errmsg[512];
    struct parse p = {o, errmsg, sizeof errmsg};
    const struct option_def *def = def_of_word(&p, word);

    check(def != NULL);
    if (is_live(def))
        check(set_word(&p, def, word));
}

void options_fini(struct options *o)
{
    unsigned i;

    for (i = 0; i < o->n_members; i++)
        free(o->members[i].address);
    free(o->name);
    free(o->state);
    free(o->mount);
    free(o->log);
    free(o->listen);
    free(o->words);
}

void options_help(void)
{
    char left[64];
    unsigned i;

    puts("Usage: coordfsd --name NAME [options]\n\n"
         "A member of a coordfs cluster, with a mount of its replicated tree.\n");
    for (i = 0; i < ARRAY_LEN(defs); i++) {
        snprintf(left, sizeof left, "%s%s %s", defs[i].key[1] == '\0' ? "-" : "--", defs[i].key,
                 defs[i].arg != NULL ? defs[i].arg : "");
        printf("  %-26s %s\n", left, defs[i].help);
    }
    puts("  --help, --version\n\nExit status: 0 ok, 1 usage, 2 system, 32 mount failure.");
}
