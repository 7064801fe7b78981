/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, and mount(8)'s -o: words, each ended by a NUL or the end of the input. Accepted
 * values are within the bounds that the daemon relies on. A refusal is explained in one message. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/options.h"

#define WORDS_MAX 40

static void check_members(const struct options *o)
{
    check(o->n_members <= LIMIT_MEMBERS_MAX);
    check(o->n_members == 0 || o->listen != NULL);
    for (unsigned i = 0; i < o->n_members; i++) {
        check(o->members[i].id > 0 && o->members[i].id != o->id);
        check(strlen(o->members[i].address) <= LIMIT_ADDRESS);
        check(strchr(o->members[i].address, ':') != NULL);
        for (unsigned j = 0; j < i; j++)
            check(o->members[j].id != o->members[i].id);
    }
}

static void check_options(const struct options *o)
{
    check(o->name != NULL && o->name[0] != '\0' && o->name[0] != '.');
    check(strlen(o->name) <= LIMIT_CLUSTER_NAME && strchr(o->name, '/') == NULL);
    check(o->state != NULL && o->state[0] != '\0');
    check(o->mount == NULL || o->mount[0] != '\0');
    check(o->id >= 1 && o->id <= INT64_MAX);
    check(o->election_ms >= 100 && o->election_ms <= 60000);
    check(o->heartbeat_ms <= o->election_ms / 2);
    check(o->timeout_ms >= 1000 && o->timeout_ms <= 3600000);
    check(o->session_ttl_ms >= LIMIT_SESSION_TTL_MIN && o->session_ttl_ms <= LIMIT_SESSION_TTL_MAX);
    check(o->compact_every >= 16 && o->compact_trailing >= 16);
    check(o->log_level >= LOG_LEVEL_ERROR && o->log_level <= LOG_LEVEL_DEBUG);
    check_members(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char program[] = "coordfsd", errmsg[256] = "";
    char *text = xcalloc(len + 1, 1), *word = text;
    char *argv[WORDS_MAX + 2] = {program};
    enum options_action action;
    struct options o;
    int argc = 1;

    if (len > 0)
        memcpy(text, data, len);
    for (; argc <= WORDS_MAX && word < text + len; word += strlen(word) + 1)
        argv[argc++] = word;
    action = options_parse(argc, argv, &o, errmsg, sizeof errmsg);
    if (action == OPTIONS_RUN)
        check_options(&o);
    check((action == OPTIONS_ERROR) == (errmsg[0] != '\0'));
    options_fini(&o);
    free(text);
    return 0;
}
