/* SPDX-License-Identifier: Apache-2.0 */
/* store/apply.c: which entries are accepted, and that the state depends only on the entries. */
#include "proto/encode.h"
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/limits.h"

#define ROOT 1

static struct kit kit;
static struct kit *const k = &kit;

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

/* ---- Bytes that are not a command ------------------------------------------------------------ */

/* True if applying the entry kills the process. Runs in a child, which commits nothing. */
static bool dies(enum store_entry_type type, const void *data, size_t len)
{
    struct store_entry entry = {k->term, type, data, len};
    struct store_result result;
    uint64_t index = store_applied(k->store) + 1;
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        store_begin(k->store);
        store_log_append(k->store, index, &entry);
        store_apply(k->store, index, &entry, &result);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static struct buf next_command(Cfs__Command *c)
{
    struct stamp stamp = {k->session, k->seq + 1, k->seq, 1};

    return encode_stamped(&stamp, c);
}

static void test_undecodable(void **state)
{
    Cfs__Noop noop = CFS__NOOP__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    struct buf b;
    /* Field 1 (noop), wire type 2, length 5, but no bytes follow. */
    uint8_t cut[] = {0x0a, 5};
    uint8_t future[] = {0xa2, 0x06, 0};         /* field 100: a command of a newer version */
    uint8_t field[] = {0x0a, 3, 0xa0, 0x06, 1}; /* a noop with a field 100 */

    (void)state;
    c.op_case = CFS__COMMAND__OP_NOOP;
    c.noop = &noop;
    b = next_command(&c);
    assert_true(store_acceptable(b.data, b.len));
    assert_false(store_acceptable(b.data, STAMP_SIZE - 1));
    assert_false(store_acceptable(b.data, STAMP_SIZE));
    assert_false(store_acceptable(b.data, 0));
    assert_true(dies(STORE_COMMAND, b.data, STAMP_SIZE - 1));
    assert_true(dies(STORE_COMMAND, b.data, STAMP_SIZE)); /* not a command */
    assert_false(dies(STORE_COMMAND, b.data, b.len));
    b.len = STAMP_SIZE;
    buf_append(&b, cut, sizeof cut);
    assert_false(store_acceptable(b.data, b.len));
    assert_true(dies(STORE_COMMAND, b.data, b.len));
    b.len = STAMP_SIZE;
    buf_append(&b, future, sizeof future);
    assert_false(store_acceptable(b.data, b.len));
    assert_true(dies(STORE_COMMAND, b.data, b.len));
    b.len = STAMP_SIZE;
    buf_append(&b, field, sizeof field);
    assert_false(store_acceptable(b.data, b.len));
    assert_true(dies(STORE_COMMAND, b.data, b.len));
    b.data[0] = 9; /* another version of the stamp */
    assert_true(dies(STORE_COMMAND, b.data, b.len));
    b.data[0] = 1;
    assert_true(dies((enum store_entry_type)7, b.data, b.len));
    buf_fini(&b);
}

static void test_too_much_to_decode(void **state)
{
    struct stamp stamp = {k->session, 1, 0, 0};
    struct buf b = BUF_EMPTY;
    size_t n = 500000;
    uint8_t head[] = {0x42, 0, 0, 0}; /* write, and its length in three bytes */
    uint8_t empty[] = {0x22, 0};      /* an empty extent */

    (void)state;
    buf_reserve(&b, STAMP_SIZE);
    stamp_encode(&stamp, b.data);
    b.len = STAMP_SIZE;
    head[1] = (uint8_t)(0x80 | ((2 * n) & 0x7f));
    head[2] = (uint8_t)(0x80 | ((2 * n) >> 7 & 0x7f));
    head[3] = (uint8_t)((2 * n) >> 14);
    buf_append(&b, head, sizeof head);
    for (size_t i = 0; i < n; i++)
        buf_append(&b, empty, sizeof empty);
    assert_true(b.len < LIMIT_COMMAND_MAX);
    assert_false(store_acceptable(b.data, b.len));
    b.len = STAMP_SIZE + sizeof head + 2 * n;
    buf_reserve(&b, LIMIT_COMMAND_MAX);
    memset(b.data + b.len, 0, LIMIT_COMMAND_MAX + 1 - b.len);
    assert_false(store_acceptable(b.data, LIMIT_COMMAND_MAX + 1));
    buf_fini(&b);
}

static void test_internal_entries(void **state)
{
    struct store_raft_state raft;

    (void)state;
    kit_entry(k, STORE_BARRIER, NULL, 0);
    assert_int_equal(k->outcome, STORE_INTERNAL);
    assert_false(k->has_reply);
    kit_entry(k, STORE_CHANGE, "config one", 10);
    assert_int_equal(k->outcome, STORE_INTERNAL);
    kit_entry(k, STORE_BARRIER, NULL, 0);
    kit_close(k);
    kit_open(k);
    store_raft_state(k->store, &raft);
    assert_int_equal(raft.applied, 4);
    assert_int_equal(raft.config_index, 3);
    assert_int_equal(raft.config.len, 10);
    assert_memory_equal(raft.config.data, "config one", 10);
    buf_fini(&raft.config);
}

/* ---- Determinism ------------------------------------------------------------------------------*/

#define NAMES 12

static uint64_t any_ino(void)
{
    return 1 + (uint64_t)random() % 40;
}

static void any_command(void)
{
    char name[2] = {(char)('a' + random() % NAMES), 0};
    char other[2] = {(char)('a' + random() % NAMES), 0};
    static uint8_t data[40000];
    uint64_t ino = any_ino();

    memset(data, name[0], sizeof data);
    switch (random() % 12) {
    case 0:
    case 1:
        kit_make(k, ino, name, S_IFREG | 0644);
        break;
    case 2:
    case 3:
        kit_make(k, ino, name, S_IFDIR | 0755);
        break;
    case 4:
        kit_link(k, ino, any_ino(), name);
        break;
    case 5:
        kit_unlink(k, any_ino(), name);
        break;
    case 6:
        kit_rmdir(k, any_ino(), name);
        break;
    case 7:
        kit_rename(k, any_ino(), name, any_ino(), other, (Cfs__Rename__Mode)(random() % 3));
        break;
    case 8:
        kit_write(k, ino, (uint64_t)random() % 50000, data, (size_t)random() % sizeof data);
        break;
    case 9:
        kit_truncate(k, ino, (uint64_t)random() % 90000);
        break;
    case 10:
        kit_setxattr(k, ino, name, data, (size_t)random() % 100, CFS__SET_XATTR__MODE__ANY);
        break;
    default:
        kit_reap(k, ino);
        break;
    }
}

/* Applies the same entries to another member, with restarts, with several entries per transaction,
 * and with occasional repetitions of the sessions' entries. */
static void follow_with_trouble(struct kit *other)
{
    while (other->n_log < k->n_log) {
        size_t batch = 1 + (size_t)random() % 30;

        store_begin(other->store);
        for (size_t i = 0; i < batch && other->n_log < k->n_log; i++) {
            const struct kit_entry *e = &k->log[other->n_log++];
            struct store_entry entry = {e->term, e->type, e->data.data, e->data.len};
            struct store_result result;

            store_log_append(other->store, other->n_log, &entry);
            store_apply(other->store, other->n_log, &entry, &result);
        }
        store_commit(other->store, random() % 2);
        if (random() % 8 == 0) {
            kit_close(other);
            kit_open(other);
        }
    }
    other->n_log = 0; /* k has the log */
}

static void test_determinism(void **state)
{
    static struct kit other;
    unsigned seed = (unsigned)time(NULL);

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 600; i++) {
        any_command();
        if (random() % 10 == 0) { /* repeats an old entry */
            size_t at = (size_t)random() % k->n_log;
            struct buf again = buf_copy(k->log[at].data.data, k->log[at].data.len);

            kit_entry(k, k->log[at].type, again.data, again.len);
            assert_true(k->outcome == STORE_DUPLICATE || k->outcome == STORE_INTERNAL);
            buf_fini(&again);
        }
        if (random() % 40 == 0)
            k->term++;
        if (random() % 50 == 0)
            kit_entry(k, STORE_BARRIER, NULL, 0);
        if (random() % 50 == 0)
            kit_entry(k, STORE_CHANGE, &i, sizeof i);
        if (i % 100 == 0)
            kit_check(k);
    }
    kit_empty(&other);
    follow_with_trouble(&other);
    kit_assert_hash(k, &other);
    kit_fini(&other);
}

