/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/crash_vfs.h"

#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define SECTOR 512

/* A write or a truncation (data NULL, at: the new size) that was not synced yet. */
struct pending {
    uint64_t at;
    size_t len;
    uint8_t *data;
};

struct image {
    char *path;    /* the present name; NULL: it was removed */
    char *on_disk; /* the name after a power cut if no unsynced change of names survives; or NULL */
    struct buf durable;
    struct pending *pending;
    size_t n_pending;
    struct image *next;
};

struct crash_file {
    sqlite3_file base;
    struct image *image; /* NULL: a temporary file */
    sqlite3_file *real;
};

static sqlite3_vfs *real_vfs;
static sqlite3_vfs vfs;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct image *images;

/* A rename, or a removal (to NULL), that is not synced yet. */
static struct name_change {
    char *from, *to;
} * name_changes;
static size_t n_name_changes;
static void (*watcher)(const char *path);

static bool lies;
static unsigned fail_in;
static int fail_rc;
static unsigned long operations, syncs;

/* ---- Images -----------------------------------------------------------------------------------*/

static void resize(struct buf *b, size_t to)
{
    if (to > b->len) {
        buf_reserve(b, to - b->len);
        memset(b->data + b->len, 0, to - b->len);
    }
    b->len = to;
}

/* The first time a file is seen, all of its content counts as synced. */
static void load(struct image *i)
{
    FILE *f = fopen(i->path, "r");
    uint8_t part[65536];
    size_t len;

    if (f == NULL)
        return;
    while ((len = fread(part, 1, sizeof part, f)) > 0)
        buf_append(&i->durable, part, len);
    fclose(f);
}

static void settle_names(const char *dir, size_t n);

/* A new file is durable immediately, together with all earlier changes of names in its directory.
 */
static void settle_before(const char *path)
{
    char *dir = xstrdup(path);

    *strrchr(dir, '/') = '\0';
    settle_names(dir, SIZE_MAX);
    free(dir);
}

static struct image *find_image(const char *path)
{
    struct image *i = images;

    while (i != NULL && (i->path == NULL || strcmp(i->path, path) != 0))
        i = i->next;
    if (i == NULL) {
        settle_before(path);
        i = xcalloc(1, sizeof *i);
        i->path = xstrdup(path);
        i->on_disk = xstrdup(path);
        load(i);
        i->next = images;
        images = i;
    }
    return i;
}

static void apply(struct buf *b, const struct pending *p, bool torn)
{
    if (p->data == NULL) {
        if (p->at < b->len)
            resize(b, p->at);
        return;
    }
    if (p->at + p->len > b->len)
        resize(b, p->at + p->len);
    for (size_t at = 0; at < p->len; at += SECTOR)
        if (!torn || random() % 2)
            memcpy(b->data + p->at + at, p->data + at, min_u64(SECTOR, p->len - at));
}

static void forget_pending(struct image *i)
{
    for (size_t n = 0; n < i->n_pending; n++)
        free(i->pending[n].data);
    free(i->pending);
    i->pending = NULL;
    i->n_pending = 0;
}

static void add_pending(struct image *i, uint64_t at, const void *data, size_t len)
{
    if ((i->n_pending & (i->n_pending + 1)) == 0)
        i->pending = xrealloc(i->pending, (2 * i->n_pending + 1) * sizeof *i->pending);
    i->pending[i->n_pending++] =
        (struct pending){at, len, data != NULL ? xmemdup(data, len) : NULL};
}

static void sync_image(struct image *i)
{
    if (lies)
        return;
    for (size_t n = 0; n < i->n_pending; n++)
        apply(&i->durable, &i->pending[n], false);
    forget_pending(i);
}

static bool is_in(const char *dir, const char *path)
{
    size_t len = strlen(dir);

    return path != NULL && strncmp(path, dir, len) == 0 && path[len] == '/';
}

