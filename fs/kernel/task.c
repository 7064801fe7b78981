/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/task.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool task_is_stuck(int tid)
{
    char path[32], text[256];
    const char *end;
    ssize_t n;
    int fd;

    if (tid == 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/stat", tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    end = strrchr(text, ')'); /* of the name, which may hold anything */
    return end != NULL && strncmp(end, ") D ", 4) == 0;
}
