/* SPDX-License-Identifier: Apache-2.0 */
/* Edges that random sequences do not reach: the limits on links, sessions and replies, deep trees,
 * and directories that change while they are read. Compared with the model (tests/lib/model.h)
 * where that is not too slow. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "proto/encode.h"
#include "store/reader.h"
#include "tests/lib/compare.h"
#include "tests/lib/gen.h"
#include "tests/lib/model.h"

struct pair {
    char *dir;
    struct store *store;
    struct store_reader *reader;
    struct model *model; /* NULL: the store alone */
    uint64_t index;
    uint64_t session;
    uint64_t seq;
    struct model_reply reply; /* of the last command, from the store */
    enum store_outcome outcome;
    struct buf why;
};

/* ---- A store, with or without a model -------------------------------------------------------- */

static void take_reply(struct pair *p, const struct store_result *got)
{
    Cfs__Reply *reply;

    p->outcome = got->outcome;
    p->reply = (struct model_reply){.status = UINT32_MAX};
    if (got->reply == NULL)
        return;
    reply = cfs__reply__unpack(NULL, got->reply_len, got->reply);
    assert_non_null(reply);
    p->reply.status = reply->status;
    p->reply.value = reply->value;
    p->reply.has_attr = reply->attr != NULL;
    if (reply->attr != NULL)
        p->reply.attr = *reply->attr;
    cfs__reply__free_unpacked(reply, NULL);
}

static void apply(struct pair *p, const struct store_entry *entry)
{
    struct store_result got;
    struct model_result want;

    p->index++;
    store_log_append(p->store, p->index, entry);
    store_apply(p->store, p->index, entry, &got);
    take_reply(p, &got);
    if (p->model == NULL)
        return;
    model_apply(p->model, p->index, entry, &want);
    if (!compare_result(p->index, &got, &want, &p->why))
        fail_msg("%.*s", (int)p->why.len, (char *)p->why.data);
    model_result_fini(&want);
}

static void send_stamped(struct pair *p, const struct stamp *stamp, const Cfs__Command *command)
{
    struct buf bytes = encode_stamped(stamp, command);
    struct store_entry entry = {1, STORE_COMMAND, bytes.data, bytes.len};

    apply(p, &entry);
    buf_fini(&bytes);
}

/* Sends the session's next command and returns its status. */
static uint32_t send_command(struct pair *p, const Cfs__Command *command)
{
    struct stamp stamp = {p->session, ++p->seq, p->seq - 1, (int64_t)p->index};

    send_stamped(p, &stamp, command);
    assert_int_equal(p->outcome, STORE_APPLIED);
    return p->reply.status;
}

static uint64_t send_open(struct pair *p, uint64_t member, uint64_t nonce)
{
    struct stamp stamp = {.time_ns = (int64_t)p->index};
    Cfs__OpenSession open = CFS__OPEN_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    open.member = member;
    open.nonce = nonce;
    command.op_case = CFS__COMMAND__OP_OPEN_SESSION;
    command.open_session = &open;
    send_stamped(p, &stamp, &command);
    return p->reply.value;
}

static void setup(struct pair *p, bool with_model)
{
    struct store_identity identity = {.member = 1, .cluster = "edges"};
    const char *tmp = getenv("TMPDIR");
    char reason[200];

    *p = (struct pair){.dir = xasprintf("%s/coordfs-edges.XXXXXX", tmp != NULL ? tmp : "/tmp")};
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(store_open(p->dir, &identity, &p->store, reason, sizeof reason), 0);
    p->reader = reader_new(p->store);
    p->model = with_model ? model_new() : NULL;
    store_begin(p->store);
    p->session = send_open(p, 1, 1);
}

static int remove_one(const char *path, const struct stat *st BASE_UNUSED, int type BASE_UNUSED,
                      struct FTW *ftw BASE_UNUSED)
{
    return remove(path);
}

static void commit(struct pair *p)
{
    store_commit(p->store, false);
    store_begin(p->store);
}

static void teardown(struct pair *p)
{
    struct gen_rng rng = gen_rng_from(1);
    char reason[300] = "";

    store_commit(p->store, false);
    if (!store_check(p->store, reason, sizeof reason))
        fail_msg("store_check: %s", reason);
    if (p->model != NULL && (!compare_tree(p->reader, p->model, &rng, &p->why) ||
                             !compare_store(p->store, p->model, &p->why)))
        fail_msg("%.*s", (int)p->why.len, (char *)p->why.data);
    reader_free(p->reader);
    store_close(p->store);
    if (p->model != NULL)
        model_free(p->model);
    nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(p->dir);
    buf_fini(&p->why);
}

