/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of fs/ that need no kernel: conversions, mailbox, nodes, handles … */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mailbox.h"
#include "fs/inode/handle.h"
#include "fs/inode/node.h"
#include "fs/inode/opens.h"
#include "fs/inode/rewalk.h"
#include "fs/kernel/convert.h"
#include "fs/kernel/payload.h"
#include "fs/request/lost.h"
#include "fs/writeback/extents.h"
#include "proto/limits.h"
#include "proto/stamp.h"
#include "store/store.h"

/* ---- convert --------------------------------------------------------------------------------- */

static void times_round_trip(void **state)
{
    static const int64_t cases[] = {0,
                                    1,
                                    -1,
                                    999999999,
                                    1000000000,
                                    -1000000000,
                                    -1000000001,
                                    1700000000123456789,
                                    -9000000000000000001,
                                    9000000000000000001};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct timespec t = convert_timespec(cases[i]);

        assert_in_range(t.tv_nsec, 0, 999999999);
        assert_int_equal(convert_time(&t), cases[i]);
    }
}

static void times_are_clamped(void **state)
{
    struct timespec far = {.tv_sec = INT64_MAX, .tv_nsec = 999999999};
    struct timespec old = {.tv_sec = INT64_MIN, .tv_nsec = 0};

    (void)state;
    assert_true(convert_time(&far) == INT64_MAX);
    assert_true(convert_time(&old) < -9000000000ll * 1000000000);
}

static void attributes_become_stat(void **state)
{
    Cfs__Attr attr = CFS__ATTR__INIT;
    struct stat st;

    (void)state;
    attr.ino = 1ull << 40;
    attr.mode = S_IFREG | 04755;
    attr.nlink = 3;
    attr.uid = 0xfffffffe;
    attr.gid = 7;
    attr.size = 1ull << 33;
    attr.blocks = 99;
    attr.mtime_ns = -1;
    convert_stat(&attr, &st);
    assert_true(st.st_ino == 1ull << 40 && st.st_mode == (S_IFREG | 04755) && st.st_nlink == 3);
    assert_true(st.st_uid == 0xfffffffe && st.st_gid == 7 && st.st_size == 1ll << 33);
    assert_true(st.st_blocks == 99 && st.st_mtim.tv_sec == -1 && st.st_mtim.tv_nsec == 999999999);
}

static void usage_never_wraps(void **state)
{
    struct backend_usage usage = {.inodes = 20, .bytes = 9000, .max_inodes = 10, .max_bytes = 8192};
    struct statvfs out;

    (void)state;
    convert_usage(&usage, &out);
    assert_true(out.f_bfree == 0 && out.f_ffree == 0 && out.f_blocks == 2 && out.f_files == 10);
}

static void transport_errors_become_errnos(void **state)
{
    (void)state;
    assert_int_equal(convert_error(-ETIMEDOUT), ETIMEDOUT);
    assert_int_equal(convert_error(-EINTR), EINTR);
    assert_int_equal(convert_error(-ESTALE), EIO);
    assert_int_equal(convert_error(-ESHUTDOWN), ENOTCONN);
}

/* ---- mailbox --------------------------------------------------------------------------------- */

#define POSTERS 4
#define LETTERS 2000

struct letter {
    struct mail mail;
    unsigned poster;
    unsigned n;
};

static struct mailbox box;
static unsigned received[POSTERS];
static bool in_order;

static void on_letter(struct mail *mail)
{
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);

    in_order = in_order && letter->n == received[letter->poster];
    received[letter->poster]++;
    free(letter);
}

static void *post_letters(void *arg)
{
    for (unsigned i = 0; i < LETTERS; i++) {
        struct letter *letter = xcalloc(1, sizeof(*letter));

        letter->poster = *(unsigned *)arg;
        letter->n = i;
        mailbox_post(&box, &letter->mail, on_letter);
    }
    return NULL;
}

