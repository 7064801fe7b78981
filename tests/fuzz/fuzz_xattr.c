/* SPDX-License-Identifier: Apache-2.0 */
/* Values of xattrs with a meaning: a byte for the name, one for the inode, the value. Any value is
 * accepted or refused. An accepted value is stored until it is removed, ACLs are inherited and
 * follow chmod, and the invariants of the tree hold. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tests/lib/store_kit.h"

#define CHECK_EVERY 5000 /* inputs; then a new tree begins */

static const char *const names[] = {
    "system.posix_acl_access",
    "system.posix_acl_default",
    "security.capability",
    "user.coordfs.ephemeral",
    "user.coordfs.ttl",
    "user.coordfs.container",
    "user.coordfs.guard",
    "user.coordfs.quota.bytes",
    "user.coordfs.quota.entries",
    "user.coordfs.history",
    "user.coordfs.owner",
    "trusted.x",
    "user.plain",
};

static struct kit kit;
static uint64_t inodes[3];
static unsigned inputs;

static void begin(void)
{
    kit_init(&kit);
    inodes[0] = 1;
    inodes[1] = kit_dir(&kit, 1, "d");
    inodes[2] = kit_file(&kit, 1, "f");
}

static void end(void)
{
    kit_fini(&kit); /* with store_check() */
    memset(&kit, 0, sizeof kit);
}

int LLVMFuzzerInitialize(int *argc BASE_UNUSED, char ***argv BASE_UNUSED)
{
    log_set_level(LOG_LEVEL_ERROR);
    setenv("TMPDIR", "/dev/shm", 0);
    begin();
    atexit(end);
    return 0;
}

static void use(uint64_t ino, const char *name)
{
    char value[70000];

    check(reader_getxattr(kit.reader, ino, name, strlen(name), value, sizeof value) >= -1000);
    kit_chmod(&kit, ino, 0700 | (inputs & 077));
    kit_write(&kit, inodes[2], inputs % 1000, "x", 1);
    kit_make_as(&kit, inodes[1], "new", S_IFREG | 0664, 5, 6);
    kit_unlink(&kit, inodes[1], "new");
    kit_make_as(&kit, inodes[1], "sub", S_IFDIR | 0775, 5, 6);
    kit_rmdir(&kit, inodes[1], "sub");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *name;
    uint64_t ino;

    if (len < 2)
        return 0;
    name = names[data[0] % ARRAY_LEN(names)];
    ino = inodes[data[1] % ARRAY_LEN(inodes)];
    if (kit_setxattr(&kit, ino, name, data + 2, len - 2, CFS__SET_XATTR__MODE__ANY) == 0) {
        use(ino, name);
        kit_removexattr(&kit, ino, name);
    }
    if (++inputs % CHECK_EVERY != 0)
        return 0;
    end();
    begin();
    return 0;
}
