/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * There is one queue, in the order of submission. Its front part is numbered (seq 1, 2, 3 … of this
 * session); the rest has not been proposed yet:
 *
 *      completed | completed+1 … numbered | not numbered
 *        (gone)  | head           ^ next may be anywhere in the queue
 *
 * A *round* proposes the queue in order, beginning at the head. `next` is the next command of the
 * round; `flying` counts the commands proposed in it. Each event that may have lost proposals
 * starts a new round at the head: another leader or term, a new link to the leader, a gap that the
 * state machine reports, or no progress for retry_ms. A command that arrives twice does no harm,
 * because the state machine applies each number once and in order. An unnecessary round costs time,
 * never correctness.
 *
 * Each number belongs to one command. A proposed command keeps its number permanently. If the
 * command is given up, later rounds propose a no-op with the same number. The first of the two to
 * be applied wins; the other is a duplicate.
 *
 * The head always completes first, because outcomes are reported in log order and the state machine
 * refuses every number but the next (gap). The first outcome of an uncompleted number is therefore
 * the head's. This is check()ed: a violation means that a command may be lost or applied twice, and
 * the process must stop.
 *
 * Gaps come in runs: if 5 of 5, 6, 7, 8 is lost, each of 6, 7 and 8 reports a gap. The numbers of
 * a run ascend. A report whose number does not ascend belongs to a newer round. All other reports
 * are echoes of the gap that already started a new round.
 *
 * Only client_turn proposes. The other functions may be called from within the driver's callbacks,
 * where the driver must not be entered again. */
#include "raft/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#define uthash_fatal(msg) die("%s", msg)
#include <uthash.h>

#include "proto/limits.h"
#include "proto/stamp.h"

#define NEVER       UINT64_MAX
#define BACKOFF_MAX 8 /* without progress, retry_ms is multiplied by up to this factor */

struct command {
    TAILQ_ENTRY(command) link;
    UT_hash_handle hh;
    uint64_t ticket;
    uint64_t seq;         /* 0: not proposed yet */
    uint64_t session;     /* the only session to propose it in; 0: any */
    uint64_t deadline_ms; /* NEVER: none */
    struct buf bytes;     /* empty once abandoned */
    size_t flying;        /* bytes of its entry in this round */
    client_done done;     /* NULL: abandoned */
    void *arg;
};

TAILQ_HEAD(commands, command);

struct client {
    struct client_config config;
    struct client_env env;

    struct commands queue;
    size_t n_queue;
    struct command *by_ticket; /* commands whose done was not yet called */
    struct command *next;      /* the next to propose in this round; NULL: none */
    unsigned flying;
    size_t flying_bytes;

    uint64_t session; /* 0: none yet */
    uint64_t nonce;   /* of the session, or of the session to open */
    uint64_t open_ms; /* time of its first proposal; 0: not yet */
    uint64_t completed;
    uint64_t numbered;
    uint64_t gap_seq; /* number of the last report in a run of gaps; 0: no run */

    bool restart;   /* a new round is due */
    bool open_sent; /* the OpenSession was proposed */
    bool blocked;   /* the driver knew no leader to propose to */
    uint64_t retry_at;
    unsigned backoff;  /* 1 … BACKOFF_MAX */
    uint64_t earliest; /* lower bound of the deadlines */

    uint64_t chance;
    bool leaving; /* no new session is opened */
    bool calling; /* inside a done, where no outcome may arrive */
};

