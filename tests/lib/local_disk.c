/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/local_disk.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

/* With mount -o loop, the device frees itself when it is unmounted. */
static const char make[] = "PATH=$PATH:/usr/sbin:/sbin && truncate -s 256M '%s.image' && "
                           "mkfs.ext4 -q -F -b 4096 '%s.image' && mount -o loop '%s.image' '%s'";

bool local_disk_mount(char dir[LOCAL_DISK_PATH])
{
    const char *tmp = getenv("TMPDIR");
    char command[sizeof(make) + 4 * LOCAL_DISK_PATH], path[LOCAL_DISK_PATH + 16];
    bool mounted;

    if (tmp == NULL || strlen(tmp) > 60)
        tmp = "/tmp";
    snprintf(dir, LOCAL_DISK_PATH, "%s/local-disk.XXXXXX", tmp);
    if (mkdtemp(dir) == NULL || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        perror(dir);
        rmdir(dir);
        return false;
    }
    snprintf(command, sizeof(command), make, dir, dir, dir, dir);
    mounted = system(command) == 0;
    snprintf(path, sizeof(path), "%s.image", dir);
    unlink(path);
    if (!mounted) {
        rmdir(dir);
        return false;
    }
    snprintf(path, sizeof(path), "%s/lost+found", dir);
    check(rmdir(path) == 0 && chmod(dir, 0755) == 0);
    return true;
}

void local_disk_unmount(const char *dir)
{
    check(umount2(dir, 0) == 0);
    rmdir(dir);
}
