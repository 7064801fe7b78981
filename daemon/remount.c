/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/remount.h"

#include <errno.h>
#include <libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/control.h"

#define PATIENCE_S 10  /* for each of the daemon's two answers */
#define WORD_MAX   512 /* bytes of an option; a message has it whole */

/* ---- In the daemon ----------------------------------------------------------------------------*/

static json_t *error_json(const char *text)
{
    return json_pack("{s:s}", "error", text);
}

json_t *remount_answer(struct daemon *d, const json_t *request)
{
    const json_t *words = json_object_get(request, "options");
    bool apply = json_is_true(json_object_get(request, "apply"));
    struct fs *fs = atomic_load(&d->fs);
    char errmsg[2 * WORD_MAX] = "";
    const char *word;

    if (fs == NULL || !json_is_array(words))
        return error_json(fs == NULL ? "it has no mount" : "a remount needs its options");
    for (size_t i = 0; i < json_array_size(words); i++) {
        word = json_string_value(json_array_get(words, i));
        if (word == NULL || strlen(word) > WORD_MAX)
            return error_json("an option must be text, and not too long");
        if (!options_accept(&d->options, word, errmsg, sizeof errmsg))
            return error_json(errmsg);
    }
    for (size_t i = 0; apply && i < json_array_size(words); i++)
        options_change(&d->options, json_string_value(json_array_get(words, i)));
    if (apply) {
        log_set_level((enum log_level)d->options.log_level);
        fs_reconfigure(fs, d->options.timeout_ms, d->options.lostlock);
        log_info("remounted: timeout=%u, lostlock=%s", d->options.timeout_ms / 1000,
                 options_lostlock_name(d->options.lostlock));
    }
    return json_pack("{s:b}", "ok", 1);
}

/* ---- In the process that mount(8) started -----------------------------------------------------*/

/* The directory of the daemon that serves the mountpoint; gives. NULL: it is not mounted. Reads
 * /proc/self/mountinfo only: a look-up of the mount could wait for a daemon that does not answer.
 */
static char *find_daemon(const char *mountpoint)
{
    struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
    struct libmnt_fs *fs =
        table != NULL ? mnt_table_find_target(table, mountpoint, MNT_ITER_BACKWARD) : NULL;
    const char *type = fs != NULL ? mnt_fs_get_fstype(fs) : NULL;
    char *link = type != NULL && strcmp(type, "fuse.coordfs") == 0
                     ? control_link(mnt_fs_get_devno(fs))
                     : NULL;

    mnt_unref_table(table);
    return link;
}

static int connect_to(const char *state)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_un addr;
    int dir_fd = control_address(state, &addr);
    int fd, err = 0;

    if (dir_fd < 0)
        return dir_fd;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        err = -errno;
    close(dir_fd);
    if (err != 0 && fd >= 0)
        close(fd);
    return err != 0 ? err : fd;
}

/* Gives. NULL: an option is not UTF-8. */
static json_t *request_json(const struct options *o, bool apply)
{
    char *words = xstrdup(o->words != NULL ? o->words : "");
    char *rest = words, *word, *name = xasprintf("name=%s", o->name);
    json_t *list = json_array(), *request;
    bool utf8 = true;

    json_array_append_new(list, json_string(name));
    while (utf8 && (word = strsep(&rest, ",")) != NULL)
        if (word[0] != '\0')
            utf8 = json_array_append_new(list, json_string(word)) == 0;
    request = json_pack("{s:s, s:o, s:b}", "cmd", "remount", "options", list, "apply", apply);
    check(request != NULL);
    if (!utf8) {
        json_decref(request);
        request = NULL;
    }
    free(words);
    free(name);
    return request;
}

/* NULL: no answer. */
static json_t *exchange(int fd, json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    json_t *answer = NULL;
    FILE *stream = fdopen(fd, "r+");

    check(text != NULL && stream != NULL);
    if (dprintf(fd, "%s\n", text) > 0)
        answer = json_loadf(stream, JSON_DISABLE_EOF_CHECK, NULL);
    fclose(stream);
    free(text);
    json_decref(request);
    return answer;
}

static int ask(const struct options *o, const char *state, bool apply, char *errmsg, size_t len)
{
    json_t *request = request_json(o, apply), *answer;
    int fd, err = 0;
    const char *error;

    if (request == NULL) {
        snprintf(errmsg, len, "%s: remount: an option is not UTF-8", o->mount);
        return -EINVAL;
    }
    fd = connect_to(state);
    if (fd < 0) {
        json_decref(request);
        snprintf(errmsg, len, "%s: remount: its member is not running: unmount it, then mount it",
                 o->mount);
        return fd;
    }
    answer = exchange(fd, request);
    error = json_string_value(json_object_get(answer, "error"));
    if (answer == NULL) {
        snprintf(errmsg, len,
                 "%s: remount: its member does not answer: look for a stopped coordfsd", o->mount);
        err = -ETIMEDOUT;
    } else if (error != NULL) {
        snprintf(errmsg, len, "%s: remount: %s", o->mount, error);
        err = -EINVAL;
    }
    json_decref(answer);
    return err;
}

static int change_flags(const struct options *o, char *errmsg, size_t len)
{
    if (mount(o->name, o->mount, "fuse.coordfs", MS_REMOUNT | o->ms_flags, "") == 0)
        return 0;
    snprintf(errmsg, len, "%s: remount: %s", o->mount, strerror(errno));
    return -EIO;
}

int remount_run(const struct options *o, char *errmsg, size_t errmsg_len)
{
    char *state = find_daemon(o->mount);
    int err;

    if (state == NULL) {
        snprintf(errmsg, errmsg_len, "%s: remount: no coordfs is mounted here", o->mount);
        return -ENOENT;
    }
    err = ask(o, state, false, errmsg, errmsg_len);
    if (err == 0)
        err = change_flags(o, errmsg, errmsg_len);
    if (err == 0)
        err = ask(o, state, true, errmsg, errmsg_len);
    free(state);
    return err;
}
