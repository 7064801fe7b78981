/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs put, get, rm: whole files, if wanted only of a certain version. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/path.h"
#include "cli/transact.h"
#include "proto/limits.h"

struct condition {
    bool version_set;
    bool absent;
    uint64_t version;
};

static void add_condition(Cfs__Txn *txn, const char *name, const struct condition *c)
{
    if (c->absent)
        transact_check(txn, name, CFS__TXN_CHECK__KIND__ABSENT, 0);
    if (c->version_set)
        transact_check(txn, name, CFS__TXN_CHECK__KIND__VERSION, c->version);
}

/* Reads all of standard input. False after a message, also if it is too much for one step. */
static bool read_input(struct buf *out)
{
    ssize_t n;

    do {
        buf_reserve(out, 65536);
        n = read(STDIN_FILENO, out->data + out->len, 65536);
        out->len += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && out->len <= LIMIT_WRITE_MAX) || (n < 0 && errno == EINTR));
    if (n < 0)
        cli_fail(0, "standard input: %s", explain_errno(errno));
    else if (out->len > LIMIT_WRITE_MAX)
        cli_fail(0, "standard input: more than 1 MiB, the limit of one step: use cp");
    return n == 0 && out->len <= LIMIT_WRITE_MAX;
}

static bool parse_condition(int argc, char **argv, struct condition *c, bool *version)
{
    static const struct option options[] = {
        {"if-version", required_argument, NULL, 'v'},
        {"if-absent", no_argument, NULL, 'a'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    char *what = xasprintf("%s: --if-version", argv[0]);
    bool ok = true;
    int o;

    while (ok && (o = cli_option(argc, argv, "", options)) >= 0) {
        if (o == 'v')
            ok = c->version_set = cli_parse_number(optarg, 0, UINT64_MAX, what, &c->version);
        else if (o == 'a' && version == NULL)
            c->absent = true;
        else if (o == 'V' && version != NULL)
            *version = true;
        else
            ok = o != '?' ? cli_bad("%s: unknown option", argv[0]) : false;
    }
    free(what);
    return ok;
}

int cli_put(int argc, char **argv)
{
    struct condition condition = {0};
    struct buf data = BUF_EMPTY;
    Cfs__Txn *txn;
    char *name;
    int dir, rc = CLI_FAILED;

    if (!parse_condition(argc, argv, &condition, NULL))
        return CLI_USAGE;
    if (optind != argc - 1)
        return CLI_SHOW_USAGE;
    dir = path_open_parent(argv[optind], false, &name);
    if (dir < 0)
        return CLI_FAILED;
    if (read_input(&data)) {
        txn = transact_new();
        add_condition(txn, name, &condition);
        transact_put(txn, name, data.data, data.len)->umask = cli_umask();
        rc = transact_do(dir, argv[optind], txn);
    }
    buf_fini(&data);
    free(name);
    close(dir);
    return rc;
}

int cli_rm(int argc, char **argv)
{
    struct condition condition = {0};
    Cfs__Txn *txn;
    char *name;
    int dir, rc;

    if (!parse_condition(argc, argv, &condition, NULL) || condition.absent)
        return CLI_USAGE;
    if (optind != argc - 1)
        return CLI_SHOW_USAGE;
    dir = path_open_parent(argv[optind], false, &name);
    if (dir < 0)
        return CLI_FAILED;
    txn = transact_new();
    add_condition(txn, name, &condition);
    transact_remove(txn, name, false);
    rc = transact_do(dir, argv[optind], txn);
    free(name);
    close(dir);
    return rc;
}

static bool version_of(int fd, const char *path, uint64_t *out)
{
    char *text = path_xattr(fd, "version");

    if (text == NULL)
        return cli_bad("%s: %s", path, explain_errno(errno));
    *out = strtoull(text, NULL, 10);
    free(text);
    return true;
}

static bool read_all(int fd, const char *path, struct buf *out)
{
    ssize_t n;

    do {
        buf_reserve(out, 1u << 20);
        n = pread(fd, out->data + out->len, 1u << 20, (off_t)out->len);
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0 || cli_bad("%s: %s", path, explain_errno(errno));
}

/* Reads the content of one version: if the version changes meanwhile, reads again. */
static int read_version(int fd, const char *path, struct buf *out, uint64_t *version)
{
    uint64_t before = 0;

    do {
        out->len = 0;
        if (!version_of(fd, path, &before) || !read_all(fd, path, out) ||
            !version_of(fd, path, version))
            return CLI_FAILED;
    } while (before != *version);
    return CLI_OK;
}

static int get(int fd, const char *path, const struct condition *c, bool only_version)
{
    struct buf data = BUF_EMPTY;
    uint64_t version = 0;
    int rc = read_version(fd, path, &data, &version);

    if (rc == CLI_OK && c->version_set && version != c->version)
        rc = cli_fail(CLI_MISMATCH, "%s: the version is %llu, not %llu", path,
                      (unsigned long long)version, (unsigned long long)c->version);
    if (rc == CLI_OK && only_version)
        printf("%llu\n", (unsigned long long)version);
    else if (rc == CLI_OK && fwrite(data.data, 1, data.len, stdout) != data.len)
        rc = CLI_FAILED;
    buf_fini(&data);
    if (fflush(stdout) != 0)
        rc = cli_fail(CLI_FAILED, "standard output: %s", explain_errno(errno));
    return rc;
}

int cli_get(int argc, char **argv)
{
    struct condition condition = {0};
    bool only_version = false;
    int fd, rc;

    if (!parse_condition(argc, argv, &condition, &only_version))
        return CLI_USAGE;
    if (optind != argc - 1)
        return CLI_SHOW_USAGE;
    fd = path_open(argv[optind], O_RDONLY, 0);
    if (fd < 0)
        return CLI_FAILED;
    rc = get(fd, argv[optind], &condition, only_version);
    close(fd);
    return rc;
}
