/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A PASSIVE checkpoint copies as many pages as it can without disturbing anybody. If it copies all,
 * and no reader still reads from the log, then the writer starts the log over with its next commit.
 * Under a steady load this never happens, because new pages arrive during the checkpoint. So when
 * the log has become large and few pages are left, the checkpoint stops the writer for a moment
 * (through the writer's mutex, because SQLite's own way of waiting is to sleep), copies the rest,
 * and starts the log over. It also waits for readers, but only briefly, because most are short. A
 * long reader, such as the making of a snapshot, leaves many pages uncopied; the checkpoint then
 * waits for its end, and the log grows meanwhile.
 *
 * A checkpoint that fails (disk full) is tried again when the log has grown further. Only disk
 * space depends on it. */
#include "store/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "store/background.h"
#include "store/db.h"

#define STEP_PAGES     1000u  /* checkpoint after this many new pages (4 MiB) */
#define RESTART_PAGES  8000u  /* above: force the log to start over (32 MiB) */
#define TRUNCATE_PAGES 64000u /* above: also give the file's space back (256 MiB) */
#define SMALL_PAGES    500    /* at most this many are copied while the writer waits */
#define PASSIVE_ROUNDS 4
#define BUSY_US        200 /* wait for readers in steps of this length, */
#define BUSY_STEPS     25  /* at most this many */

struct checkpoint {
    struct db db;
    pthread_mutex_t *writer;
    struct background thread; /* not started if there is a plan (store/background.h) */
    unsigned scale;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop;
    unsigned wanted; /* pages in the log at the last request; 0: nothing to do */

    unsigned next; /* loop thread: make the next request at this many pages */
    unsigned last; /* loop thread: pages at the last call */
};

static int busy(void *arg BASE_UNUSED, int times)
{
    if (times >= BUSY_STEPS)
        return 0;
    usleep(BUSY_US);
    return 1;
}

struct progress {
    int rc;
    int pages;  /* pages in the log */
    int copied; /* pages of these that are in the database file */
};

static struct progress run(struct checkpoint *c, int mode)
{
    struct progress p = {0};

    p.rc = sqlite3_wal_checkpoint_v2(c->db.conn, "main", mode, &p.pages, &p.copied);
    if (p.rc != SQLITE_OK && p.rc != SQLITE_BUSY)
        log_warn("cannot checkpoint the database: %s", sqlite3_errmsg(c->db.conn));
    return p;
}

static void start_over(struct checkpoint *c, int pages)
{
    int mode = pages > (int)(TRUNCATE_PAGES / c->scale) ? SQLITE_CHECKPOINT_TRUNCATE
                                                        : SQLITE_CHECKPOINT_RESTART;

    pthread_mutex_lock(c->writer);
    run(c, mode);
    pthread_mutex_unlock(c->writer);
}

static void work(struct checkpoint *c)
{
    struct progress p = {0};

    for (int round = 0; round < PASSIVE_ROUNDS; round++) {
        p = run(c, SQLITE_CHECKPOINT_PASSIVE);
        if (p.rc != SQLITE_OK || p.pages < (int)(RESTART_PAGES / c->scale))
            return;
        if (p.pages - p.copied < SMALL_PAGES) {
            start_over(c, p.pages);
            return;
        }
    }
}

static void *loop(void *arg)
{
    struct checkpoint *c = arg;

    pthread_mutex_lock(&c->mutex);
    while (!c->stop) {
        if (c->wanted == 0) {
            pthread_cond_wait(&c->wake, &c->mutex);
            continue;
        }
        c->wanted = 0;
        pthread_mutex_unlock(&c->mutex);
        work(c);
        pthread_mutex_lock(&c->mutex);
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

int checkpoint_start(const char *path, pthread_mutex_t *writer, struct checkpoint **out,
                     char *errmsg, size_t errmsg_len)
{
    struct checkpoint *c = xcalloc(1, sizeof *c);
    int err = db_open(&c->db, path, DB_CHECKPOINT, errmsg, errmsg_len);

    if (err != 0) {
        free(c);
        return err;
    }
    sqlite3_busy_handler(c->db.conn, busy, NULL);
    c->writer = writer;
    c->scale = background_plan != NULL ? background_plan->checkpoint_scale : 1;
    c->next = STEP_PAGES / c->scale;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->wake, NULL);
    if (background_plan == NULL)
        background_start(&c->thread, loop, c, "checkpoints");
    *out = c;
    return 0;
}

void checkpoint_stop(struct checkpoint *c)
{
    pthread_mutex_lock(&c->mutex);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->mutex);
    background_join(&c->thread);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->mutex);
    db_abandon(&c->db);
    free(c);
}

void checkpoint_notify(struct checkpoint *c, unsigned pages)
{
    if (pages < c->last)
        c->next = STEP_PAGES / c->scale; /* the log was started over */
    c->last = pages;
    if (pages < c->next)
        return;
    c->next = pages + STEP_PAGES / c->scale;
    if (background_plan != NULL) {
        work(c);
        return;
    }
    pthread_mutex_lock(&c->mutex);
    c->wanted = pages;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->mutex);
}