/* No mail is lost, no mail is delivered late, and each sender's order is kept. */
static void mail_arrives_in_order(void **state)
{
    pthread_t threads[POSTERS];
    unsigned numbers[POSTERS], total = 0;
    struct pollfd fd = {.events = POLLIN};

    (void)state;
    in_order = true;
    memset(received, 0, sizeof(received));
    assert_int_equal(mailbox_init(&box), 0);
    fd.fd = box.event_fd;
    for (unsigned i = 0; i < POSTERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, post_letters, &numbers[i]), 0);
    }
    while (total < POSTERS * LETTERS) {
        assert_int_equal(poll(&fd, 1, 20000), 1);
        total += mailbox_deliver(&box);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(total, POSTERS * LETTERS);
    assert_true(in_order);
    mailbox_wake(&box);
    assert_int_equal(poll(&fd, 1, 20000), 1);
    assert_int_equal(mailbox_deliver(&box), 0);
    assert_int_equal(poll(&fd, 1, 0), 0);
    mailbox_fini(&box);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static Cfs__Attr attr_of(uint64_t ino, uint32_t mode)
{
    Cfs__Attr attr = CFS__ATTR__INIT;

    attr.ino = ino;
    attr.mode = mode;
    attr.nlink = S_ISDIR(mode) ? 2 : 1;
    attr.size = 5;
    return attr;
}

static void nodes_count_lookups(void **state)
{
    Cfs__Attr file = attr_of(10, S_IFREG | 0644);
    struct nodes ns;

    (void)state;
    nodes_init(&ns);
    assert_int_equal(node_lookups(&ns, 10), 0);
    node_remember(&ns, &file);
    node_remember(&ns, &file);
    node_remember(&ns, &file);
    node_forget(&ns, 10, 2);
    assert_int_equal(node_lookups(&ns, 10), 1);
    node_forget(&ns, 10, 1);
    assert_int_equal(node_lookups(&ns, 10), 0);
    node_forget(&ns, 10, 1); /* ignored */
    node_remember(&ns, &file);
    node_forget(&ns, 10, 100);
    assert_int_equal(node_lookups(&ns, 10), 0);
    nodes_fini(&ns);
}

static void count_nodes(void *arg, uint64_t ino)
{
    (void)ino;
    ++*(unsigned *)arg;
}

static void many_nodes_are_found_again(void **state)
{
    enum { N = 20000 };
    struct nodes ns;
    unsigned n = 0;

    (void)state;
    nodes_init(&ns);
    for (uint64_t i = 2; i < N; i++) {
        Cfs__Attr attr = attr_of(i * 977, i % 10 == 0 ? S_IFDIR : S_IFREG);

        node_remember(&ns, &attr);
        node_remember(&ns, &attr);
        if (i % 7 == 0)
            node_get(&ns, attr.ino)->cached = true;
    }
    nodes_each(&ns, count_nodes, &n);
    assert_int_equal(n, N - 1);
    for (uint64_t i = 2; i < N; i += 2)
        node_forget(&ns, i * 977, 2);
    for (uint64_t i = 2; i < N; i++) {
        const struct node *node = node_find(&ns, i * 977);

        assert_int_equal(node_lookups(&ns, i * 977), i % 2 == 0 ? 0 : 2);
        assert_true((node != NULL) == (i % 2 == 1 && (i % 10 == 0 || i % 7 == 0)));
        assert_int_equal(node_lookups(&ns, i * 977 + 1), 0);
    }
    nodes_fini(&ns);
}

static void the_root_is_never_forgotten(void **state)
{
    struct nodes ns;

    (void)state;
    nodes_init(&ns);
    node_forget(&ns, 1, UINT64_MAX);
    assert_true(node_lookups(&ns, 1) > 0);
    nodes_fini(&ns);
}

static void dead_directories_are_remembered(void **state)
{
    Cfs__Attr dir = attr_of(10, S_IFDIR | 0750), file = attr_of(11, S_IFREG | 0644), out;
    struct nodes ns;

    (void)state;
    nodes_init(&ns);
    assert_false(node_dead(&ns, 10, &out));
    node_note(&ns, &dir); /* the kernel does not know it: not remembered */
    assert_false(node_dead(&ns, 10, &out));
    node_remember(&ns, &dir);
    node_remember(&ns, &file);
    dir.uid = 5;
    node_note(&ns, &dir);
    assert_true(node_dead(&ns, 10, &out));
    assert_true(out.mode == (S_IFDIR | 0750) && out.uid == 5 && out.nlink == 0 && out.size == 0);
    assert_false(node_dead(&ns, 11, &out));
    node_forget(&ns, 10, 1);
    assert_false(node_dead(&ns, 10, &out));
    nodes_fini(&ns);
}

static void only_the_same_thread_may_retry(void **state)
{
    struct rewalks w;

    (void)state;
    rewalks_init(&w);
    assert_false(rewalk_insists(&w, 100, 10));
    rewalk_told(&w, 100, 10);
    assert_true(rewalk_insists(&w, 100, 10));
    assert_true(rewalk_insists(&w, 100, 10)); /* one call may send several requests */
    assert_false(rewalk_insists(&w, 100, 11));
    assert_false(rewalk_insists(&w, 200, 10));
    rewalk_note(&w, 100, 5, 11);
    rewalk_told(&w, 100, 0); /* about a name, not an inode */
    assert_true(rewalk_insists(&w, 100, 10));
    rewalk_note(&w, 100, 6, 10); /* a look-up has found it meanwhile */
    assert_false(rewalk_insists(&w, 100, 10));
    rewalk_told(&w, 100, 10);
    rewalk_end(&w, 100);
    assert_false(rewalk_insists(&w, 100, 10));
    rewalk_told(&w, 0, 10);
    assert_false(rewalk_insists(&w, 0, 10)); /* thread 0 is unknown, so it never matches */
    rewalks_fini(&w);
}

/* A thread got ESTALE about the file that a name was, and walks the path again: it opens the file
 * that the name is now. */
static void a_repeated_walk_opens_the_new_file(void **state)
{
    struct rewalks w;

    (void)state;
    rewalks_init(&w);
    rewalk_note(&w, 100, 1, 11);
    assert_false(rewalk_open(&w, 100, 11)); /* this thread got no ESTALE */
    rewalk_told(&w, 200, 9);
    assert_false(rewalk_open(&w, 200, 11)); /* it has not found this inode */
    rewalk_told(&w, 200, 9);
    rewalk_note(&w, 200, 1, 12); /* a directory on the way */
    rewalk_note(&w, 200, 2, 11);
    assert_true(rewalk_holds(&w, 11) && !rewalk_holds(&w, 12));
    assert_false(rewalk_open(&w, 100, 11));
    assert_true(rewalk_open(&w, 200, 11));
    assert_true(rewalk_holds(&w, 11));      /* until it is open */
    assert_false(rewalk_open(&w, 200, 11)); /* only once */
    assert_false(rewalk_doubts(&w, 2));     /* the walk is over */
    rewalk_told(&w, 200, 9);
    rewalk_note(&w, 200, 2, 11);
    rewalk_note(&w, 200, 2, 0);
    assert_false(rewalk_open(&w, 200, 11));
    rewalk_told(&w, 0, 9);
    rewalk_note(&w, 0, 2, 11);
    assert_false(rewalk_open(&w, 0, 11)); /* thread 0 is unknown, so it never matches */
    for (int tid = 1; tid <= 2 * REWALK_MAX; tid++)
        rewalk_told(&w, tid, 9);
    rewalk_note(&w, 1, 1, 11);
    rewalk_note(&w, REWALK_MAX + 1, 1, 12);
    assert_false(rewalk_open(&w, 1, 11));
    assert_true(rewalk_open(&w, REWALK_MAX + 1, 12));
    rewalks_fini(&w);
}

static void names_of_a_repeated_walk_are_known(void **state)
{
    struct rewalks w;

    (void)state;
    rewalks_init(&w);
    rewalk_note(&w, 100, 1, 11);
    assert_false(rewalk_has_name(&w, 100, 1) || rewalk_doubts(&w, 1));
    rewalk_told(&w, 100, 0);
    rewalk_note(&w, 100, 1, 11);
    rewalk_note(&w, 100, 2, 0);
    assert_true(rewalk_has_name(&w, 100, 1) && rewalk_has_name(&w, 100, 2));
    assert_false(rewalk_has_name(&w, 200, 1));
    assert_true(rewalk_doubts(&w, 1) && !rewalk_doubts(&w, 3));
    assert_true(rewalk_has_inode(&w, 100, 11) && !rewalk_has_inode(&w, 200, 11));
    rewalk_told(&w, 100, 0); /* the next walk begins */
    assert_false(rewalk_has_name(&w, 100, 1) || rewalk_has_inode(&w, 100, 11));
    for (uint64_t name = 1; name <= REWALK_STEPS + 1; name++)
        rewalk_note(&w, 100, name, 20 + name);
    assert_false(rewalk_has_name(&w, 100, 1));
    assert_true(rewalk_has_name(&w, 100, 2) && rewalk_has_name(&w, 100, REWALK_STEPS + 1));
    rewalks_fini(&w);
}

static void a_rename_is_misled_once(void **state)
{
    struct rewalks w;

    (void)state;
    rewalks_init(&w);
    assert_true(rewalk_expect(&w, 100, 5));
    assert_false(rewalk_expect(&w, 100, 5));
    rewalk_note(&w, 100, 5, 11); /* it got no ESTALE yet */
    assert_false(rewalk_has_name(&w, 100, 5) || rewalk_holds(&w, 11));
    assert_false(rewalk_misled(&w, 100));
    rewalk_mislead(&w, 100);
    rewalk_told(&w, 100, 0);
    assert_true(rewalk_misled(&w, 100) && !rewalk_misled(&w, 200));
    rewalk_rename_ends(&w, 100);
    assert_false(rewalk_misled(&w, 100));
    assert_true(rewalk_expect(&w, 100, 5));
    rewalks_fini(&w);
}

/* ---- handles --------------------------------------------------------------------------------- */

static void handles_are_never_used_twice(void **state)
{
    struct handles hs;
    struct opens opens;
    uint64_t last = 0;

    (void)state;
    opens_init(&opens);
    handles_init(&hs, &opens);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t fh = handle_open(&hs, 7, 0, 1)->fh;

        assert_true(fh > last);
        assert_int_equal(handle_find(&hs, fh)->ino, 7);
        last = fh;
        handle_close(&hs, fh);
        handle_close(&hs, fh);
        assert_null(handle_find(&hs, fh));
    }
    handles_fini(&hs);
    opens_fini(&opens);
    opens_init(&opens);
    handles_init(&hs, &opens); /* as in the next run of a daemon */
    assert_true(handle_open(&hs, 7, 0, 1)->fh > last);
    handles_fini(&hs);
    opens_fini(&opens);
}

