/* SPDX-License-Identifier: Apache-2.0 */
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
#include "cli/txn_text.h"

#define TEXT_MAX (8u << 20) /* a transaction of 1 MiB, every byte escaped */

static bool read_text(struct buf *out)
{
    ssize_t n;

    do {
        buf_reserve(out, 65536);
        n = read(STDIN_FILENO, out->data + out->len, 65536);
        out->len += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && out->len <= TEXT_MAX) || (n < 0 && errno == EINTR));
    if (n < 0)
        return cli_bad("standard input: %s", explain_errno(errno));
    return n == 0 || cli_bad("standard input: %s", explain_text(EXPLAIN_TOO_LARGE));
}

/* Prints the path of the step; for a sequential entry, with the name that it got. */
static void print_path(const Cfs__TxnStep *step, const Cfs__StepReply *reply)
{
    size_t dir = step->path.len;

    if (reply->name.len == 0) {
        fwrite(step->path.data, 1, step->path.len, stdout);
        return;
    }
    while (dir > 0 && step->path.data[dir - 1] != '/')
        dir--;
    fwrite(step->path.data, 1, dir, stdout);
    fwrite(reply->name.data, 1, reply->name.len, stdout);
}

static void print_steps(const struct txn_text *t, const Cfs__Reply *reply)
{
    for (size_t i = 0; i < reply->n_steps && i < t->txn->n_steps; i++) {
        printf("%zu %s ", i + 1, t->verbs[i]);
        print_path(t->txn->steps[i], reply->steps[i]);
        if (reply->steps[i]->attr != NULL)
            printf(" version %llu", (unsigned long long)reply->steps[i]->attr->version);
        putchar('\n');
    }
}

static int fail_step(const struct txn_text *t, const Cfs__Reply *reply)
{
    size_t at = reply->value;
    const Cfs__TxnStep *step;
    char *why;

    if (at == 0 || at > reply->n_steps || at > t->txn->n_steps)
        return cli_fail(CLI_FAILED, "txn: %s", explain_errno((int)reply->status));
    step = t->txn->steps[at - 1];
    why = transact_why(step, reply->steps[at - 1]);
    cli_fail(0, "txn: line %u: %s %.*s: %s", t->lines[at - 1], t->verbs[at - 1],
             (int)step->path.len, (const char *)step->path.data, why);
    free(why);
    return transact_is_mismatch(t->txn, reply) ? CLI_MISMATCH : CLI_FAILED;
}

static int run_text(int fd, const struct txn_text *t)
{
    Cfs__Reply *reply = transact_run(fd, t->txn);
    int rc = CLI_OK;

    if (reply == NULL)
        return cli_fail(CLI_FAILED, "txn: %s", transact_error(errno));
    if (reply->status != 0)
        rc = fail_step(t, reply);
    else
        print_steps(t, reply);
    cfs__reply__free_unpacked(reply, NULL);
    return fflush(stdout) == 0 ? rc
                               : cli_fail(CLI_FAILED, "standard output: %s", explain_errno(errno));
}

static int run_in(const char *dir, int fd)
{
    struct buf text = BUF_EMPTY;
    struct path_mount mounted;
    struct txn_text t;
    char why[512];
    int rc = CLI_FAILED;

    if (!path_find_mount(fd, &mounted))
        return cli_fail(CLI_FAILED, "%s: %s", dir, explain_text(EXPLAIN_NOT_COORDFS));
    if (!read_text(&text))
        rc = CLI_FAILED;
    else if (txn_text_parse((const char *)text.data, text.len, &mounted, cli_umask(), &t, why,
                            sizeof why) != 0)
        rc = cli_fail(CLI_USAGE, "txn: %s", why);
    else {
        rc = run_text(fd, &t);
        txn_text_fini(&t);
    }
    buf_fini(&text);
    path_mount_fini(&mounted);
    return rc;
}

int cli_txn(int argc, char **argv)
{
    static const struct option options[] = {{"directory", required_argument, NULL, 'C'}, {0}};
    const char *dir = ".";
    int c, fd, rc;

    while ((c = cli_option(argc, argv, "C:", options)) >= 0) {
        if (c != 'C')
            return CLI_USAGE;
        dir = optarg;
    }
    if (optind != argc)
        return CLI_SHOW_USAGE;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail(CLI_FAILED, "%s: %s", dir, explain_errno(errno));
    rc = run_in(dir, fd);
    close(fd);
    return rc;
}
