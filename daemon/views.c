/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A table names each view and the function that makes it: JSON for programs, or text for a person
 * or a shell. The control files and the control socket use the same table, so they cannot differ. A
 * view is made from scratch at each request; nothing is cached, and the loop thread makes it, so it
 * shows one state.
 *
 * Three control files wake their pollers: leader, members and health. views_on_leader reports a new
 * leader when the driver announces it. For the other two, views_tick makes the text about every 100
 * ms and compares it with the previous one. Therefore these texts contain no figure that changes by
 * itself, such as a lag or a time. */
#include "daemon/views.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"
#include "daemon/locklist.h"
#include "daemon/session_manager.h"
#include "daemon/status.h"
#include "store/history_reader.h"

struct views {
    struct daemon *daemon;
    struct store_reader *reader; /* only for the loop thread */
    uint64_t leader;
    struct buf members; /* at the last check */
    struct buf health;
};

struct views *views_new(struct daemon *d)
{
    struct views *v = xcalloc(1, sizeof *v);

    v->daemon = d;
    v->reader = reader_new(d->store);
    return v;
}

void views_free(struct views *v)
{
    reader_free(v->reader);
    buf_fini(&v->members);
    buf_fini(&v->health);
    free(v);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *status_view(struct views *v)
{
    return status_json(v->daemon);
}

/* The list in an answer of the control socket. Takes the answer, gives the list. */
static json_t *list_of(json_t *answer, const char *name)
{
    json_t *list = json_incref(json_object_get(answer, name));

    json_decref(answer);
    return list != NULL ? list : json_array();
}

static json_t *members_view(struct views *v)
{
    return list_of(status_json(v->daemon), "members");
}

static json_t *locks_view(struct views *v)
{
    return list_of(locklist_json(v->daemon), "locks");
}

static json_t *sessions_view(struct views *v)
{
    return list_of(session_manager_sessions(v->daemon->session_manager), "sessions");
}

/* ---- Words ----------------------------------------------------------------------------------- */

static void leader_view(struct views *v, struct buf *out)
{
    struct driver_status s;

    consensus_status(v->daemon->consensus, &s);
    if (s.leader != 0)
        buf_printf(out, "%" PRIu64, s.leader);
    buf_printf(out, "\n");
}

static void self_view(struct views *v, struct buf *out)
{
    buf_printf(out, "%" PRIu64 "\n", v->daemon->options.id);
}

static void index_view(struct views *v, struct buf *out)
{
    buf_printf(out, "%" PRIu64 "\n", store_applied(v->daemon->store));
}

static void version_view(struct views *v BASE_UNUSED, struct buf *out)
{
    buf_printf(out, "%s\n", COORDFS_VERSION);
}

/* One line per problem. No figures that change by themselves: a change wakes all pollers. */
static void health_view(struct views *v, struct buf *out)
{
    struct driver_status s;

    consensus_status(v->daemon->consensus, &s);
    if (s.leader == 0)
        buf_printf(out, "no leader: changes wait until a majority of the members is reachable\n");
    if (atomic_load(&v->daemon->behind))
        buf_printf(out, "not caught up since the start: reads may show an old state\n");
    if (session_manager_session(v->daemon->session_manager) == 0)
        buf_printf(out, "no session: locks and ephemeral entries of this host may be lost\n");
    for (unsigned i = 0; i < s.n_members; i++)
        if (s.members[i].id != s.id && !s.members[i].linked)
            buf_printf(out, "member %" PRIu64 " (%s) cannot be reached\n", s.members[i].id,
                       s.members[i].address);
    if (out->len == 0)
        buf_printf(out, "ok\n");
}

/* ---- Metrics: the text format of Prometheus -------------------------------------------------- */

static void metric(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    buf_printf(out, "# HELP coordfs_%s %s\n# TYPE coordfs_%s %s\ncoordfs_%s %" PRIu64 "\n", name,
               help, name, type, name, value);
}

static void raft_metrics(struct buf *out, const struct driver_status *s)
{
    metric(out, "leader", "gauge", "The member that leads; 0: none is known.", s->leader);
    metric(out, "is_leader", "gauge", "Does this member lead?", s->state == DRIVER_LEADER);
    metric(out, "term", "gauge", "Raft term.", s->term);
    metric(out, "commit_index", "gauge", "Last log entry known to be committed.", s->commit);
    metric(out, "applied_index", "gauge", "Last log entry that is applied here.", s->applied);
    metric(out, "first_index", "gauge", "First entry of the log.", s->first_index);
    metric(out, "last_index", "gauge", "Last entry of the log.", s->last_index);
    metric(out, "elections_total", "counter", "Elections this member has begun.", s->elections);
    metric(out, "refused_messages_total", "counter", "Messages that no sound member sends.",
           s->refused);
    metric(out, "snapshots_sent_total", "counter", "Snapshots sent to others.", s->snapshots_sent);
    metric(out, "snapshots_installed_total", "counter", "Snapshots received and installed.",
           s->snapshots_installed);
}

static void store_metrics(struct buf *out, struct views *v)
{
    struct store_counts counts;
    struct history_reader_range past = {.first = 1};

    store_counts(v->daemon->store, &counts);
    history_reader_range(v->reader, &past);
    metric(out, "inodes", "gauge", "Files, directories and others.", counts.inodes);
    metric(out, "bytes", "gauge", "Bytes of content, as stored.", counts.bytes);
    metric(out, "sessions", "gauge", "Open sessions.", counts.sessions);
    metric(out, "log_rows", "gauge", "Entries in the log.", counts.log_rows);
    metric(out, "database_bytes", "gauge", "Size of the database file.", counts.file_bytes);
    metric(out, "changes_total", "counter", "Changes of the tree, ever.", past.last);
    metric(out, "changes_kept", "gauge", "Changes that the history has.",
           past.last + 1 - past.first);
}

static void member_metrics(struct buf *out, const struct driver_status *s)
{
    buf_printf(out, "# HELP coordfs_member_linked Is there a link to this member?\n"
                    "# TYPE coordfs_member_linked gauge\n");
    for (unsigned i = 0; i < s->n_members; i++)
        buf_printf(out, "coordfs_member_linked{member=\"%" PRIu64 "\",role=\"%s\"} %d\n",
                   s->members[i].id, s->members[i].role == DRIVER_VOTER ? "voter" : "standby",
                   s->members[i].id == s->id || s->members[i].linked);
    if (s->state != DRIVER_LEADER)
        return;
    buf_printf(out, "# HELP coordfs_member_lag Entries that this member is behind the leader.\n"
                    "# TYPE coordfs_member_lag gauge\n");
    for (unsigned i = 0; i < s->n_members; i++)
        if (s->members[i].id != s->id)
            buf_printf(out, "coordfs_member_lag{member=\"%" PRIu64 "\"} %" PRIu64 "\n",
                       s->members[i].id,
                       s->last_index - min_u64(s->members[i].match, s->last_index));
}

/* A histogram: each bucket counts the names up to its bound. */
static void names_metrics(struct buf *out, struct fs *fs)
{
    struct fs_names_status s;
    uint64_t n = 0;

    fs_names_status(fs, &s);
    buf_printf(out, "# HELP coordfs_names_stale_seconds How long names were stale here after other "
                    "hosts' changes were applied.\n"
                    "# TYPE coordfs_names_stale_seconds histogram\n");
    for (unsigned i = 0; i < FS_DELAYS - 1; i++) {
        n += s.counts[i];
        buf_printf(out, "coordfs_names_stale_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
                   fs_delay_bounds_ms[i] / 1000.0, n);
    }
    n += s.counts[FS_DELAYS - 1];
    buf_printf(out, "coordfs_names_stale_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", n);
    buf_printf(out, "coordfs_names_stale_seconds_sum %g\n", s.sum_ms / 1000.0);
    buf_printf(out, "coordfs_names_stale_seconds_count %" PRIu64 "\n", n);
    metric(out, "names_stale", "gauge", "Names that are stale now.", s.stale);
    metric(out, "names_late", "gauge", "Changes that wait until a directory is unlocked.", s.late);
}

static void metrics_view(struct views *v, struct buf *out)
{
    struct daemon *d = v->daemon;
    struct fs *fs = atomic_load(&d->fs);
    struct driver_status s;

    consensus_status(d->consensus, &s);
    buf_printf(out,
               "# HELP coordfs_info What runs here.\n# TYPE coordfs_info gauge\n"
               "coordfs_info{version=\"%s\",cluster=\"%s\",member=\"%" PRIu64 "\"} 1\n",
               COORDFS_VERSION, d->options.name, s.id);
    metric(out, "uptime_seconds", "gauge", "Since the daemon was started.",
           (clock_boot_ms() - d->started_ms) / 1000);
    raft_metrics(out, &s);
    store_metrics(out, v);
    metric(out, "pending", "gauge", "Changes of this host on their way.",
           consensus_pending(d->consensus));
    metric(out, "fuse_requests_total", "counter", "Requests of the kernel.",
           fs != NULL ? fs_requests(fs) : 0);
    if (fs != NULL)
        names_metrics(out, fs);
    member_metrics(out, &s);
}

/* ---- The table ------------------------------------------------------------------------------- */

static const struct view {
    const char *name;
    json_t *(*json)(struct views *v);
    void (*text)(struct views *v, struct buf *out);
} views[] = {
    {"status", status_view, NULL},     {"members", members_view, NULL},
    {"leader", NULL, leader_view},     {"self", NULL, self_view},
    {"health", NULL, health_view},     {"locks", locks_view, NULL},
    {"sessions", sessions_view, NULL}, {"metrics", NULL, metrics_view},
    {"index", NULL, index_view},       {"version", NULL, version_view},
};

static const struct view *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(views); i++)
        if (strcmp(views[i].name, name) == 0)
            return &views[i];
    return NULL;
}

