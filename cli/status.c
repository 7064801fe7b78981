/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs status: what a member knows, for people or as JSON. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/control.h"
#include "cli/table.h"

static const char *text(const json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));

    return value != NULL ? value : "-";
}

static long long number(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static const char *link_text(const json_t *member)
{
    if (json_is_true(json_object_get(member, "self")))
        return "self";
    return json_is_true(json_object_get(member, "linked")) ? "up" : "down";
}

static void print_members(const json_t *status)
{
    static const struct table_column columns[] = {
        {"MEMBER", "id", true},  {"ROLE", "role", false},  {"ADDRESS", "address", false},
        {"LINK", "link", false}, {"MATCH", "match", true}, {"LAG", "lag", true},
    };
    json_t *members = json_object_get(status, "members");
    long long leader = number(status, "leader");
    json_t *m;
    size_t i;

    json_array_foreach(members, i, m)
    {
        if (leader != 0 && number(m, "id") == leader)
            json_object_set_new(m, "role", json_string("leader"));
        json_object_set_new(m, "link", json_string(link_text(m)));
    }
    putchar('\n');
    table_print(columns, ARRAY_LEN(columns), members);
}

static void print_leader(const json_t *status)
{
    if (number(status, "leader") != 0)
        printf("leader    %lld, term %lld\n", number(status, "leader"), number(status, "term"));
    else
        printf("leader    none: no quorum for %.1f s, term %lld\n",
               (double)number(status, "no_leader_ms") / 1000, number(status, "term"));
}

static void print_mirror(const json_t *status)
{
    const json_t *m = json_object_get(status, "mirror");

    if (!json_is_object(m))
        return;
    printf("mirror    ");
    if (json_is_true(json_object_get(m, "on")))
        printf("on, %lld changes of other hosts made known\n", number(m, "done"));
    else
        printf("off: %s\n", text(m, "why"));
}

/* An older daemon does not tell its options. */
static void print_options(const json_t *status)
{
    json_t *options = json_object_get(status, "options"), *value;
    const char *key, *before = "options   ";

    json_object_foreach(options, key, value)
    {
        if (json_is_integer(value))
            printf("%s%s=%lld", before, key, (long long)json_integer_value(value));
        else
            printf("%s%s=%s", before, key, json_string_value(value));
        before = ",";
    }
    if (json_object_size(options) > 0)
        putchar('\n');
}

static void print_names(const json_t *status)
{
    const json_t *n = json_object_get(status, "names");

    if (!json_is_object(n))
        return;
    printf(
        "names     %lld updated, 99 %% within %lld ms, all within %lld ms; %lld wait, %lld late\n",
        number(n, "updated"), number(n, "p99_ms"), number(n, "max_ms"), number(n, "stale"),
        number(n, "late"));
}

static void print_status(const json_t *status)
{
    const json_t *store = json_object_get(status, "store");

    printf("cluster   %s, member %lld (%s), up %.1f s\n", text(status, "cluster"),
           number(status, "id"), text(status, "state"), (double)number(status, "uptime_ms") / 1000);
    printf("mount     %s\n", text(status, "mount"));
    print_options(status);
    print_mirror(status);
    print_names(status);
    print_leader(status);
    printf("index     commit %lld, applied %lld, log %lld..%lld\n", number(status, "commit"),
           number(status, "applied"), number(status, "first"), number(status, "last"));
    printf("tree      %lld entries, %lld bytes of data, database %lld bytes\n",
           number(store, "inodes"), number(store, "bytes"), number(store, "file_bytes"));
    printf("hash      %s\n", text(status, "hash"));
    print_members(status);
}

int cli_status(int argc, char **argv)
{
    bool as_json = argc > 1 && strcmp(argv[1], "--json") == 0;
    json_t *status;

    if (argc != (as_json ? 3 : 2))
        return CLI_SHOW_USAGE;
    status = control_ask(argv[argc - 1], "status");
    if (status == NULL)
        return CLI_FAILED;
    if (as_json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        printf("\n");
    } else {
        print_status(status);
    }
    json_decref(status);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}