static void open_files_are_counted(void **state)
{
    struct handles hs;
    struct opens opens;
    uint64_t a, b;

    (void)state;
    opens_init(&opens);
    handles_init(&hs, &opens);
    assert_int_equal(opens_count(&opens, 7), 0);
    a = handle_open(&hs, 7, 0, 1)->fh;
    b = handle_open(&hs, 7, 0, 2)->fh;
    assert_int_equal(opens_count(&opens, 7), 2);
    handle_close(&hs, a);
    assert_int_equal(opens_count(&opens, 7), 1);
    handle_close(&hs, b);
    assert_int_equal(opens_count(&opens, 7), 0);
    handle_open(&hs, 8, 0, 1);
    handles_fini(&hs); /* closes the open handles */
    assert_int_equal(opens_count(&opens, 8), 0);
    opens_fini(&opens);
}

/* ---- extents --------------------------------------------------------------------------------- */

#define MODEL_SIZE 3000

/* A file with its whole content in memory. */
struct plain {
    uint8_t bytes[MODEL_SIZE];
    size_t size;
};

static unsigned roll(unsigned n)
{
    return (unsigned)rand() % n;
}

static void change(struct plain *file, struct extents *p)
{
    uint8_t data[500];
    size_t len = 1 + roll(sizeof(data)), offset = roll(2) ? file->size : roll(MODEL_SIZE - 500);

    if (roll(12) == 0) {
        extents_truncate(p);
        memset(file, 0, sizeof(*file));
        return;
    }
    if (offset + len > MODEL_SIZE)
        offset = 0;
    memset(data, 1 + (int)roll(255), len);
    extents_write(p, offset, data, len, roll(2));
    memcpy(file->bytes + offset, data, len);
    file->size = max_u64(file->size, offset + len);
}

