/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/locklist.h"

#include <limits.h>
#include <string.h>

struct listing {
    struct store_reader *reader;
    json_t *locks;
    uint64_t ino; /* of the path below */
    char path[PATH_MAX];
    int64_t path_len; /* or -errno */
};

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* Names are bytes and JSON is UTF-8: a path that is not UTF-8 is left out. */
static void add_path(struct listing *l, json_t *out, uint64_t ino)
{
    json_t *path;

    if (ino != l->ino)
        l->path_len = reader_path(l->reader, ino, l->path, sizeof l->path);
    l->ino = ino;
    path = l->path_len > 0 ? json_stringn(l->path, (size_t)l->path_len) : NULL;
    if (path != NULL)
        json_object_set_new(out, "path", path);
}

static bool add_lock(void *arg, const struct reader_lock *lock)
{
    struct listing *l = arg;
    bool flock = lock->kind == CFS__LOCK__KIND__FLOCK;
    json_t *out = json_object();

    json_object_set_new(out, "ino", number(lock->ino));
    add_path(l, out, lock->ino);
    json_object_set_new(out, "kind", json_string(flock ? "flock" : "posix"));
    json_object_set_new(out, "session", number(lock->session));
    json_object_set_new(out, "member", number(lock->member));
    json_object_set_new(out, "mode", json_string(lock->write ? "write" : "read"));
    json_object_set_new(out, "start", number(lock->start));
    json_object_set_new(out, "end", number(lock->end));
    json_object_set_new(out, "pid", lock->pid != 0 ? number(lock->pid) : json_null());
    json_object_set_new(out, "waiting", json_boolean(lock->waits));
    json_object_set_new(out, lock->waits ? "id" : "fence", number(lock->number));
    json_array_append_new(l->locks, out);
    return true;
}

json_t *locklist_json(struct daemon *d)
{
    struct listing l = {.reader = reader_new(d->store), .locks = json_array()};
    int err = reader_begin(l.reader);

    if (err == 0) {
        err = reader_locks(l.reader, add_lock, &l);
        reader_end(l.reader);
    }
    reader_free(l.reader);
    if (err == 0)
        return json_pack("{s:o}", "locks", l.locks);
    json_decref(l.locks);
    return json_pack("{s:s}", "error", strerror(-err));
}