/* ---- Commands in one line each --------------------------------------------------------------- */

struct text { /* a name made of a letter and a number */
    char bytes[24];
    ProtobufCBinaryData name;
};

static ProtobufCBinaryData name_of(struct text *t, char letter, uint64_t number)
{
    int len = snprintf(t->bytes, sizeof t->bytes, "%c%" PRIu64, letter, number);

    return (ProtobufCBinaryData){(size_t)len, (uint8_t *)t->bytes};
}

static uint32_t make(struct pair *p, uint64_t parent, char letter, uint64_t number, uint32_t mode)
{
    struct text t;
    Cfs__Make m = CFS__MAKE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    m.parent = parent;
    m.name = name_of(&t, letter, number);
    m.mode = mode;
    c.op_case = CFS__COMMAND__OP_MAKE;
    c.make = &m;
    return send_command(p, &c);
}

static uint64_t must_make(struct pair *p, uint64_t parent, char letter, uint64_t number,
                          uint32_t mode)
{
    assert_int_equal(make(p, parent, letter, number, mode), 0);
    return p->reply.attr.ino;
}

static uint32_t link_to(struct pair *p, uint64_t ino, uint64_t parent, char letter, uint64_t number)
{
    struct text t;
    Cfs__Link l = CFS__LINK__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    l.ino = ino;
    l.parent = parent;
    l.name = name_of(&t, letter, number);
    c.op_case = CFS__COMMAND__OP_LINK;
    c.link = &l;
    return send_command(p, &c);
}

static uint32_t unlink_name(struct pair *p, uint64_t parent, char letter, uint64_t number, bool dir)
{
    struct text t;
    Cfs__Unlink u = CFS__UNLINK__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    u.parent = parent;
    u.name = name_of(&t, letter, number);
    u.directory = dir;
    c.op_case = CFS__COMMAND__OP_UNLINK;
    c.unlink = &u;
    return send_command(p, &c);
}

struct place {
    uint64_t parent;
    char letter;
    uint64_t number;
};

static uint32_t move(struct pair *p, struct place from, struct place to, Cfs__Rename__Mode mode)
{
    struct text t1, t2;
    Cfs__Rename r = CFS__RENAME__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    r.parent = from.parent;
    r.name = name_of(&t1, from.letter, from.number);
    r.new_parent = to.parent;
    r.new_name = name_of(&t2, to.letter, to.number);
    r.mode = mode;
    c.op_case = CFS__COMMAND__OP_RENAME;
    c.rename = &r;
    return send_command(p, &c);
}

/* ---- Links ----------------------------------------------------------------------------------- */

static void test_links_to_a_file(void **state BASE_UNUSED)
{
    struct pair p;
    uint64_t ino;

    setup(&p, false);
    ino = must_make(&p, 1, 'f', 0, S_IFREG | 0644);
    for (uint64_t i = 1; i < LIMIT_LINK_MAX; i++) {
        assert_int_equal(link_to(&p, ino, 1, 'f', i), 0);
        if (i % 5000 == 0)
            commit(&p);
    }
    assert_int_equal(p.reply.attr.nlink, LIMIT_LINK_MAX);
    assert_int_equal(link_to(&p, ino, 1, 'g', 0), EMLINK);
    assert_int_equal(unlink_name(&p, 1, 'f', 77, false), 0);
    assert_int_equal(link_to(&p, ino, 1, 'g', 0), 0);
    assert_int_equal(link_to(&p, ino, 1, 'g', 1), EMLINK);
    teardown(&p);
}

