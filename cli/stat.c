/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs stat: shows the results of stat(2) and the xattrs user.coordfs.*. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/path.h"

/* In the order of the output. */
static const struct {
    const char *name;
    bool is_number;
} xattrs[] = {
    {"version", true},       {"cversion", true},  {"aversion", true},
    {"created", true},       {"modified", true},  {"children_modified", true},
    {"ephemeral", false},    {"owner", true},     {"ttl", true},
    {"expires", true},       {"container", true}, {"guard", false},
    {"sequence", true},      {"fence", true},     {"quota.bytes", true},
    {"quota.entries", true},
};

static const char *type_of(mode_t mode)
{
    return S_ISREG(mode)    ? "file"
           : S_ISDIR(mode)  ? "directory"
           : S_ISLNK(mode)  ? "symlink"
           : S_ISFIFO(mode) ? "fifo"
           : S_ISSOCK(mode) ? "socket"
           : S_ISBLK(mode)  ? "block"
                            : "char";
}

static void add_xattr(json_t *o, const char *path, size_t i)
{
    char *name = xasprintf("user.coordfs.%s", xattrs[i].name), *end;
    char value[65536];
    ssize_t n = lgetxattr(path, name, value, sizeof value - 1);
    long long number;

    free(name);
    if (n < 0)
        return;
    value[n] = '\0';
    number = strtoll(value, &end, 10);
    json_object_set_new(o, xattrs[i].name,
                        xattrs[i].is_number && *end == '\0' ? json_integer(number)
                                                            : json_string(value));
}

/* Adds XXH3-64 of the content, as transactions compare it. False after a message. */
static bool add_hash(json_t *o, const char *path)
{
    XXH3_state_t *state = XXH3_createState();
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char bytes[65536], text[17];
    ssize_t n = -1;

    check(state != NULL);
    XXH3_64bits_reset(state);
    while (fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0)
        XXH3_64bits_update(state, bytes, (size_t)n);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)XXH3_64bits_digest(state));
    XXH3_freeState(state);
    if (n == 0)
        json_object_set_new(o, "hash", json_string(text));
    else
        cli_fail(0, "%s: %s", path, explain_errno(errno));
    if (fd >= 0)
        close(fd);
    return n == 0;
}

/* Gives; NULL after a message. */
static json_t *describe(const char *path, bool hash)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    char mode[8];
    json_t *o;

    if (fd < 0 || fstat(fd, &st) < 0) {
        cli_fail(0, "%s: %s", path, explain_errno(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    if (!path_check(fd, path)) {
        close(fd);
        return NULL;
    }
    close(fd);
    snprintf(mode, sizeof mode, "%04o", (unsigned)st.st_mode & 07777);
    o = json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "path", path, "type",
                  type_of(st.st_mode), "ino", (json_int_t)st.st_ino, "mode", mode, "uid",
                  (json_int_t)st.st_uid, "gid", (json_int_t)st.st_gid, "links",
                  (json_int_t)st.st_nlink, "size", (json_int_t)st.st_size, "mtime",
                  (json_int_t)st.st_mtime);
    if (o == NULL) {
        cli_fail(0, "%s: the name is not valid UTF-8: stat cannot show it", path);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(xattrs); i++)
        add_xattr(o, path, i);
    if (hash && S_ISREG(st.st_mode) && !add_hash(o, path)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void print_aligned(json_t *o)
{
    const char *key;
    json_t *value;

    json_object_foreach(o, key, value)
    {
        if (json_is_integer(value))
            printf("%-18s %lld\n", key, (long long)json_integer_value(value));
        else
            printf("%-18s %s\n", key, json_string_value(value));
    }
}

int cli_stat(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"hash", no_argument, NULL, 'h'}, {0}};
    bool as_json = false, hash = false;
    int c, rc = CLI_OK;

    while ((c = cli_option(argc, argv, "", options)) >= 0) {
        if (c == '?')
            return CLI_USAGE;
        as_json = as_json || c == 'j';
        hash = hash || c == 'h';
    }
    if (optind == argc)
        return CLI_SHOW_USAGE;
    for (int i = optind; i < argc; i++) {
        json_t *o = describe(argv[i], hash);

        if (o == NULL) {
            rc = CLI_FAILED;
            continue;
        }
        if (i > optind && !as_json)
            putchar('\n');
        if (as_json) {
            json_dumpf(o, stdout, JSON_COMPACT);
            putchar('\n');
        } else {
            print_aligned(o);
        }
        json_decref(o);
    }
    return fflush(stdout) == 0 ? rc : CLI_FAILED;
}
