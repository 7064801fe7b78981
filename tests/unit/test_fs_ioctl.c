/* SPDX-License-Identifier: Apache-2.0 */
/* ioctls through real mounts: entries, transactions in parts, permission checks, and the kernel's
 * caches of the same host afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli/transact.h"
#include "proto/ioctl.h"
#include "proto/limits.h"
#include "tests/lib/fs_rig.h"

static struct rig rig;

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 2, 0);
    assert_int_equal(chmod(rig.mnt[0], 0755), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static int open_root(void)
{
    int fd = open(rig.mnt[0], O_RDONLY | O_DIRECTORY);

    assert_true(fd >= 0);
    return fd;
}

/* ---- Entries ---- */

static int create(int fd, struct coordfs_ioc_create *c)
{
    return ioctl(fd, COORDFS_IOC_CREATE, c) == 0 ? 0 : errno;
}

static void creates_entries(void **state)
{
    struct coordfs_ioc_create c = {.mode = 0666, .umask = 022, .name = "f"};
    struct stat st;
    int fd = open_root();

    (void)state;
    assert_int_equal(stat(at(0, "f"), &st), -1); /* the kernel caches the absence */
    assert_int_equal(create(fd, &c), 0);
    assert_string_equal(c.name, "f");
    assert_int_equal(stat(at(0, "f"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0644);
    assert_int_equal(create(fd, &c), EEXIST);
    c = (struct coordfs_ioc_create){.mode = S_IFDIR | 01777, .name = "d"};
    assert_int_equal(create(fd, &c), 0);
    assert_int_equal(stat(at(0, "d"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 01777);
    rig_sync(&rig, 1);
    assert_int_equal(stat(at(1, "d"), &st), 0);
    close(fd);
}

static void numbers_names(void **state)
{
    struct coordfs_ioc_create c;
    int fd = open_root();

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char want[32];

        c = (struct coordfs_ioc_create){.flags = COORDFS_IOC_CREATE_SEQUENTIAL, .name = "job-"};
        assert_int_equal(create(fd, &c), 0);
        snprintf(want, sizeof(want), "job-%010u", i);
        assert_string_equal(c.name, want);
        assert_int_equal(access(at(0, want), F_OK), 0);
        assert_int_equal(unlink(at(0, want)), 0); /* the number is not reused after this */
    }
    c = (struct coordfs_ioc_create){.flags = COORDFS_IOC_CREATE_SEQUENTIAL};
    assert_int_equal(create(fd, &c), 0);
    assert_string_equal(c.name, "0000000003");
    close(fd);
}

static void marks_ephemeral(void **state)
{
    static const struct {
        uint32_t flag;
        const char *value;
    } kinds[] = {{COORDFS_IOC_CREATE_EPHEMERAL_SESSION, "session"},
                 {COORDFS_IOC_CREATE_EPHEMERAL_OPEN, "open"}};
    int fd = open_root();
    char value[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct coordfs_ioc_create c = {.flags = kinds[i].flag};
        ssize_t n;

        strcpy(c.name, kinds[i].value);
        assert_int_equal(create(fd, &c), 0);
        n = getxattr(at(0, c.name), "user.coordfs.ephemeral", value, sizeof(value));
        assert_int_equal(n, strlen(kinds[i].value));
        assert_memory_equal(value, kinds[i].value, (size_t)n);
    }
    close(fd);
}

static void bad_arguments_are_refused(void **state)
{
    static const struct {
        struct coordfs_ioc_create c;
        int error;
    } cases[] = {
        {{.name = ""}, EINVAL},
        {{.name = "a/b"}, EINVAL},
        {{.name = "a", .mode = S_IFLNK}, EINVAL},
        {{.name = "a", .mode = S_IFBLK}, EINVAL},
        {{.name = "a", .mode = 0x80000000}, EINVAL},
        {{.name = "a", .umask = 01000}, EINVAL},
        {{.name = "a", .flags = 8}, EINVAL},
        {{.name = "a", .flags = 6}, EINVAL},
        {{.name = "."}, EEXIST},
        {{.name = ".."}, EEXIST},
    };
    struct coordfs_ioc_create c;
    int fd = open_root(), file;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        c = cases[i].c;
        assert_int_equal(create(fd, &c), cases[i].error);
    }
    memset(&c, 'x', sizeof(c));
    c.mode = c.umask = c.flags = 0;
    assert_int_equal(create(fd, &c), ENAMETOOLONG); /* not terminated */
    assert_int_equal(ioctl(fd, 0x5401, &c), -1);    /* TCGETS */
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(ioctl(fd, _IO(0xCF, 99)), -1);
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(rig_put(at(0, "f"), "x", 1), 0);
    file = open(at(0, "f"), O_RDONLY);
    c = (struct coordfs_ioc_create){.name = "a"};
    assert_int_equal(create(file, &c), ENOTDIR);
    assert_int_equal(ioctl(file, 0x5401, &c), -1);
    assert_int_equal(errno, ENOTTY);
    close(file);
    close(fd);
}

/* ---- Transactions ---- */

/* Runs and frees the transaction. Returns 0, the errno of the ioctl, or the outcome. */
static int run(int fd, Cfs__Txn *txn)
{
    Cfs__Reply *reply = transact_run(fd, txn);
    int error = reply == NULL ? errno : (int)reply->status;

    if (reply != NULL)
        cfs__reply__free_unpacked(reply, NULL);
    cfs__txn__free_unpacked(txn, NULL);
    return error;
}

static void assert_content(unsigned i, const char *name, const char *want)
{
    char got[64];
    ssize_t n = rig_get(at(i, name), got, sizeof(got));

    assert_int_equal(n, strlen(want));
    assert_memory_equal(got, want, (size_t)n);
}

/* The kernel has cached the old state; the transaction must invalidate it. */
static void transactions_invalidate_caches(void **state)
{
    Cfs__Txn *txn = transact_new();
    int fd = open_root();
    struct stat st;

    (void)state;
    assert_int_equal(rig_put(at(0, "f"), "old", 3), 0);
    assert_int_equal(rig_put(at(0, "gone"), "old", 3), 0);
    assert_content(0, "f", "old");
    assert_int_equal(access(at(0, "new"), F_OK), -1);
    assert_int_equal(access(at(0, "gone"), F_OK), 0);
    transact_put(txn, "f", "newer", 5);
    transact_put(txn, "new", "n", 1);
    transact_remove(txn, "gone", false);
    assert_int_equal(run(fd, txn), 0);
    assert_content(0, "f", "newer");
    assert_content(0, "new", "n");
    assert_int_equal(stat(at(0, "gone"), &st), -1);
    assert_int_equal(stat(at(0, "f"), &st), 0);
    assert_int_equal(st.st_size, 5);
    rig_sync(&rig, 1);
    assert_content(1, "f", "newer");
    close(fd);
}

/* Whole blocks are buffered (fs/writeback/writeback.h); a transaction must see them. */
static void transactions_see_buffered_writes(void **state)
{
    static char block[4096];
    int file = open(at(0, "f"), O_WRONLY | O_CREAT, 0644), fd = open_root();
    Cfs__Txn *txn = transact_new();
    struct stat st;

    (void)state;
    assert_int_equal(write(file, block, sizeof(block)), sizeof(block));
    transact_check(txn, "f", CFS__TXN_CHECK__KIND__VERSION, 1);
    transact_put(txn, "f", "tail", 4)->append = true;
    assert_int_equal(run(fd, txn), 0);
    assert_int_equal(fstat(file, &st), 0);
    assert_int_equal(st.st_size, 4100);
    close(file);
    close(fd);
}

static void all_or_nothing(void **state)
{
    Cfs__Txn *txn = transact_new();
    Cfs__Reply *reply;
    int fd = open_root();

    (void)state;
    transact_put(txn, "a", "1", 1);
    transact_check(txn, "a", CFS__TXN_CHECK__KIND__VERSION, 7);
    transact_put(txn, "b", "2", 1);
    reply = transact_run(fd, txn);
    assert_non_null(reply);
    assert_int_equal(reply->status, ECANCELED);
    assert_int_equal(reply->value, 2);
    assert_int_equal(reply->n_steps, 2);
    assert_int_equal(access(at(0, "a"), F_OK), -1);
    cfs__reply__free_unpacked(reply, NULL);
    cfs__txn__free_unpacked(txn, NULL);
    close(fd);
}

/* A megabyte is sent in many parts, and read back unchanged. */
static void large_transactions_go_in_parts(void **state)
{
    char *data = malloc(LIMIT_WRITE_MAX), *got = malloc(LIMIT_WRITE_MAX);
    Cfs__Txn *txn = transact_new();
    int fd = open_root();

    (void)state;
    for (size_t i = 0; i < LIMIT_WRITE_MAX; i++)
        data[i] = (char)(i * 7 + (i >> 12));
    transact_put(txn, "big", data, LIMIT_WRITE_MAX);
    assert_int_equal(run(fd, txn), 0);
    assert_int_equal(rig_get(at(0, "big"), got, LIMIT_WRITE_MAX), LIMIT_WRITE_MAX);
    assert_memory_equal(got, data, LIMIT_WRITE_MAX);
    txn = transact_new();
    for (unsigned i = 0; i < LIMIT_TXN_STEPS; i++) /* this makes a reply of several parts */
        transact_check(txn, "big", CFS__TXN_CHECK__KIND__EXISTS, 0);
    assert_int_equal(run(fd, txn), 0);
    transact_check(txn = transact_new(), "big", CFS__TXN_CHECK__KIND__EXISTS, 0);
    for (unsigned i = 0; i < LIMIT_TXN_STEPS; i++)
        transact_check(txn, "big", CFS__TXN_CHECK__KIND__EXISTS, 0);
    assert_int_equal(run(fd, txn), EINVAL);
    free(data);
    free(got);
    close(fd);
}

static int send_part(int fd, const void *data, uint32_t len, uint32_t claimed)
{
    struct coordfs_ioc_chunk part = {.len = claimed};

    memcpy(part.data, data, len);
    return ioctl(fd, COORDFS_IOC_TXN_APPEND, &part) == 0 ? 0 : errno;
}

static int run_parts(int fd)
{
    uint32_t len;

    return ioctl(fd, COORDFS_IOC_TXN_RUN, &len) == 0 ? 0 : errno;
}

/* The largest transaction, to the byte: a larger one is refused with E2BIG, a smaller one is run.
 */
static void as_large_as_a_log_entry(void **state)
{
    char *data = calloc(1, LIMIT_COMMAND_MAX);
    int fd = open_root();
    unsigned refused = 0;

    (void)state;
    for (size_t less = 40; less <= 240; less += 5) {
        Cfs__Txn *txn = transact_new();
        Cfs__Reply *reply;

        transact_put(txn, "large", data, LIMIT_COMMAND_MAX - less);
        reply = transact_run(fd, txn);
        cfs__txn__free_unpacked(txn, NULL);
        if (reply != NULL) {
            assert_int_equal(reply->status, E2BIG); /* more than LIMIT_WRITE_MAX */
            cfs__reply__free_unpacked(reply, NULL);
            continue;
        }
        assert_int_equal(errno, E2BIG);
        refused++;
    }
    assert_in_range(refused, 1, 40); /* both sides of the limit were tried */
    assert_string_equal(rig_tell(&rig, "check"), "ok");
    free(data);
    close(fd);
}

static void bad_messages(void **state)
{
    static const uint8_t zeros[16000];
    struct coordfs_ioc_chunk part;
    Cfs__Txn *txn = transact_new();
    int fd = open_root(), error = 0;
    uint8_t bytes[256];
    size_t len;

    (void)state;
    assert_int_equal(run_parts(fd), 0); /* an empty transaction is run; its outcome is EINVAL */
    assert_int_equal(send_part(fd, "nonsense", 8, 8), 0);
    assert_int_equal(run_parts(fd), EBADMSG);
    assert_int_equal(send_part(fd, "", 0, sizeof(part.data) + 1), EINVAL);
    assert_int_equal(send_part(fd, "", 0, UINT32_MAX), EINVAL);
    /* The message must not contain credentials. */
    txn->cred = transact_op(&cfs__cred__descriptor);
    transact_check(txn, "/", CFS__TXN_CHECK__KIND__EXISTS, 0);
    len = cfs__txn__pack(txn, bytes);
    assert_int_equal(send_part(fd, bytes, (uint32_t)len, (uint32_t)len), 0);
    assert_int_equal(run_parts(fd), EBADMSG);
    cfs__txn__free_unpacked(txn, NULL);
    /* An unknown field would stop all members, so it is refused here. */
    assert_int_equal(send_part(fd, "\xf8\x07\x01", 3, 3), 0);
    assert_int_equal(run_parts(fd), EBADMSG);
    /* A message that is larger than a log entry is refused. The next one works again. */
    for (size_t sent = 0; error == 0 && sent < 2 * LIMIT_COMMAND_MAX; sent += sizeof(zeros))
        error = send_part(fd, zeros, sizeof(zeros), sizeof(zeros));
    assert_int_equal(error, E2BIG);
    assert_int_equal(ioctl(fd, COORDFS_IOC_TXN_REPLY, &part), 0);
    txn = transact_new();
    transact_check(txn, "/", CFS__TXN_CHECK__KIND__EXISTS, 0);
    assert_int_equal(run(fd, txn), 0);
    assert_int_equal(ioctl(fd, COORDFS_IOC_TXN_REPLY, &part), 0);
    assert_int_equal(part.len, 0);
    close(fd);
}

/* ---- Permissions: in a child with fewer rights ----------------------------------------------- */

struct who {
    uid_t uid;
    gid_t gid;
    gid_t group;              /* supplementary; 0: none */
    unsigned lost_capability; /* of root; 0: none (CAP_CHOWN is not tried) */
};

static int become(const struct who *who)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (setgroups(who->group != 0 ? 1 : 0, &who->group) < 0 || setgid(who->gid) < 0 ||
        setuid(who->uid) < 0)
        return errno;
    if (who->lost_capability == 0)
        return 0;
    if (syscall(SYS_capget, &header, data) < 0)
        return errno;
    data[who->lost_capability / 32].effective &= ~(1u << who->lost_capability % 32);
    return syscall(SYS_capset, &header, data) < 0 ? errno : 0;
}

/* The result of run() in a child with these rights. */
static int run_as(struct who who, Cfs__Txn *txn)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        int fd, error = become(&who);

        fd = open(rig.mnt[0], O_RDONLY | O_DIRECTORY);
        _exit(error != 0 || fd < 0 ? 255 : run(fd, txn));
    }
    cfs__txn__free_unpacked(txn, NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static Cfs__Txn *put_txn(const char *path)
{
    Cfs__Txn *txn = transact_new();

    transact_put(txn, path, "x", 1)->umask = 022;
    return txn;
}

static void permissions_of_the_caller_count(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(chmod(rig.dir, 0755), 0);
    assert_int_equal(mkdir(at(0, "d"), 0775), 0);
    assert_int_equal(chown(at(0, "d"), 0, 5000), 0);
    assert_int_equal(chmod(at(0, "d"), 0775), 0);
    assert_int_equal(run_as((struct who){1000, 1000, 0, 0}, put_txn("f")), EACCES);
    assert_int_equal(run_as((struct who){1000, 1000, 0, 0}, put_txn("d/f")), EACCES);
    assert_int_equal(run_as((struct who){1000, 1000, 5001, 0}, put_txn("d/f")), EACCES);
    assert_int_equal(access(at(0, "d/f"), F_OK), -1);
    assert_int_equal(run_as((struct who){1000, 1000, 5000, 0}, put_txn("d/f")), 0);
    assert_int_equal(stat(at(0, "d/f"), &st), 0);
    assert_int_equal(st.st_uid, 1000);
    assert_int_equal(st.st_gid, 1000);
    assert_int_equal(run_as((struct who){1001, 1001, 5000, 0}, put_txn("d/f")), EACCES);
    assert_int_equal(run_as((struct who){0, 0, 0, 0}, put_txn("d/f")), 0);
}

static Cfs__Txn *device_txn(void)
{
    Cfs__Txn *txn = transact_new();
    Cfs__TxnStep *step = transact_step(txn, "null");

    step->op_case = CFS__TXN_STEP__OP_MAKE;
    step->make = transact_op(&cfs__make__descriptor);
    step->make->mode = S_IFCHR | 0600;
    step->make->rdev = makedev(1, 3);
    return txn;
}

static Cfs__Txn *trusted_txn(void)
{
    Cfs__Txn *txn = transact_new();
    Cfs__TxnStep *step = transact_step(txn, "/");

    step->op_case = CFS__TXN_STEP__OP_SET_XATTR;
    step->set_xattr = transact_op(&cfs__set_xattr__descriptor);
    step->set_xattr->name = transact_bytes("trusted.x", 9);
    step->set_xattr->value = transact_bytes("1", 1);
    return txn;
}

/* Root in a container lacks capabilities. */
static void root_needs_capabilities(void **state)
{
    const struct who root = {0};

    (void)state;
    assert_int_equal(run_as((struct who){.lost_capability = CAP_DAC_OVERRIDE}, put_txn("f")),
                     EPERM);
    assert_int_equal(run_as((struct who){.lost_capability = CAP_SYS_ADMIN}, put_txn("f")), 0);
    assert_int_equal(run_as((struct who){.lost_capability = CAP_SYS_ADMIN}, trusted_txn()), EPERM);
    assert_int_equal(run_as(root, trusted_txn()), 0);
    assert_int_equal(run_as((struct who){.lost_capability = CAP_MKNOD}, device_txn()), EPERM);
    assert_int_equal(run_as(root, device_txn()), 0);
}

/* ---- Sessions, and no quorum ---- */

static void tells_the_session(void **state)
{
    uint64_t session = 0;
    int fd = open_root();

    (void)state;
    assert_int_equal(ioctl(fd, COORDFS_IOC_LEASE, &session), 0);
    assert_true(session != 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(creates_entries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(marks_ephemeral, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_arguments_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transactions_invalidate_caches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transactions_see_buffered_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_transactions_go_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(as_large_as_a_log_entry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(permissions_of_the_caller_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(root_needs_capabilities, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_the_session, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