/* The effect of one change of a name on the names after a power cut. */
static void change_name(const struct name_change *change)
{
    struct image *moved = NULL;

    for (struct image *i = images; i != NULL; i = i->next) {
        if (i->on_disk == NULL)
            continue;
        if (strcmp(i->on_disk, change->from) == 0) {
            moved = i;
        } else if (change->to != NULL && strcmp(i->on_disk, change->to) == 0) {
            free(i->on_disk);
            i->on_disk = NULL;
        }
    }
    if (moved == NULL)
        return;
    free(moved->on_disk);
    moved->on_disk = change->to != NULL ? xstrdup(change->to) : NULL;
}

/* Makes the first n changes of names in the directory durable. */
static void settle_names(const char *dir, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n_name_changes; i++) {
        struct name_change *change = &name_changes[i];

        if (!is_in(dir, change->from)) {
            name_changes[kept++] = *change;
            continue;
        }
        if (n > 0) {
            change_name(change);
            n--;
        }
        free(change->from);
        free(change->to);
    }
    n_name_changes = kept;
}

static void write_out(const char *to_dir, const struct image *i, int mode)
{
    enum { NOTHING, EVERYTHING, PREFIX, TORN };
    size_t until = i->n_pending > 0 ? (size_t)random() % (i->n_pending + 1) : 0;
    struct buf content = buf_copy(i->durable.data, i->durable.len);
    char *path = xasprintf("%s/%s", to_dir, strrchr(i->on_disk, '/') + 1);
    FILE *f = fopen(path, "w");

    for (size_t n = 0; n < i->n_pending; n++) {
        if (mode == EVERYTHING || (mode == PREFIX && n < until))
            apply(&content, &i->pending[n], false);
        else if (mode == TORN && random() % 2)
            apply(&content, &i->pending[n], true);
    }
    buf_reserve(&content, 1); /* so data is not NULL */
    check(f != NULL && fwrite(content.data, 1, content.len, f) == content.len && fclose(f) == 0);
    buf_fini(&content);
    free(path);
}

static void cut(const char *from_dir, const char *to_dir, bool power)
{
    char **names;
    size_t n = 0, changes = 0, i;
    struct image *image;

    for (i = 0; i < n_name_changes; i++)
        changes += is_in(from_dir, name_changes[i].from);
    for (image = images; image != NULL; image = image->next)
        n++;
    names = xcalloc(n, sizeof *names);
    for (image = images, i = 0; image != NULL; image = image->next, i++)
        names[i] = image->on_disk != NULL ? xstrdup(image->on_disk) : NULL;
    changes = power && changes > 0 ? (size_t)random() % (changes + 1) : changes;
    for (i = 0; changes > 0; i++)
        if (is_in(from_dir, name_changes[i].from)) {
            change_name(&name_changes[i]);
            changes--;
        }
    for (image = images; image != NULL; image = image->next)
        if (is_in(from_dir, image->on_disk))
            write_out(to_dir, image, power ? (int)(random() % 4) : 1);
    for (image = images, i = 0; image != NULL; image = image->next, i++) {
        free(image->on_disk);
        image->on_disk = names[i];
    }
    free(names);
}

void crash_vfs_cut(const char *from_dir, const char *to_dir)
{
    pthread_mutex_lock(&mutex);
    cut(from_dir, to_dir, true);
    pthread_mutex_unlock(&mutex);
}

void crash_vfs_kill(const char *from_dir, const char *to_dir)
{
    pthread_mutex_lock(&mutex);
    cut(from_dir, to_dir, false);
    pthread_mutex_unlock(&mutex);
}

void crash_vfs_power_off(const char *from_dir, const char *to_dir)
{
    pthread_mutex_lock(&mutex);
    cut(from_dir, to_dir, true);
}

void crash_vfs_lie(bool lying)
{
    pthread_mutex_lock(&mutex);
    lies = lying;
    pthread_mutex_unlock(&mutex);
}

void crash_vfs_adopt(const char *dir)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);

    check(n >= 0);
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < n; i++) {
        char *path = xasprintf("%s/%s", dir, entries[i]->d_name);

        if (entries[i]->d_name[0] != '.' && strstr(entries[i]->d_name, "-shm") == NULL)
            find_image(path);
        free(path);
        free(entries[i]);
    }
    pthread_mutex_unlock(&mutex);
    free(entries);
}