static void assert_shows(const struct plain *expected, const struct plain *base,
                         const struct extents *p)
{
    size_t size = extents_size(p, base->size), offset = roll(MODEL_SIZE);
    size_t len = roll((unsigned)(MODEL_SIZE - offset) + 1);
    uint8_t out[MODEL_SIZE];

    assert_int_equal(size, expected->size);
    memcpy(out, base->bytes + offset, len);
    extents_overlay(p, offset, out, len);
    if (len > 0)
        assert_memory_equal(out, expected->bytes + offset, len);
}

/* Applies commands as the store does. */
static void carry_out(void *arg, Cfs__Write *write)
{
    struct plain *file = arg;

    if (write->truncate)
        memset(file, 0, sizeof(*file));
    for (size_t i = 0; i < write->n_extents; i++) {
        const Cfs__Extent *e = write->extents[i];

        memcpy(file->bytes + e->offset, e->data.data, e->data.len);
        file->size = max_u64(file->size, e->offset + e->data.len);
    }
}

static void extents_match_the_writes(void **state)
{
    (void)state;
    srand(4711);
    for (unsigned round = 0; round < 500; round++) {
        struct plain base = {.size = roll(MODEL_SIZE)}, expected, done;
        struct extents p = {0}, earlier = {0};

        memset(base.bytes, 'b', base.size);
        expected = done = base;
        for (unsigned i = roll(8); i > 0; i--)
            change(&expected, &earlier);
        for (unsigned i = roll(20); i > 0; i--)
            change(&expected, &p);
        extents_prepend(&p, &earlier);
        assert_true(extents_empty(&earlier));
        assert_shows(&expected, &base, &p);
        extents_commands(&p, carry_out, &done);
        assert_int_equal(done.size, expected.size);
        assert_memory_equal(done.bytes, expected.bytes, MODEL_SIZE);
        extents_fini(&earlier);
        extents_fini(&p);
    }
}