static uint64_t draw(struct client *c) /* splitmix64 */
{
    uint64_t z = c->chance += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void draw_nonce(struct client *c)
{
    do
        c->nonce = draw(c);
    while (c->nonce == 0); /* 0 means "no OpenSession" */
    c->open_ms = 0;
}

struct client *client_new(const struct client_config *config, const struct client_env *env)
{
    struct client *c = xcalloc(1, sizeof *c);

    check(config->window > 0 && config->window <= LIMIT_SESSION_WINDOW);
    check(config->retry_ms > 0);
    c->config = *config;
    c->env = *env;
    c->chance = config->seed;
    c->retry_at = NEVER;
    c->earliest = NEVER;
    c->backoff = 1;
    TAILQ_INIT(&c->queue);
    draw_nonce(c);
    return c;
}

static uint64_t now_ms(const struct client *c)
{
    return c->env.now_ms(c->env.ctx);
}

/* ---- The queue ------------------------------------------------------------------------------- */

static void command_free(struct command *cmd)
{
    buf_fini(&cmd->bytes);
    free(cmd);
}

static void unqueue(struct client *c, struct command *cmd)
{
    if (c->next == cmd)
        c->next = TAILQ_NEXT(cmd, link);
    if (cmd->flying > 0) {
        c->flying--;
        c->flying_bytes -= cmd->flying;
        cmd->flying = 0;
    }
    TAILQ_REMOVE(&c->queue, cmd, link);
    c->n_queue--;
}

/* Takes the right to call done; false if it was already taken. From now on the ticket is unknown.
 */
static bool claim(struct client *c, struct command *cmd)
{
    if (cmd->done == NULL)
        return false;
    HASH_DEL(c->by_ticket, cmd);
    return true;
}

/* The only place that calls done. */
static void call_done(struct client *c, struct command *cmd, int err, const uint8_t *reply,
                      size_t len)
{
    client_done done = cmd->done;
    bool nested = c->calling;

    cmd->done = NULL;
    c->calling = true;
    done(cmd->arg, err, reply, len);
    c->calling = nested;
}

/* Gives up a command. Returns true if it was not proposed: then it leaves the queue and belongs to
 * the caller. Otherwise it stays in the queue to keep its number. */
static bool give_up(struct client *c, struct command *cmd)
{
    if (cmd->seq == 0) {
        unqueue(c, cmd);
        return true;
    }
    buf_fini(&cmd->bytes);
    return false;
}

/* Completes commands that are no longer in the queue. */
static void complete_all(struct client *c, struct commands *list, int err)
{
    struct command *cmd;

    while ((cmd = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, cmd, link);
        if (cmd->done != NULL)
            call_done(c, cmd, err, NULL, 0);
        command_free(cmd);
    }
}

void client_submit(struct client *c, uint64_t ticket, uint64_t session, struct buf *command,
                   uint64_t deadline_ms, client_done done, void *arg)
{
    struct command *cmd = xcalloc(1, sizeof *cmd);

    check(ticket > 0 && done != NULL);
    check(STAMP_SIZE + command->len <= LIMIT_COMMAND_MAX);
    cmd->ticket = ticket;
    cmd->session = session;
    cmd->deadline_ms = deadline_ms > 0 ? deadline_ms : NEVER;
    cmd->bytes = buf_take(command);
    cmd->done = done;
    cmd->arg = arg;
    TAILQ_INSERT_TAIL(&c->queue, cmd, link);
    c->n_queue++;
    HASH_ADD(hh, c->by_ticket, ticket, sizeof cmd->ticket, cmd);
    if (c->next == NULL)
        c->next = cmd;
    c->earliest = min_u64(c->earliest, cmd->deadline_ms);
}

void client_cancel(struct client *c, uint64_t ticket)
{
    struct command *cmd;
    bool ours;

    HASH_FIND(hh, c->by_ticket, &ticket, sizeof ticket, cmd);
    if (cmd == NULL || !claim(c, cmd))
        return;
    ours = give_up(c, cmd);
    call_done(c, cmd, -EINTR, NULL, 0);
    if (ours)
        command_free(cmd);
}

void client_free(struct client *c)
{
    struct command *cmd;

    if (c == NULL)
        return;
    check(!c->calling);
    while ((cmd = TAILQ_FIRST(&c->queue)) != NULL) {
        unqueue(c, cmd);
        if (claim(c, cmd))
            call_done(c, cmd, -ESHUTDOWN, NULL, 0);
        command_free(cmd);
    }
    free(c);
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

static void new_round(struct client *c)
{
    struct command *cmd;

    for (cmd = TAILQ_FIRST(&c->queue); cmd != c->next; cmd = TAILQ_NEXT(cmd, link))
        cmd->flying = 0;
    c->next = TAILQ_FIRST(&c->queue);
#ifdef BREAK_NUMBERS
    if (c->next != NULL && TAILQ_NEXT(c->next, link) == NULL)
        c->next->seq = 0;
#endif
    c->flying = 0;
    c->flying_bytes = 0;
    c->open_sent = false;
    c->blocked = false;
    c->restart = false;
    c->retry_at = NEVER;
}

static void arm_retry(struct client *c, uint64_t now)
{
    c->retry_at = now + (uint64_t)c->config.retry_ms * c->backoff;
}

static void progress(struct client *c)
{
    c->backoff = 1;
    c->gap_seq = 0;
    if (c->flying > 0 || c->blocked)
        arm_retry(c, now_ms(c));
    else
        c->retry_at = NEVER;
}

/* The entry: a stamp and the command's bytes. */
static struct buf encode(struct client *c, uint64_t seq, const struct buf *command)
{
    struct stamp stamp = {.session = c->session, .seq = seq};
    struct buf entry = BUF_EMPTY;

    stamp.acked = seq > 0 ? c->completed : 0;
#ifdef BREAK_ACKED
    stamp.acked = seq > 0 ? seq - 1 : 0;
#endif
    stamp.time_ns = c->env.real_ns(c->env.ctx);
    buf_reserve(&entry, STAMP_SIZE + command->len);
    stamp_encode(&stamp, entry.data);
    entry.len = STAMP_SIZE;
    buf_append(&entry, command->data, command->len);
    return entry;
}

static bool offer(struct client *c, struct buf entry)
{
    if (c->env.propose(c->env.ctx, &entry))
        return true;
    buf_fini(&entry);
    c->blocked = true;
    return false;
}

static void propose_open(struct client *c)
{
    struct buf command = c->env.open_command(c->env.ctx, c->nonce);
    uint64_t now = now_ms(c);

    c->open_sent = offer(c, encode(c, 0, &command));
    if (c->open_sent && c->open_ms == 0)
        c->open_ms = now;
    buf_fini(&command);
}

static bool propose_next(struct client *c)
{
    struct command *cmd = c->next;
    uint64_t seq = cmd->seq > 0 ? cmd->seq : c->numbered + 1;
    struct buf noop = BUF_EMPTY;
    struct buf entry;
    size_t len;

    if (cmd->done == NULL)
        noop = c->env.noop_command(c->env.ctx);
    entry = encode(c, seq, cmd->done != NULL ? &cmd->bytes : &noop);
    buf_fini(&noop);
    len = entry.len;
    if (!offer(c, entry))
        return false;
    cmd->seq = seq;
    c->numbered = max_u64(c->numbered, seq);
    cmd->flying = len;
    c->flying++;
    c->flying_bytes += len;
    c->next = TAILQ_NEXT(cmd, link);
    return true;
}

/* Refuses the next command if it belongs to another session; then returns true. */
static bool refuse_next(struct client *c)
{
    struct command *cmd = c->next;

    if (cmd->session == 0 || cmd->session == c->session)
        return false;
    check(cmd->seq == 0);
    unqueue(c, cmd);
    if (claim(c, cmd))
        call_done(c, cmd, -ESTALE, NULL, 0);
    command_free(cmd);
    return true;
}

static bool has_room(const struct client *c)
{
    size_t len = STAMP_SIZE + c->next->bytes.len;

    if (c->flying == 0)
        return true; /* even if the command is larger than the window */
    return c->flying < c->config.window && c->flying_bytes + len <= c->config.window_bytes;
}

static bool can_propose(const struct client *c)
{
    if (c->blocked)
        return false;
    if (c->session == 0)
        return !c->open_sent && !c->leaving;
    return c->next != NULL && has_room(c);
}

/* `earliest` is a lower bound of the deadlines, made exact each time it is reached. A long queue is
 * therefore walked rarely. */
static void expire(struct client *c, uint64_t now)
{
    struct commands gone = TAILQ_HEAD_INITIALIZER(gone);
    struct command *cmd, *following;
    struct command **late = NULL; /* expired, but still in the queue */
    size_t n_late = 0, cap = 0;

    c->earliest = NEVER;
    for (cmd = TAILQ_FIRST(&c->queue); cmd != NULL; cmd = following) {
        following = TAILQ_NEXT(cmd, link);
        if (cmd->done == NULL)
            continue;
        if (cmd->deadline_ms > now) {
            c->earliest = min_u64(c->earliest, cmd->deadline_ms);
            continue;
        }
        claim(c, cmd);
        if (give_up(c, cmd)) {
            TAILQ_INSERT_TAIL(&gone, cmd, link);
            continue;
        }
        if (n_late == cap) {
            cap = cap > 0 ? 2 * cap : 64;
            late = xrealloc(late, cap * sizeof *late);
        }
        late[n_late++] = cmd;
    }
    /* The callbacks may submit and cancel; neither touches a claimed command. */
    for (size_t i = 0; i < n_late; i++)
        call_done(c, late[i], -ETIMEDOUT, NULL, 0);
    free(late);
    complete_all(c, &gone, -ETIMEDOUT);
}

void client_turn(struct client *c)
{
    uint64_t now = now_ms(c);

    check(!c->calling);
    if (now >= c->earliest)
        expire(c, now);
    if (now >= c->retry_at) {
        c->restart = true;
        c->backoff = c->backoff < BACKOFF_MAX ? c->backoff * 2 : BACKOFF_MAX;
    }
    if (c->restart)
        new_round(c);
    if (c->session == 0 && can_propose(c))
        propose_open(c);
    while (c->session != 0 && can_propose(c) && (refuse_next(c) || propose_next(c)))
        continue;
    if (c->retry_at == NEVER && (c->open_sent || c->flying > 0 || c->blocked))
        arm_retry(c, now);
}

uint64_t client_deadline(const struct client *c)
{
    if (c->restart || can_propose(c))
        return 0;
    return min_u64(c->earliest, c->retry_at);
}

void client_leader(struct client *c, uint64_t leader, uint64_t term BASE_UNUSED)
{
    if (leader == 0)
        return; /* no leader to propose to: wait for the next */
    c->restart = true;
    c->backoff = 1;
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

static void session_opened(struct client *c, uint64_t session)
{
    if (session == 0)
        return; /* refused (too many sessions): retried after retry_ms */
    c->session = session;
    c->open_sent = false;
    c->restart = true;
    c->backoff = 1;
    c->env.on_session(c->env.ctx, session);
}

/* The numbers of a lost session are void. Proposed commands were not applied, or their replies are
 * lost: they complete with -ESTALE. Commands that were not yet proposed go to the next session. */
static void session_lost(struct client *c)
{
    struct commands lost = TAILQ_HEAD_INITIALIZER(lost);
    struct command *cmd;

    while ((cmd = TAILQ_FIRST(&c->queue)) != NULL && cmd->seq > 0) {
        unqueue(c, cmd);
        claim(c, cmd);
        TAILQ_INSERT_TAIL(&lost, cmd, link);
    }
    c->session = 0;
    c->completed = 0;
    c->numbered = 0;
    c->gap_seq = 0;
    c->restart = true;
    c->backoff = 1;
    draw_nonce(c);
    complete_all(c, &lost, -ESTALE);
}

static void complete_head(struct client *c, uint64_t seq, const uint8_t *reply, size_t len)
{
    struct command *cmd = TAILQ_FIRST(&c->queue);

    check(cmd != NULL && cmd->seq == seq && seq == c->completed + 1);
    unqueue(c, cmd);
    c->completed = seq;
    progress(c);
    if (claim(c, cmd))
        call_done(c, cmd, 0, reply, len);
    command_free(cmd);
}

static void gap_reported(struct client *c, uint64_t seq)
{
    bool echo = c->gap_seq != 0 && seq > c->gap_seq;

    check(seq > c->completed + 1);
    c->gap_seq = seq;
    if (!echo)
        c->restart = true;
}

void client_applied(struct client *c, enum client_outcome outcome, uint64_t session, uint64_t seq,
                    uint64_t nonce, const uint8_t *reply, size_t len)
{
    check(!c->calling);
    if (nonce != 0) {
        if (nonce == c->nonce && c->session == 0)
            session_opened(c, session);
        return;
    }
    if (c->session == 0 || session != c->session)
        return;
    check(seq <= c->numbered); /* only this client numbers the session's commands */
    switch (outcome) {
    case CLIENT_APPLIED:
        complete_head(c, seq, reply, len);
        break;
    case CLIENT_DUPLICATE:
        check(seq <= c->completed);
        break;
    case CLIENT_GAP:
        gap_reported(c, seq);
        break;
    case CLIENT_NO_SESSION:
        session_lost(c);
        break;
    }
}

void client_installed(struct client *c)
{
    struct command *head;
    struct buf reply = BUF_EMPTY;
    int found;

    check(!c->calling);
    while (c->session != 0 && (head = TAILQ_FIRST(&c->queue)) != NULL && head->seq > 0) {
        found = c->env.stored_reply(c->env.ctx, c->session, head->seq, &reply);
        if (found == 0)
            break;
        if (found < 0) {
            session_lost(c);
            break;
        }
        complete_head(c, head->seq, reply.data, reply.len);
        buf_fini(&reply);
    }
    c->restart = true; /* the proposals may have been in the replaced log */
}

void client_ended(struct client *c, uint64_t session)
{
    check(!c->calling);
    if (session != 0 && session == c->session)
        session_lost(c);
}

void client_leave(struct client *c)
{
    c->leaving = true;
}

uint64_t client_session(const struct client *c)
{
    return c->session;
}

uint64_t client_opened_ms(const struct client *c)
{
    return c->open_ms;
}

size_t client_pending(const struct client *c)
{
    return c->n_queue;
}