static void free_image(struct image *i)
{
    forget_pending(i);
    buf_fini(&i->durable);
    free(i->path);
    free(i->on_disk);
    free(i);
}

void crash_vfs_forget_dir(const char *dir)
{
    struct image **at = &images;

    pthread_mutex_lock(&mutex);
    settle_names(dir, 0);
    while (*at != NULL) {
        struct image *i = *at;

        if (!is_in(dir, i->path) && !is_in(dir, i->on_disk) &&
            (i->path != NULL || i->on_disk != NULL)) {
            at = &i->next;
            continue;
        }
        *at = i->next;
        free_image(i);
    }
    pthread_mutex_unlock(&mutex);
}

void crash_vfs_forget(void)
{
    pthread_mutex_lock(&mutex);
    while (images != NULL) {
        struct image *i = images;

        images = i->next;
        free_image(i);
    }
    while (n_name_changes > 0) {
        free(name_changes[--n_name_changes].from);
        free(name_changes[n_name_changes].to);
    }
    pthread_mutex_unlock(&mutex);
}

/* ---- Faults -----------------------------------------------------------------------------------*/

void crash_vfs_fail(unsigned n, int rc)
{
    pthread_mutex_lock(&mutex);
    fail_in = n;
    fail_rc = rc;
    pthread_mutex_unlock(&mutex);
}

unsigned long crash_vfs_operations(void)
{
    return operations;
}

unsigned long crash_vfs_syncs(void)
{
    return syncs;
}

void crash_vfs_watch(void (*fn)(const char *path))
{
    watcher = fn;
}

static void tell(const char *path)
{
    if (watcher != NULL && path != NULL)
        watcher(path);
}

/* Call it with the mutex held. */
static int next_operation(void)
{
    operations++;
    if (fail_in == 0)
        return SQLITE_OK;
    if (fail_in > 1) {
        fail_in--;
        return SQLITE_OK;
    }
    return fail_rc;
}

/* ---- Files ------------------------------------------------------------------------------------*/

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct crash_file *)f)->real;
}

static int on_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int on_read(sqlite3_file *f, void *out, int len, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), out, len, at);
}

static int on_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 at)
{
    struct image *i = ((struct crash_file *)f)->image;
    int rc;

    if (i != NULL)
        tell(i->path);
    pthread_mutex_lock(&mutex);
    rc = next_operation();
    if (rc == SQLITE_OK)
        rc = real_of(f)->pMethods->xWrite(real_of(f), data, len, at);
    if (rc == SQLITE_OK && i != NULL)
        add_pending(i, (uint64_t)at, data, (size_t)len);
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct image *i = ((struct crash_file *)f)->image;
    int rc;

    if (i != NULL)
        tell(i->path);
    pthread_mutex_lock(&mutex);
    rc = next_operation();
    if (rc == SQLITE_OK)
        rc = real_of(f)->pMethods->xTruncate(real_of(f), size);
    if (rc == SQLITE_OK && i != NULL)
        add_pending(i, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int on_sync(sqlite3_file *f, int flags BASE_UNUSED)
{
    struct image *i = ((struct crash_file *)f)->image;
    int rc;

    if (i != NULL)
        tell(i->path);
    pthread_mutex_lock(&mutex);
    rc = next_operation();
    syncs++;
    if (rc == SQLITE_OK && i != NULL)
        sync_image(i);
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int on_file_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), out);
}

static int on_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int on_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int on_check_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int on_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int on_sector_size(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int on_characteristics(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int on_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int on_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void on_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int on_shm_unmap(sqlite3_file *f, int delete_flag)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), delete_flag);
}

/* ---- Without SQLite ---------------------------------------------------------------------------*/

void crash_vfs_written(const char *path, uint64_t at, const void *data, size_t len)
{
    tell(path);
    pthread_mutex_lock(&mutex);
    add_pending(find_image(path), at, data, len);
    pthread_mutex_unlock(&mutex);
}