bool views_text(struct views *v, const char *name, struct buf *out)
{
    const struct view *view = find(name);
    char *text;
    json_t *json;

    if (view == NULL)
        return false;
    if (view->text != NULL) {
        view->text(v, out);
        return true;
    }
    json = view->json(v);
    text = json_dumps(json, JSON_INDENT(2));
    check(text != NULL);
    buf_printf(out, "%s\n", text);
    free(text);
    json_decref(json);
    return true;
}

json_t *views_json(struct views *v, const char *name)
{
    const struct view *view = find(name);
    struct buf text = BUF_EMPTY;
    json_t *value;

    if (view == NULL)
        return NULL;
    if (view->json != NULL) {
        value = view->json(v);
        return json_is_object(value) ? value : json_pack("{s:b, s:o}", "ok", 1, name, value);
    }
    view->text(v, &text);
    value = json_stringn((const char *)text.data, text.len - 1); /* without the newline */
    buf_fini(&text);
    return json_pack("{s:b, s:o}", "ok", 1, name, value != NULL ? value : json_null());
}

/* ---- Changes --------------------------------------------------------------------------------- */

static void tell(struct views *v, const char *name)
{
    struct fs *fs = atomic_load(&v->daemon->fs);

    if (fs != NULL)
        fs_control_changed(fs, name);
}

void views_on_leader(struct views *v, uint64_t leader)
{
    if (leader == v->leader)
        return;
    v->leader = leader;
    tell(v, "leader");
}

/* Takes `now`. True if it differs from `before`. */
static bool replace(struct buf *before, struct buf *now)
{
    bool same = before->len == now->len &&
                (now->len == 0 || memcmp(before->data, now->data, now->len) == 0);

    buf_fini(before);
    *before = buf_take(now);
    return !same;
}

static void list_members(struct views *v, struct buf *out)
{
    struct driver_status s;

    consensus_status(v->daemon->consensus, &s);
    for (unsigned i = 0; i < s.n_members; i++)
        buf_printf(out, "%" PRIu64 " %d %s %d\n", s.members[i].id, (int)s.members[i].role,
                   s.members[i].address, s.members[i].linked);
}

void views_tick(struct views *v)
{
    struct buf members = BUF_EMPTY, health = BUF_EMPTY;

    list_members(v, &members);
    if (replace(&v->members, &members))
        tell(v, "members");
    health_view(v, &health);
    if (replace(&v->health, &health))
        tell(v, "health");
}
