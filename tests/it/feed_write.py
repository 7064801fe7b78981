# SPDX-License-Identifier: Apache-2.0
"""feed_write MOUNT WHO DIR: makes changes of all kinds in MOUNT until DIR/enough exists, and repeats
those that fail. The number of rounds is in DIR/count-WHO."""
import os, sys, time


def change(f, n):
    with open(f, "w") as out:
        out.write(f"{n}\n")
    os.chmod(f, 0o600)
    if os.path.exists(f + ".link"):
        os.unlink(f + ".link")
    os.link(f, f + ".link")
    os.makedirs(f + ".dir", exist_ok=True)
    os.rename(f, f + ".dir/moved")
    os.rename(f + ".dir", f"{f}.Dir{n}")
    os.unlink(f"{f}.Dir{n}/moved")
    os.rmdir(f"{f}.Dir{n}")


def main(mount, who, out):
    n = 0
    while not os.path.exists(out + "/enough"):
        n += 1
        try:
            change(f"{mount}/w{who}-{n % 20}", n)
            time.sleep(0.01)
        except OSError:
            time.sleep(0.05)
        with open(f"{out}/count-{who}", "w") as count:
            count.write(f"{n}\n")


main(*sys.argv[1:])
