/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/deliver.h"

#include <stdlib.h>

#include "base/clock.h"
#include "fs/cache/invalidate.h"
#include "fs/lock/lock_request.h"
#include "fs/state.h"

/* ---- Changes of the tree --------------------------------------------------------------------- */

struct changes {
    struct mail mail;
    struct fs *fs;
    bool own;
    bool replaced;
    uint64_t posted_ms;
    size_t n;
    Cfs__Change **list;
};

static void on_changes(struct mail *mail)
{
    struct changes *m = CONTAINER_OF(mail, struct changes, mail);
    struct fs *fs = m->fs;

    fs->lanes.changed_ms = m->posted_ms;
    if (m->replaced) {
        invalidate_forget_all(fs);
        lock_requests_replaced(fs);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (m->own)
            open_lifetimes_note(fs, m->list[i]);
        invalidate_change(fs, m->list[i], m->own);
        cfs__change__free_unpacked(m->list[i], NULL);
    }
    fs->lanes.changed_ms = 0;
    vdir_news(fs);
    free(m->list);
    free(m);
    fs->invalidate_seen++;
}

static void post(struct fs *fs, struct changes *m)
{
    m->fs = fs;
    m->posted_ms = clock_boot_ms();
    atomic_fetch_add(&fs->invalidate_posted, 1);
    mailbox_post(&fs->mailbox, &m->mail, on_changes);
}

void deliver_changes(struct fs *fs, Cfs__Change **changes, size_t n, bool own)
{
    struct changes *m = xcalloc(1, sizeof(*m));

    m->own = own;
    m->n = n;
    m->list = changes;
    post(fs, m);
}

void deliver_replaced(struct fs *fs)
{
    struct changes *m = xcalloc(1, sizeof(*m));

    m->replaced = true;
    post(fs, m);
}

/* ---- The host's session ---------------------------------------------------------------------- */

struct new_session {
    struct mail mail;
    struct fs *fs;
    uint64_t session;
};

static void on_session(struct mail *mail)
{
    struct new_session *m = CONTAINER_OF(mail, struct new_session, mail);

    if (m->session != m->fs->locks.session)
        open_lifetimes_forget(m->fs); /* they ended with their session */
    locks_set_session(m->fs, m->session);
    free(m);
}

void deliver_session(struct fs *fs, uint64_t session)
{
    struct new_session *m = xcalloc(1, sizeof(*m));

    m->fs = fs;
    m->session = session;
    mailbox_post(&fs->mailbox, &m->mail, on_session);
}

/* ---- A remount ----------------------------------------------------------------------------------
 */

struct new_options {
    struct mail mail;
    struct fs *fs;
    unsigned timeout_ms;
    enum fs_lostlock lostlock;
};

static void on_options(struct mail *mail)
{
    struct new_options *m = CONTAINER_OF(mail, struct new_options, mail);
    struct fs_options *o = &m->fs->options;

    if (o->mirror_ms == mirror_patience(o->timeout_ms)) { /* no test has set it */
        o->mirror_ms = mirror_patience(m->timeout_ms);
        atomic_store(&m->fs->mirror.patience_ms, o->mirror_ms);
    }
    o->timeout_ms = m->timeout_ms;
    o->lostlock = m->lostlock;
    free(m);
}

void deliver_options(struct fs *fs, unsigned timeout_ms, enum fs_lostlock lostlock)
{
    struct new_options *m = xcalloc(1, sizeof(*m));

    m->fs = fs;
    m->timeout_ms = timeout_ms;
    m->lostlock = lostlock;
    mailbox_post(&fs->mailbox, &m->mail, on_options);
}