void crash_vfs_synced(const char *path)
{
    struct image *i;

    tell(path);
    pthread_mutex_lock(&mutex);
    for (i = images; i != NULL; i = i->next)
        if (i->path != NULL && strcmp(i->path, path) == 0)
            sync_image(i);
    if (!lies)
        settle_names(path, SIZE_MAX);
    pthread_mutex_unlock(&mutex);
}

static void note_change(const char *from, const char *to)
{
    name_changes = xrealloc(name_changes, (n_name_changes + 1) * sizeof *name_changes);
    name_changes[n_name_changes++] =
        (struct name_change){xstrdup(from), to != NULL ? xstrdup(to) : NULL};
}

static void rename_image(const char *from, const char *to)
{
    struct image *moved = NULL;

    for (struct image *i = images; i != NULL; i = i->next) {
        if (i->path == NULL)
            continue;
        if (strcmp(i->path, from) == 0) {
            moved = i;
        } else if (to != NULL && strcmp(i->path, to) == 0) {
            free(i->path);
            i->path = NULL;
        }
    }
    if (moved == NULL)
        return;
    free(moved->path);
    moved->path = to != NULL ? xstrdup(to) : NULL;
}

void crash_vfs_renamed(const char *from, const char *to)
{
    tell(from);
    pthread_mutex_lock(&mutex);
    rename_image(from, to);
    note_change(from, to);
    pthread_mutex_unlock(&mutex);
}

void crash_vfs_removed(const char *path)
{
    tell(path);
    pthread_mutex_lock(&mutex);
    rename_image(path, NULL);
    note_change(path, NULL);
    pthread_mutex_unlock(&mutex);
}

static const sqlite3_io_methods methods = {
    2,
    on_close,
    on_read,
    on_write,
    on_truncate,
    on_sync,
    on_file_size,
    on_lock,
    on_unlock,
    on_check_reserved,
    on_control,
    on_sector_size,
    on_characteristics,
    on_shm_map,
    on_shm_lock,
    on_shm_barrier,
    on_shm_unmap,
    NULL,
    NULL,
};

static int on_open(sqlite3_vfs *v BASE_UNUSED, const char *name, sqlite3_file *file, int flags,
                   int *out_flags)
{
    struct crash_file *f = (struct crash_file *)file;
    int rc;

    f->real = (sqlite3_file *)(void *)(f + 1);
    f->image = NULL;
    rc = real_vfs->xOpen(real_vfs, name, f->real, flags, out_flags);
    f->base.pMethods = rc == SQLITE_OK ? &methods : NULL;
    if (rc == SQLITE_OK && name != NULL) {
        pthread_mutex_lock(&mutex);
        f->image = find_image(name);
        pthread_mutex_unlock(&mutex);
    }
    return rc;
}

/* A deletion is durable immediately: this is the harder case for later operations. */
static int on_delete(sqlite3_vfs *v BASE_UNUSED, const char *name, int sync_dir)
{
    struct image *i;

    tell(name);
    pthread_mutex_lock(&mutex);
    i = find_image(name);
    forget_pending(i);
    i->durable.len = 0;
    pthread_mutex_unlock(&mutex);
    return real_vfs->xDelete(real_vfs, name, sync_dir);
}

static int on_randomness(sqlite3_vfs *v BASE_UNUSED, int len, char *out)
{
    for (int i = 0; i < len; i++)
        out[i] = (char)random();
    return len;
}

void crash_vfs_on(void)
{
    if (real_vfs == NULL) {
        real_vfs = sqlite3_vfs_find(NULL);
        vfs = *real_vfs;
        vfs.pNext = NULL;
        vfs.zName = "crash";
        vfs.szOsFile = (int)sizeof(struct crash_file) + real_vfs->szOsFile;
        vfs.xOpen = on_open;
        vfs.xDelete = on_delete;
        vfs.xRandomness = on_randomness;
    }
    check(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

void crash_vfs_off(void)
{
    check(sqlite3_vfs_register(real_vfs, 1) == SQLITE_OK);
}
