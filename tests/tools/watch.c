/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a file that a reader on another host sees while the file is replaced.
 *
 *   watch FILE OLD NEW COMMAND ARGUMENTS…
 *
 * Runs the command (without input and output), and reads FILE all the time until the command has
 * ended and FILE shows NEW (for ten seconds at most). Each look is one read of up to 1 MiB past the
 * page cache, so it returns one state of the file. Unexpected states are printed. OLD and NEW are
 * files with the content before and after.
 *
 * Prints the states as letters: o OLD, n NEW, e empty (if neither OLD nor NEW is), p a beginning of
 * NEW, a no such file, x anything else; then the number of looks and the exit status of the
 * command. If OLD or NEW does not exist, it stands for no file. Exit status 1: the looks themselves
 * failed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define CONTENT_MAX (1u << 20)
#define SETTLE_MS   10000

struct content {
    ssize_t len; /* -1: no such file */
    char *data;
};

static bool read_file(const char *path, int flags, struct content *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags), saved;

    if (fd < 0) {
        out->len = -1;
        /* ESTALE: it was unlinked twice while the path was walked. */
        return errno == ENOENT || errno == ESTALE;
    }
    out->len = pread(fd, out->data, CONTENT_MAX, 0);
    saved = errno;
    close(fd);
    errno = saved;
    return out->len >= 0;
}

static struct content content_new(void)
{
    struct content c = {.len = -1, .data = aligned_alloc(4096, CONTENT_MAX)};

    check(c.data != NULL);
    return c;
}

static struct content content_of(const char *path)
{
    struct content c = content_new();

    if (!read_file(path, 0, &c))
        die("%s: %s", path, strerror(errno));
    return c;
}

static bool begins(const struct content *whole, const struct content *part)
{
    return part->len <= whole->len && memcmp(whole->data, part->data, (size_t)part->len) == 0;
}

static char letter(const struct content *seen, const struct content *before,
                   const struct content *after)
{
    if (seen->len == after->len && (seen->len < 0 || begins(after, seen)))
        return 'n';
    if (seen->len < 0)
        return 'a';
    if (seen->len == before->len && begins(before, seen))
        return 'o';
    if (seen->len == 0)
        return 'e';
    return begins(after, seen) ? 'p' : 'x';
}

static pid_t start(char **argv)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        for (int fd = 0; fd <= 2; fd++)
            if (dup2(null, fd) < 0)
                _exit(126);
        close(null);
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

/* Prints an unexpected state. */
static void show(const struct content *seen)
{
    fprintf(stderr, "watch: %zd bytes:", seen->len);
    for (ssize_t i = 0; i < seen->len && i < 64; i++)
        fprintf(stderr, " %02x", (unsigned char)seen->data[i]);
    fprintf(stderr, "\n");
}

/* Adds the letter when its state is seen for the first time. */
static void note(char *seen, char c)
{
    size_t n = strlen(seen);

    if (strchr(seen, c) == NULL) {
        seen[n] = c;
        seen[n + 1] = '\0';
    }
}

int main(int argc, char **argv)
{
    struct content before, after, now = content_new();
    uint64_t looks = 0, ended_ms = 0;
    char seen[8] = "", last;
    int status = 0;
    pid_t pid;

    if (argc < 5) {
        fprintf(stderr, "usage: watch FILE OLD NEW COMMAND...\n");
        return 2;
    }
    before = content_of(argv[2]);
    after = content_of(argv[3]);
    pid = start(argv + 4);
    for (;;) {
        if (ended_ms == 0 && waitpid(pid, &status, WNOHANG) == pid)
            ended_ms = clock_boot_ms();
        if (!read_file(argv[1], O_DIRECT, &now)) {
            fprintf(stderr, "watch: %s: %s\n", argv[1], strerror(errno));
            return 1;
        }
        looks++;
        last = letter(&now, &before, &after);
        if (last == 'x' && strchr(seen, 'x') == NULL)
            show(&now);
        note(seen, last);
        if (ended_ms != 0 && (last == 'n' || clock_boot_ms() - ended_ms > SETTLE_MS))
            break;
    }
    printf("%s %llu %d\n", seen, (unsigned long long)looks,
           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}
