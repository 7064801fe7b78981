/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs locks, coordfs sessions: lists that a daemon gives, as tables. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/control.h"

#define COLUMNS_MAX 12

struct table {
    const char *command; /* of the control socket; its answer has the list by the same name */
    struct column {
        const char *title;
        const char *key;
    } columns[COLUMNS_MAX];
};

static const struct table locks = {
    "locks",
    {{"MEMBER", "member"},
     {"SESSION", "session"},
     {"PID", "pid"},
     {"KIND", "kind"},
     {"MODE", "mode"},
     {"START", "start"},
     {"END", "end"},
     {"WAITS", "waiting"},
     {"FENCE", "fence"},
     {"INODE", "ino"},
     {"PATH", "path"}},
};

static const struct table sessions = {
    "sessions",
    {{"SESSION", "id"},
     {"MEMBER", "member"},
     {"TTL_MS", "ttl_ms"},
     {"SEEN_MS", "seen_ms"},
     {"SELF", "self"}},
};

/* Ends of ranges are 2^63 - 1 when there is none. */
static void cell(const json_t *row, const struct column *column, char *out, size_t size)
{
    const json_t *value = json_object_get(row, column->key);

    if (json_is_integer(value) && json_integer_value(value) == INT64_MAX)
        snprintf(out, size, "eof");
    else if (json_is_integer(value))
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_string(value))
        snprintf(out, size, "%s", json_string_value(value));
    else
        snprintf(out, size, "%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-");
}

static size_t width_of(const struct column *column, const json_t *rows)
{
    size_t width = strlen(column->title);
    char text[4200];

    for (size_t i = 0; i < json_array_size(rows); i++) {
        cell(json_array_get(rows, i), column, text, sizeof text);
        width = max_u64(width, strlen(text));
    }
    return width;
}

static void print_table(const struct table *t, const json_t *rows)
{
    size_t widths[COLUMNS_MAX], n = 0;
    char text[4200];

    for (; n < COLUMNS_MAX && t->columns[n].key != NULL; n++)
        widths[n] = width_of(&t->columns[n], rows);
    for (size_t c = 0; c < n; c++)
        printf(c + 1 < n ? "%-*s  " : "%-*s\n", c + 1 < n ? (int)widths[c] : 0,
               t->columns[c].title);
    for (size_t i = 0; i < json_array_size(rows); i++)
        for (size_t c = 0; c < n; c++) {
            cell(json_array_get(rows, i), &t->columns[c], text, sizeof text);
            printf(c + 1 < n ? "%-*s  " : "%-*s\n", c + 1 < n ? (int)widths[c] : 0, text);
        }
}

static int show(const struct table *t, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
    bool as_json = false;
    json_t *answer, *rows;
    char *state;
    int c;

    while ((c = cli_option(argc, argv, "", options)) >= 0) {
        if (c == '?')
            return CLI_USAGE;
        as_json = true;
    }
    if (optind < argc - 1)
        return CLI_SHOW_USAGE;
    state = control_find(optind < argc ? argv[optind] : ".");
    if (state == NULL)
        return CLI_FAILED;
    answer = control_ask(state, t->command);
    free(state);
    if (answer == NULL)
        return CLI_FAILED;
    rows = json_object_get(answer, t->command);
    if (as_json) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_table(t, rows);
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