static void test_subdirectories_of_a_directory(void **state BASE_UNUSED)
{
    struct pair p;
    uint64_t full;

    setup(&p, false);
    full = must_make(&p, 1, 'd', 0, S_IFDIR | 0755);
    must_make(&p, 1, 'd', 1, S_IFDIR | 0755);
    for (uint64_t i = 0; i < LIMIT_LINK_MAX - 2; i++) {
        assert_int_equal(make(&p, full, 's', i, S_IFDIR | 0755), 0);
        if (i % 5000 == 0)
            commit(&p);
    }
    assert_int_equal(make(&p, full, 't', 0, S_IFDIR | 0755), EMLINK);
    /* the new file adds no link to the directory */
    assert_int_equal(make(&p, full, 'f', 0, S_IFREG | 0644), 0);
    assert_int_equal(move(&p, (struct place){1, 'd', 1}, (struct place){full, 't', 0}, 0), EMLINK);
    assert_int_equal(move(&p, (struct place){1, 'd', 1}, (struct place){full, 'f', 0}, 2), EMLINK);
    assert_int_equal(move(&p, (struct place){full, 'f', 0}, (struct place){1, 'd', 1}, 2), EMLINK);
    assert_int_equal(move(&p, (struct place){full, 's', 1}, (struct place){full, 't', 0}, 0), 0);
    assert_int_equal(move(&p, (struct place){full, 's', 2}, (struct place){full, 'f', 0}, 2), 0);
    assert_int_equal(move(&p, (struct place){1, 'd', 1}, (struct place){full, 's', 3}, 0), 0);
    assert_int_equal(make(&p, full, 'u', 0, S_IFDIR | 0755), EMLINK);
    teardown(&p);
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static void send_noop(struct pair *p, uint64_t session, uint64_t seq, uint64_t acked)
{
    struct stamp stamp = {session, seq, acked, 5};
    Cfs__Noop noop = CFS__NOOP__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    command.op_case = CFS__COMMAND__OP_NOOP;
    command.noop = &noop;
    send_stamped(p, &stamp, &command);
}

/* More members than sessions may be open: the session that was unused longest ends. */
static void test_too_many_sessions(void **state BASE_UNUSED)
{
    enum { MEMBERS = LIMIT_SESSIONS_MAX + 50 };
    uint64_t *ids = xcalloc(MEMBERS + 1, sizeof *ids);
    struct gen_rng rng = gen_rng_from(7);
    unsigned lost = 0;
    struct pair p;

    setup(&p, true);
    for (uint64_t member = 2; member <= LIMIT_SESSIONS_MAX; member++)
        ids[member] = send_open(&p, member, 1000 + member);
    for (uint64_t member = 2; member <= LIMIT_SESSIONS_MAX; member++)
        if (gen_chance(&rng, 9, 10))
            send_noop(&p, ids[member], 1, 0);
    for (uint64_t member = LIMIT_SESSIONS_MAX + 1; member <= MEMBERS; member++) {
        ids[member] = send_open(&p, member, 1000 + member);
        assert_int_equal(p.outcome, STORE_APPLIED);
    }
    for (uint64_t member = 2; member <= MEMBERS; member++) {
        send_noop(&p, ids[member], 2, 1); /* after a gap, in order, or without a session */
        lost += p.outcome == STORE_NO_SESSION;
    }
    assert_int_equal(lost, 49); /* 49 of these, and the session of setup */
    teardown(&p);
    free(ids);
}

/* A session that never acknowledges replies keeps LIMIT_SESSION_WINDOW of them and no more. */
static void test_window_of_replies(void **state BASE_UNUSED)
{
    struct pair p;

    setup(&p, true);
    for (uint64_t seq = 1; seq <= LIMIT_SESSION_WINDOW + 3; seq++) {
        send_noop(&p, p.session, seq, 0);
        assert_int_equal(p.outcome, STORE_APPLIED);
    }
    for (uint64_t seq = 1; seq <= LIMIT_SESSION_WINDOW + 3; seq++) {
        send_noop(&p, p.session, seq, 0);
        assert_int_equal(p.outcome, STORE_DUPLICATE);
        assert_int_equal(p.reply.status, seq <= 3 ? UINT32_MAX : 0);
    }
    send_noop(&p, p.session, LIMIT_SESSION_WINDOW + 5, 0);
    assert_int_equal(p.outcome, STORE_GAP);
    teardown(&p);
}

/* ---- Depth ----------------------------------------------------------------------------------- */

static void test_deep_tree(void **state BASE_UNUSED)
{
    enum { DEPTH = 1500 };
    uint64_t dirs[DEPTH + 1] = {1};
    char path[64];
    struct pair p;

    setup(&p, true);
    for (unsigned i = 1; i <= DEPTH; i++)
        dirs[i] = must_make(&p, dirs[i - 1], 'd', i, S_IFDIR | 0755);
    must_make(&p, dirs[DEPTH], 'f', 0, S_IFREG | 0644);
    assert_int_equal(move(&p, (struct place){1, 'd', 1}, (struct place){dirs[DEPTH], 'x', 0}, 0),
                     EINVAL);
    assert_int_equal(move(&p, (struct place){dirs[DEPTH], 'f', 0}, (struct place){1, 'd', 1}, 0),
                     ENOTEMPTY);
    assert_int_equal(move(&p, (struct place){dirs[DEPTH], 'f', 0}, (struct place){1, 'd', 1}, 2),
                     EINVAL);
    assert_int_equal(
        move(&p, (struct place){dirs[DEPTH / 2], 'd', DEPTH / 2 + 1}, (struct place){1, 'm', 0}, 0),
        0);
    assert_int_equal(move(&p, (struct place){1, 'd', 1}, (struct place){dirs[DEPTH], 'x', 0}, 0),
                     0); /* the upper half into the lower */
    commit(&p);
    assert_true(reader_path(p.reader, dirs[DEPTH / 2], path, sizeof path) < 0); /* too long */
    assert_int_equal(unlink_name(&p, 1, 'm', 0, true), ENOTEMPTY);
    teardown(&p);
}

/* ---- Reading a directory that changes -------------------------------------------------------- */

#define FILES 300

struct reading {
    uint64_t cookie;
    unsigned left; /* to be read in this step */
    unsigned seen[FILES * 4 + 10];
    bool ended;
};

static bool on_entry(void *arg, const struct reader_entry *entry)
{
    struct reading *r = arg;

    assert_true(entry->cookie > r->cookie);
    r->cookie = entry->cookie;
    assert_true(entry->ino < ARRAY_LEN(r->seen));
    r->seen[entry->ino]++;
    r->ended = false;
    return --r->left > 0;
}

static void read_some(struct pair *p, struct reading *r, unsigned count, uint64_t dir)
{
    r->left = count;
    r->ended = true;
    assert_int_equal(reader_readdir(p->reader, dir, r->cookie, false, on_entry, r), 0);
    r->ended = r->ended || r->left > 0;
}

/* Files below STAY are only renamed within the directory; others come and go. */
#define STAY (FILES / 2)

static void change_something(struct pair *p, struct gen_rng *rng, uint64_t dir, unsigned step,
                             uint64_t names[FILES])
{
    unsigned file = (unsigned)gen_below(rng, FILES);
    struct place at = {dir, 'n', names[file]};

    if (file < STAY && gen_chance(rng, 1, 2)) {
        names[file] = 10000 + step;
        assert_int_equal(move(p, at, (struct place){dir, 'n', names[file]}, 0), 0);
    } else if (file >= STAY && names[file] != 0) {
        assert_int_equal(unlink_name(p, dir, 'n', names[file], false), 0);
        names[file] = 0;
    } else {
        make(p, dir, 'x', step, S_IFREG | 0644);
    }
}

/* Entries are added, removed and renamed between two calls: a file that stays is seen exactly once.
 */
static void test_readdir_while_it_changes(void **state BASE_UNUSED)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct gen_rng rng = gen_rng_from(seed);
        struct reading r = {0};
        uint64_t names[FILES], inos[FILES], dir;
        struct pair p;

        setup(&p, true);
        dir = must_make(&p, 1, 'd', 0, S_IFDIR | 0755);
        for (unsigned i = 0; i < FILES; i++) {
            names[i] = i + 1;
            inos[i] = must_make(&p, dir, 'n', names[i], S_IFREG | 0644);
        }
        for (unsigned step = 0; !r.ended && step < 1000; step++) {
            commit(&p);
            read_some(&p, &r, 1 + (unsigned)gen_below(&rng, 5), dir);
            change_something(&p, &rng, dir, step, names);
        }
        assert_true(r.ended);
        for (unsigned i = 0; i < FILES; i++) {
            if (i < STAY)
                assert_int_equal(r.seen[inos[i]], 1);
            assert_true(r.seen[inos[i]] <= 1);
        }
        teardown(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links_to_a_file),
        cmocka_unit_test(test_subdirectories_of_a_directory),
        cmocka_unit_test(test_too_many_sessions),
        cmocka_unit_test(test_window_of_replies),
        cmocka_unit_test(test_deep_tree),
        cmocka_unit_test(test_readdir_while_it_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
