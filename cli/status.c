/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/control.h"

static const char *text(const json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));

    return value != NULL ? value : "-";
}

static long long number(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void print_number(const json_t *o, const char *key, int width)
{
    const json_t *value = json_object_get(o, key);

    if (json_is_integer(value) && json_integer_value(value) >= 0)
        printf(" %*lld", width, (long long)json_integer_value(value));
    else
        printf(" %*s", width, "-");
}

static const char *link_text(const json_t *member)
{
    if (json_is_true(json_object_get(member, "self")))
        return "self";
    return json_is_true(json_object_get(member, "linked")) ? "up" : "down";
}

static void print_members(const json_t *status)
{
    json_t *members = json_object_get(status, "members");
    long long leader = number(status, "leader");
    json_t *m;
    size_t i;

    printf("\n%6s  %-8s %-24s %-5s %10s %10s\n", "MEMBER", "ROLE", "ADDRESS", "LINK", "MATCH",
           "LAG");
    json_array_foreach(members, i, m)
    {
        bool leads = leader != 0 && number(m, "id") == leader;

        printf("%6lld  %-8s %-24s %-5s", number(m, "id"), leads ? "leader" : text(m, "role"),
               text(m, "address"), link_text(m));
        print_number(m, "match", 10);
        print_number(m, "lag", 10);
        printf("\n");
    }
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

static void print_status(const json_t *status)
{
    const json_t *store = json_object_get(status, "store");

    printf("cluster   %s, member %lld (%s), up %.1f s\n", text(status, "cluster"),
           number(status, "id"), text(status, "state"), (double)number(status, "uptime_ms") / 1000);
    printf("mount     %s\n", text(status, "mount"));
    print_mirror(status);
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
    char *state;
    json_t *status;

    if (argc != (as_json ? 3 : 2))
        return cli_fail(CLI_USAGE, "usage: coordfs status [--json] MOUNT|NAME|STATEDIR");
    state = control_find(argv[argc - 1]);
    if (state == NULL)
        return CLI_FAILED;
    status = control_ask(state, "status");
    free(state);
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
