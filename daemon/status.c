/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/status.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/version.h"
#include "daemon/session_manager.h"

static json_int_t number(uint64_t value)
{
    return value > INT64_MAX ? -1 : (json_int_t)value;
}

static const char *state_name(enum driver_state state)
{
    static const char *const names[] = {
        [DRIVER_FOLLOWER] = "follower",
        [DRIVER_CANDIDATE] = "candidate",
        [DRIVER_LEADER] = "leader",
    };

    return names[state];
}

/* The leader knows the lag of each member; every member knows its own. */
static json_t *member_json(const struct driver_status *s, const struct driver_member_status *m)
{
    bool self = m->id == s->id;
    json_t *out = json_pack("{s:I, s:s, s:s, s:b, s:b}", "id", number(m->id), "address", m->address,
                            "role", m->role == DRIVER_VOTER ? "voter" : "standby", "self", self,
                            "linked", self || m->linked);

    if (self) {
        json_object_set_new(out, "match", json_integer(number(s->last_index)));
        json_object_set_new(out, "lag", json_integer(number(s->commit - s->applied)));
    } else if (s->state == DRIVER_LEADER) {
        json_object_set_new(out, "match", json_integer(number(m->match)));
        json_object_set_new(out, "lag",
                            json_integer(number(s->last_index - min_u64(m->match, s->last_index))));
        json_object_set_new(out, "contact_ms", json_integer(number(m->contact_ms)));
    }
    return out;
}

static json_t *members_json(const struct driver_status *s)
{
    json_t *out = json_array();
    unsigned i;

    for (i = 0; i < s->n_members; i++)
        json_array_append_new(out, member_json(s, &s->members[i]));
    return out;
}

static json_t *store_json(struct store *store)
{
    struct store_counts counts;

    store_counts(store, &counts);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "inodes", number(counts.inodes), "bytes",
                     number(counts.bytes), "sessions", number(counts.sessions), "log_rows",
                     number(counts.log_rows), "file_bytes", number(counts.file_bytes));
}

static json_t *limits_json(void)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", (json_int_t)LIMIT_NAME_MAX,
                     "symlink", (json_int_t)LIMIT_SYMLINK_MAX, "write", (json_int_t)LIMIT_WRITE_MAX,
                     "file", (json_int_t)LIMIT_FILE_MAX, "xattr", (json_int_t)LIMIT_XATTR_VALUE,
                     "tree_bytes", (json_int_t)LIMIT_TREE_BYTES, "tree_entries",
                     (json_int_t)LIMIT_TREE_ENTRIES);
}

/* The options in force that the kernel does not show in /proc/mounts. */
static json_t *options_json(const struct options *o)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};

    return json_pack("{s:i, s:i, s:s, s:s, s:s, s:s, s:s}", "timeout", (int)o->timeout_ms / 1000,
                     "session-ttl", (int)o->session_ttl_ms / 1000, "consistency",
                     o->strong ? "strong" : "local", "lostlock", options_lostlock_name(o->lostlock),
                     "stale", o->deny ? "deny" : "serve", "mirror", o->no_mirror ? "off" : "on",
                     "log-level", levels[o->log_level]);
}

static json_t *mirror_json(struct daemon *d)
{
    struct fs *fs = atomic_load(&d->fs);
    struct fs_mirror_status s;

    if (fs == NULL)
        return json_null();
    fs_mirror_status(fs, &s);
    return json_pack("{s:b, s:s, s:i, s:I, s:I, s:I, s:I, s:I}", "on", s.on, "why", s.why, "pid",
                     s.pid, "done", number(s.done), "refused", number(s.refused), "missed",
                     number(s.missed), "restarts", number(s.restarts), "rests", number(s.rests));
}

static json_t *names_json(struct daemon *d)
{
    struct fs *fs = atomic_load(&d->fs);
    struct fs_names_status s;
    uint64_t p99_ms, all = 0;

    if (fs == NULL)
        return json_null();
    fs_names_status(fs, &s);
    for (unsigned i = 0; i < FS_DELAYS; i++)
        all += s.counts[i];
    p99_ms = fs_names_p99_ms(&s);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "updated", number(all), "stale", number(s.stale),
                     "late", number(s.late), "p99_ms",
                     number(p99_ms == UINT64_MAX ? s.max_ms : p99_ms), "max_ms", number(s.max_ms));
}

json_t *status_json(struct daemon *d)
{
    struct store_hash hash = store_state_hash(d->store);
    struct driver_status s;
    char hex[40];
    json_t *out;

    consensus_status(d->consensus, &s);
    snprintf(hex, sizeof hex, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
    out = json_pack("{s:b, s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "ok", 1,
                    "version", COORDFS_VERSION, "cluster", d->options.name, "id", number(s.id),
                    "state", state_name(s.state), "leader", number(s.leader), "term",
                    number(s.term), "commit", number(s.commit), "applied", number(s.applied),
                    "first", number(s.first_index), "last", number(s.last_index), "hash", hex);
    check(out != NULL);
    json_object_set_new(out, "quorum", json_boolean(s.leader != 0));
    json_object_set_new(out, "no_leader_ms", json_integer(number(s.no_leader_ms)));
    session_manager_status(d->session_manager, out);
    json_object_set_new(out, "pending", json_integer(number(consensus_pending(d->consensus))));
    json_object_set_new(out, "elections", json_integer(number(s.elections)));
    json_object_set_new(out, "refused", json_integer(number(s.refused)));
    json_object_set_new(out, "snapshots_sent", json_integer(number(s.snapshots_sent)));
    json_object_set_new(out, "snapshots_installed", json_integer(number(s.snapshots_installed)));
    json_object_set_new(out, "uptime_ms", json_integer(number(clock_boot_ms() - d->started_ms)));
    json_object_set_new(out, "mount",
                        d->options.mount != NULL ? json_string(d->options.mount) : json_null());
    json_object_set_new(out, "options", options_json(&d->options));
    json_object_set_new(out, "mirror", mirror_json(d));
    json_object_set_new(out, "names", names_json(d));
    json_object_set_new(out, "members", members_json(&s));
    json_object_set_new(out, "store", store_json(d->store));
    json_object_set_new(out, "limits", limits_json());
    return out;
}
