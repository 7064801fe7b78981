# SPDX-License-Identifier: Apache-2.0
"""follow MOUNT OUT STATE: appends the lines of MOUNT/.coordfs/events to OUT, from the beginning of
the history. If the daemon dies, it continues after the last complete index. Ends when the file STOP
exists beside OUT and everything up to the index in STOP was seen."""
import fcntl, json, os, select, struct, sys, time

WATCH = 1 << 30 | 4112 << 16 | 0xCF << 8 | 16
SINCE, RECURSIVE = 1, 2


def open_feed(mount, since):
    fd = os.open(mount + "/.coordfs/events", os.O_RDONLY | os.O_NONBLOCK)
    order = bytearray(struct.pack("<QII4096s", since, SINCE | RECURSIVE, 1, b"/"))
    fcntl.ioctl(fd, WATCH, order)
    return fd


def lines_of(fd, stop, seen):
    """Yields whole lines; ends when the file `stop` says so."""
    rest = b""
    p = select.poll()
    p.register(fd, select.POLLIN)
    while True:
        p.poll(200)
        try:
            data = os.read(fd, 1000)
        except BlockingIOError:
            if os.path.exists(stop) and not rest and seen() >= int(open(stop).read()):
                return
            continue
        if not data:
            raise OSError("the feed ended")
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def main(mount, out_name):
    stop = os.path.join(os.path.dirname(out_name), "stop")
    out = open(out_name, "wb")
    since, entry, resumed = 0, [], 0
    while True:
        try:
            fd = open_feed(mount, since)
            for line in lines_of(fd, stop, lambda: since):
                change = json.loads(line)
                if "error" in change:
                    sys.exit("compacted: " + line.decode())
                entry.append(line + b"\n")
                if change["more"] == 0:  # the index is complete
                    out.write(b"".join(entry))
                    since, entry = change["index"], []
            break
        except OSError:
            entry = []
            resumed += 1
            time.sleep(0.05)
    out.close()
    print(resumed)


main(sys.argv[1], sys.argv[2])