/* A command that a session has applied has no effect when it is repeated. */
static void test_replay_changes_nothing_else(void **state)
{
    uint64_t dir = kit_dir(k, ROOT, "d");
    size_t n;

    (void)state;
    assert_int_equal(kit_rename(k, ROOT, "d", ROOT, "e", CFS__RENAME__MODE__REPLACE), 0);
    kit_dir(k, ROOT, "d");
    n = k->n_log;
    for (size_t i = 1; i < n; i++) {
        struct buf again = buf_copy(k->log[i].data.data, k->log[i].data.len);

        kit_entry(k, STORE_COMMAND, again.data, again.len);
        assert_int_equal(k->outcome, STORE_DUPLICATE);
        buf_fini(&again);
    }
    assert_int_equal(kit_find(k, ROOT, "e"), dir);
    assert_int_equal(kit_stat(k, ROOT).size, 2);
}

/* Known hashes: if one changes, members of two versions would diverge. */
static void test_hash_is_frozen(void **state)
{
    struct store_hash h;
    uint64_t file;

    (void)state;
    h = store_state_hash(k->store);
    assert_true(h.high == 0x93e47b26f5f4c562 && h.low == 0x1836423cd1117073);
    file = kit_file(k, ROOT, "f");
    kit_dir(k, ROOT, "d");
    kit_symlink(k, ROOT, "l", "f");
    kit_write(k, file, 5, "data", 4);
    kit_setxattr(k, file, "user.x", "y", 1, CFS__SET_XATTR__MODE__ANY);
    kit_file(k, ROOT, "g");
    kit_unlink(k, ROOT, "g");
    kit_entry(k, STORE_CHANGE, "members", 7);
    h = store_state_hash(k->store);
    assert_true(h.high == 0x41770a2cc5f514a8 && h.low == 0xb40eb6e33c78e480);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_undecodable), T(test_too_much_to_decode),          T(test_internal_entries),
        T(test_determinism), T(test_replay_changes_nothing_else), T(test_hash_is_frozen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