struct sizes {
    size_t n, all;
    size_t bytes;
};

static void measure(void *arg, Cfs__Write *write)
{
    struct sizes *s = arg;
    size_t bytes = 0;

    assert_true(write->n_extents <= LIMIT_EXTENTS_MAX);
    for (size_t i = 0; i < write->n_extents; i++)
        bytes += write->extents[i]->data.len;
    assert_true(bytes <= LIMIT_WRITE_MAX);
    s->bytes += bytes;
    s->n++;
    assert_true(write->truncate == (s->n == s->all)); /* only the last command truncates */
    assert_true((write->kill == CFS__KILL__KILL_SUID) == write->truncate);
}

static void commands_are_within_the_limits(void **state)
{
    struct sizes s = {0};
    struct extents p = {0};
    char *block = calloc(1, LIMIT_WRITE_MAX);

    (void)state;
    extents_truncate(&p);
    assert_int_equal(extents_n_commands(&p), 1);
    for (unsigned i = 0; i < 5; i++)
        extents_write(&p, (uint64_t)i * 3000000, block, LIMIT_WRITE_MAX - 100, true);
    for (unsigned i = 0; i < 2 * LIMIT_EXTENTS_MAX; i++)
        extents_write(&p, (uint64_t)i * 10, block, 1, true);
    p.kill = CFS__KILL__KILL_SUID;
    s.all = extents_n_commands(&p);
    extents_commands(&p, measure, &s);
    assert_int_equal(s.bytes, p.bytes);
    assert_int_equal(s.n, s.all);
    extents_cut(&p, 0);
    assert_true(extents_empty(&p));
    extents_fini(&p);
    free(block);
}

/* ---- Lost changes ---------------------------------------------------------------------------- */

static ProtobufCBinaryData name_of(char *name)
{
    return (ProtobufCBinaryData){strlen(name), (uint8_t *)name};
}

/* A command and its change have the same signature; different commands have different signatures.
 */
static void lost_changes_are_recognised(void **state)
{
    char a[] = "a", b[] = "b";
    Cfs__Make make = CFS__MAKE__INIT;
    Cfs__Rename rename = CFS__RENAME__INIT;
    Cfs__Write write = CFS__WRITE__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Change change = CFS__CHANGE__INIT;
    struct losts losts = {0};

    (void)state;
    make.parent = 5;
    make.name = name_of(a);
    command.op_case = CFS__COMMAND__OP_MAKE;
    command.make = &make;
    lost_add(&losts, lost_of_command(&command));
    change.kind = CFS__CHANGE__KIND__CREATE;
    change.ino = 9;
    change.parent = 5;
    change.name = name_of(b);
    assert_false(lost_take(&losts, lost_of_change(&change)));
    change.name = name_of(a);
    change.kind = CFS__CHANGE__KIND__UNLINK;
    assert_false(lost_take(&losts, lost_of_change(&change)));
    change.kind = CFS__CHANGE__KIND__CREATE;
    assert_true(lost_take(&losts, lost_of_change(&change)));
    assert_false(lost_take(&losts, lost_of_change(&change)));

    rename.parent = 5;
    rename.new_parent = 6;
    rename.name = name_of(a);
    rename.new_name = name_of(b);
    command.op_case = CFS__COMMAND__OP_RENAME;
    command.rename = &rename;
    lost_add(&losts, lost_of_command(&command));
    change.kind = CFS__CHANGE__KIND__EXCHANGE;
    change.new_parent = 6;
    change.new_name = name_of(b);
    assert_false(lost_take(&losts, lost_of_change(&change)));
    change.kind = CFS__CHANGE__KIND__RENAME;
    assert_true(lost_take(&losts, lost_of_change(&change)));

    write.ino = 9;
    command.op_case = CFS__COMMAND__OP_WRITE;
    command.write = &write;
    lost_add(&losts, lost_of_command(&command));
    lost_add(&losts, 0); /* a command without a change */
    change = (Cfs__Change)CFS__CHANGE__INIT;
    change.kind = CFS__CHANGE__KIND__DATA;
    change.ino = 9;
    assert_true(lost_take(&losts, lost_of_change(&change)));
    lost_clear(&losts);
    for (uint64_t i = 1; i <= LOST_MAX + 1; i++)
        lost_add(&losts, i);
    assert_false(lost_take(&losts, 1));
    assert_true(lost_take(&losts, LOST_MAX + 1));
    lost_clear(&losts);
}

