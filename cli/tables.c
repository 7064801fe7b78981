/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs locks, coordfs sessions: lists from a daemon, as tables or as JSON. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/control.h"
#include "cli/table.h"

struct list {
    const char *command; /* of the control socket; its answer has the list under the same name */
    const struct table_column *columns;
    size_t n_columns;
};

static const struct table_column lock_columns[] = {
    {"MEMBER", "member", false}, {"SESSION", "session", false}, {"PID", "pid", false},
    {"KIND", "kind", false},     {"MODE", "mode", false},       {"START", "start", false},
    {"END", "end", false},       {"WAITS", "waiting", false},   {"FENCE", "fence", false},
    {"INODE", "ino", false},     {"PATH", "path", false},
};

static const struct table_column session_columns[] = {
    {"SESSION", "id", false},      {"MEMBER", "member", false}, {"TTL_MS", "ttl_ms", false},
    {"SEEN_MS", "seen_ms", false}, {"SELF", "self", false},
};

static const struct list locks = {"locks", lock_columns, ARRAY_LEN(lock_columns)};
static const struct list sessions = {"sessions", session_columns, ARRAY_LEN(session_columns)};

static int show(const struct list *l, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
    bool as_json = false;
    json_t *answer, *rows;
    int c;

    while ((c = cli_option(argc, argv, "", options)) >= 0) {
        if (c == '?')
            return CLI_USAGE;
        as_json = true;
    }
    if (optind < argc - 1)
        return CLI_SHOW_USAGE;
    answer = control_ask(optind < argc ? argv[optind] : ".", l->command);
    if (answer == NULL)
        return CLI_FAILED;
    rows = json_object_get(answer, l->command);
    if (as_json) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        table_print(l->columns, l->n_columns, rows);
    }
    json_decref(answer);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

int cli_locks(int argc, char **argv)
{
    return show(&locks, argc, argv);
}

int cli_sessions(int argc, char **argv)
{
    return show(&sessions, argc, argv);
}
