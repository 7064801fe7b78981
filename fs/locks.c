#include "fs/locks.h"

#include <stdlib.h>

#include "fs/state.h"

struct told {
    struct mail mail;
    struct fs *fs;
    uint64_t number;
    uint64_t fence;
};

static void post(struct fs *fs, uint64_t number, uint64_t fence, mail_fn deliver)
{
    struct told *told = xcalloc(1, sizeof(*told));

    told->fs = fs;
    told->number = number;
    told->fence = fence;
    mailbox_post(&fs->mailbox, &told->mail, deliver);
}

static void on_session(struct mail *mail)
{
    struct told *told = CONTAINER_OF(mail, struct told, mail);

    told->fs->locks.session = told->number;
    free(told);
}

static void on_grant(struct mail *mail)
{
    free(CONTAINER_OF(mail, struct told, mail)); /* nobody asks for locks yet */
}

void locks_post_grant(struct fs *fs, uint64_t id, uint64_t fence)
{
    post(fs, id, fence, on_grant);
}

void locks_post_session(struct fs *fs, uint64_t session)
{
    post(fs, session, 0, on_session);
}