/* ---- payload --------------------------------------------------------------------------------- */

#define STEPS 3 /* number of the field in Txn */

static uint32_t groups[LIMIT_TXN_GROUPS];

/* True if the state machine would accept the command made from it. */
static bool is_acceptable(Cfs__Txn *txn)
{
    const struct stamp stamp = {.session = 1, .seq = 1, .time_ns = 1};
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Cred cred = CFS__CRED__INIT;
    uint8_t *entry;
    size_t len;
    bool good;

    cred.groups = groups;
    cred.n_groups = LIMIT_TXN_GROUPS;
    txn->cred = &cred;
    command.op_case = CFS__COMMAND__OP_TXN;
    command.txn = txn;
    len = cfs__command__get_packed_size(&command);
    assert_true(STAMP_SIZE + len <= LIMIT_COMMAND_MAX);
    entry = malloc(STAMP_SIZE + len);
    stamp_encode(&stamp, entry);
    cfs__command__pack(&command, entry + STAMP_SIZE);
    good = store_acceptable(entry, STAMP_SIZE + len);
    free(entry);
    txn->cred = NULL;
    return good;
}

/* Small messages that decode to much memory. The mount must refuse every message that a member
 * could not decode: the member would stop at it, again after each start. */
static void accepted_messages_can_be_decoded(void **state)
{
    uint8_t *bytes = malloc(LIMIT_COMMAND_MAX);
    size_t low = 0, high = 400000; /* steps of two bytes each */

    (void)state;
    for (size_t i = 0; i < high; i++) {
        bytes[2 * i] = STEPS << 3 | 2; /* its length follows */
        bytes[2 * i + 1] = 0;
    }
    assert_null(payload_txn(bytes, 2 * high));
    while (high - low > 1) { /* searches the last number of steps that passes */
        size_t middle = (low + high) / 2;
        Cfs__Txn *txn = payload_txn(bytes, 2 * middle);

        if (txn == NULL) {
            high = middle;
            continue;
        }
        low = middle;
        assert_int_equal(txn->n_steps, middle);
        assert_true(is_acceptable(txn));
        cfs__txn__free_unpacked(txn, NULL);
    }
    assert_true(low > LIMIT_TXN_STEPS);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_changes_are_recognised),
        cmocka_unit_test(times_round_trip),
        cmocka_unit_test(times_are_clamped),
        cmocka_unit_test(attributes_become_stat),
        cmocka_unit_test(usage_never_wraps),
        cmocka_unit_test(transport_errors_become_errnos),
        cmocka_unit_test(mail_arrives_in_order),
        cmocka_unit_test(nodes_count_lookups),
        cmocka_unit_test(many_nodes_are_found_again),
        cmocka_unit_test(the_root_is_never_forgotten),
        cmocka_unit_test(dead_directories_are_remembered),
        cmocka_unit_test(only_the_same_thread_may_retry),
        cmocka_unit_test(a_repeated_walk_opens_the_new_file),
        cmocka_unit_test(names_of_a_repeated_walk_are_known),
        cmocka_unit_test(a_rename_is_misled_once),
        cmocka_unit_test(handles_are_never_used_twice),
        cmocka_unit_test(open_files_are_counted),
        cmocka_unit_test(extents_match_the_writes),
        cmocka_unit_test(commands_are_within_the_limits),
        cmocka_unit_test(accepted_messages_can_be_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
