#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""differential.py [-c CALLS] [-n SEEDS] [-s FIRST] REFERENCE SUBJECT [SUBJECT]

Random programs give the same answers on a local filesystem and on coordfs. REFERENCE is a directory
of a local filesystem. SUBJECT is a mount; with two SUBJECTs, the program's processes work on the
two mounts of one tree in turn.

A program is a list of CALLS calls that three processes make one after another: a process of root, a
process of another user, and a second process of root. A process can fork in the place of another,
and be killed. The seed determines the program. Each call has an answer: a result, or the name of an
errno. At the end the whole tree is compared. The first different answer is printed with the seed,
the number of the call and both answers; then the program is shortened while it still differs, and
printed. The exit status is 1 if there was a difference.

Not compared: access times, inode numbers, the size and the order of directories, blocks and holes,
the pid of F_GETLK, the times of fifos. The data of a fifo stay on one host, so only processes of
the first mount open fifos. With two mounts, each call comes after a barrier, each write is followed
by fsync, and a lock that another host has just closed may be taken for a moment.
"""
import argparse
import ctypes
import errno
import fcntl
import json
import mmap
import os
import random
import select
import shutil
import signal
import socket
import stat
import struct
import sys
import time
import zlib

SYNC = 0xCF01  # COORDFS_IOC_SYNC
PROCESSES, SLOTS = 3, 3
USERS = [(0, 0, []), (1000, 1000, [2000]), (0, 0, [])]
PATIENCE_S = 120  # for one answer
OLD_NS = 1_000_000_000  # times that a program sets are below 100 s
LIBC = ctypes.CDLL(None, use_errno=True)
OFD_GETLK, OFD_SETLK = 36, 37


# ---- A process of a program -----------------------------------------------------------------------


def fail(code):
    raise OSError(code, os.strerror(code))


def summary(data):
    return [len(data), zlib.crc32(data)]


def pattern(n, size):
    return (b'%d,' % n * (size // 2 + 1))[:size]


def time_of(ns):
    return ns if ns < 100 * OLD_NS else 'now'


def describe(st):
    kind = stat.S_IFMT(st.st_mode)
    size = st.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else None
    changed = None if kind == stat.S_IFIFO else time_of(st.st_mtime_ns)
    return [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, size, changed]


class Process:
    """The state of one process, and one method op_NAME for each call. It works below `root`."""

    def __init__(self, root, number, settles):
        self.root, self.first_mount, self.settles = root, number % 2 == 0, settles
        self.slots, self.maps = {}, {}

    def at(self, path):
        return os.path.join(self.root, path)

    def fd(self, slot):
        if slot not in self.slots:
            fail(errno.EBADF)
        return self.slots[slot]

    def settle(self, fd):
        if self.settles:
            os.fsync(fd)

    def put(self, slot, fd):
        if slot in self.slots:
            os.close(self.slots[slot])
        self.slots[slot] = fd

    # Files.

    def op_open(self, n, slot, path, flags, mode):
        try:
            if not self.first_mount and stat.S_ISFIFO(os.stat(self.at(path)).st_mode):
                return 'a fifo'
        except OSError:
            pass
        fd = os.open(self.at(path), flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
        self.put(slot, fd)
        if flags & os.O_TRUNC and stat.S_ISREG(os.fstat(fd).st_mode):
            self.settle(fd)
        return describe(os.fstat(fd))

    def op_close(self, n, slot):
        os.close(self.fd(slot))
        del self.slots[slot]

    def op_dup(self, n, slot, to):
        self.put(to, os.dup(self.fd(slot)))

    def op_read(self, n, slot, size):
        return summary(os.read(self.fd(slot), size))

    def op_pread(self, n, slot, size, offset):
        return summary(os.pread(self.fd(slot), size, offset))

    def op_write(self, n, slot, size):
        fd = self.fd(slot)
        done = os.write(fd, pattern(n, size))
        if stat.S_ISREG(os.fstat(fd).st_mode):
            self.settle(fd)
        return done

    def op_pwrite(self, n, slot, size, offset):
        done = os.pwrite(self.fd(slot), pattern(n, size), offset)
        self.settle(self.fd(slot))
        return done

    def op_lseek(self, n, slot, offset, whence):
        if stat.S_ISDIR(os.fstat(self.fd(slot)).st_mode):
            return None  # positions in directories differ
        return os.lseek(self.fd(slot), offset, whence)

    def op_ftruncate(self, n, slot, size):
        os.ftruncate(self.fd(slot), size)
        self.settle(self.fd(slot))

    def op_truncate(self, n, path, size):
        os.truncate(self.at(path), size)

    def op_fallocate(self, n, slot, mode, offset, size):
        if LIBC.fallocate(self.fd(slot), mode, ctypes.c_long(offset), ctypes.c_long(size)) != 0:
            fail(ctypes.get_errno())

    def op_copy(self, n, slot, to, size, offset, to_offset):
        if stat.S_ISFIFO(os.fstat(self.fd(slot)).st_mode | os.fstat(self.fd(to)).st_mode):
            return None
        done = os.copy_file_range(self.fd(slot), self.fd(to), size, offset, to_offset)
        self.settle(self.fd(to))
        return done

    def op_fsync(self, n, slot):
        if not stat.S_ISFIFO(os.fstat(self.fd(slot)).st_mode):
            os.fsync(self.fd(slot))

    def op_fstat(self, n, slot):
        return describe(os.fstat(self.fd(slot)))

    def op_fchmod(self, n, slot, mode):
        os.fchmod(self.fd(slot), mode)

    # Names.

    def op_mkdir(self, n, path, mode):
        os.mkdir(self.at(path), mode)

    def op_rmdir(self, n, path):
        os.rmdir(self.at(path))

    def op_unlink(self, n, path):
        os.unlink(self.at(path))

    def op_rename(self, n, path, to, flags):
        old, new = os.fsencode(self.at(path)), os.fsencode(self.at(to))
        if LIBC.renameat2(-100, old, -100, new, flags) != 0:
            fail(ctypes.get_errno())

    def op_link(self, n, path, to):
        os.link(self.at(path), self.at(to), follow_symlinks=False)

    def op_symlink(self, n, target, path):
        os.symlink(target, self.at(path))

    def op_readlink(self, n, path):
        return os.readlink(self.at(path))

    def op_mkfifo(self, n, path, mode):
        os.mkfifo(self.at(path), mode)

    def op_list(self, n, path):
        return sorted(os.listdir(self.at(path)))

    def op_listfd(self, n, slot):
        return sorted(os.listdir(self.fd(slot)))

    # Attributes.

    def op_stat(self, n, path):
        return describe(os.stat(self.at(path)))

    def op_lstat(self, n, path):
        return describe(os.lstat(self.at(path)))

    def op_access(self, n, path, mode):
        return os.access(self.at(path), mode, effective_ids=True)

    def op_chmod(self, n, path, mode):
        os.chmod(self.at(path), mode)

    def op_chown(self, n, path, uid, gid):
        os.lchown(self.at(path), uid, gid)

    def op_utime(self, n, path, seconds):
        ns = seconds * OLD_NS
        os.utime(self.at(path), ns=(ns, ns), follow_symlinks=False)

    def op_touch(self, n, path):
        os.utime(self.at(path))

    def op_umask(self, n, mask):
        return os.umask(mask)

    def op_setxattr(self, n, path, name, size, flags):
        os.setxattr(self.at(path), name, pattern(n, size), flags)

    def op_getxattr(self, n, path, name):
        return summary(os.getxattr(self.at(path), name))

    def op_removexattr(self, n, path, name):
        os.removexattr(self.at(path), name)

    def op_listxattr(self, n, path):
        return sorted(os.listxattr(self.at(path), follow_symlinks=False))

    # Locks. A request never waits.

    def op_flock(self, n, slot, how):
        fd = self.fd(slot)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            fcntl.flock(fd, how | fcntl.LOCK_NB)

    def op_lock(self, n, slot, command, kind, start, size):
        fd = self.fd(slot)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        asked = struct.pack('hhlli4x', kind, os.SEEK_SET, start, size, 0)
        got = struct.unpack('hhlli4x', fcntl.fcntl(fd, command, asked))
        return got[:4] if command in (fcntl.F_GETLK, OFD_GETLK) else None

    # Mappings.

    def op_map(self, n, slot):
        fd = self.fd(slot)
        if slot in self.maps:
            self.maps.pop(slot)[0].close()
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.fstat(fd).st_size == 0:
            return None
        mapped = mmap.mmap(fd, 0)
        self.maps[slot] = mapped, os.dup(fd)
        return len(mapped)

    def mapped(self, slot, offset):
        if slot not in self.maps:
            fail(errno.EFAULT)
        mapped, fd = self.maps[slot]
        length = min(len(mapped), os.fstat(fd).st_size)  # no SIGBUS
        if offset >= length:
            fail(errno.EFAULT)
        return mapped, fd, length

    def op_load(self, n, slot, offset):
        mapped, _, length = self.mapped(slot, offset)
        return summary(mapped[offset:length])

    def op_store(self, n, slot, offset, size):
        mapped, fd, length = self.mapped(slot, offset)
        end = min(length, offset + size)
        mapped[offset:end] = pattern(n, end - offset)
        mapped.flush()
        self.settle(fd)

    def op_unmap(self, n, slot):
        mapped, fd, _ = self.mapped(slot, 0)
        mapped.close()
        os.close(fd)
        del self.maps[slot]

    # The whole tree.

    def op_tree(self, n):
        out = {}
        for top, dirs, files in os.walk(self.root):
            for name in ['.'] + dirs + files:
                p = os.path.join(top, name)
                st = os.lstat(p)
                xattrs = [[x, summary(os.getxattr(p, x, follow_symlinks=False))]
                          for x in sorted(os.listxattr(p, follow_symlinks=False))]
                content = None
                if stat.S_ISREG(st.st_mode):
                    with open(p, 'rb') as f:
                        content = summary(f.read())
                elif stat.S_ISLNK(st.st_mode):
                    content = os.readlink(p)
                out[os.path.relpath(p, self.root)] = [describe(st), xattrs, content]
        return dict(sorted(out.items()))

    def answer(self, n, name, args):
        try:
            return getattr(self, 'op_' + name)(n, *args)
        except OSError as e:
            return errno.errorcode.get(e.errno, str(e))
        except (ValueError, BufferError, OverflowError) as e:
            return str(e)

    def serve(self, channel):
        """Answers calls until the channel ends. Never returns."""
        while True:
            message, fds, _, _ = socket.recv_fds(channel, 65536, 1)
            if not message:
                os._exit(0)
            n, name, args = json.loads(message)
            if name == 'fork':
                if os.fork() == 0:
                    channel.close()
                    channel = socket.socket(fileno=fds[0])
                    channel.send(json.dumps(os.getpid()).encode())
                    continue
                os.close(fds[0])
                answer = None
            else:
                answer = self.answer(n, name, args)
            channel.sendall(json.dumps(answer).encode())


# ---- Running a program ----------------------------------------------------------------------------


class Lane:
    """A side of the comparison: a directory of a local filesystem, one mount, or two mounts."""

    def __init__(self, roots, work):
        self.work = os.path.join(roots[0], work)
        # One level deeper, so that a symlink to ../a stays inside.
        self.roots = [os.path.join(r, work, 'tree') for r in roots]
        self.two = len(roots) > 1
        self.barriers = [os.open(r, os.O_RDONLY) for r in roots] if self.two else []
        self.channels, self.pids, self.groups = {}, {}, {}

    def barrier(self, mount):
        if self.two:
            fcntl.ioctl(self.barriers[mount], SYNC)

    def start(self, p, group):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            for c in self.channels.values():
                c.close()
            ours.close()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            uid, gid, groups = USERS[p]
            os.umask(0o022)
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            Process(self.roots[group % len(self.roots)], group, self.two).serve(theirs)
        theirs.close()
        self.keep(p, ours, pid, group)

    def keep(self, p, channel, pid, group):
        channel.settimeout(PATIENCE_S)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.channels[p], self.pids[p], self.groups[p] = channel, pid, group

    def end(self, p):
        """Kills process p and waits until its files are closed."""
        gone = os.pidfd_open(self.pids[p])
        os.kill(self.pids[p], signal.SIGKILL)
        if not select.select([gone], [], [], PATIENCE_S)[0]:
            sys.exit(f'process {self.pids[p]} does not end')
        os.close(gone)
        self.channels.pop(p).close()
        try:
            os.waitpid(self.pids[p], 0)
        except ChildProcessError:
            pass  # a process of the program was its parent

    def fork(self, n, p, q):
        group = self.groups[p]
        self.end(q)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(self.channels[p], [json.dumps([n, 'fork', []]).encode()],
                        [theirs.fileno()])
        theirs.close()
        ours.settimeout(PATIENCE_S)
        pid = json.loads(ours.recv(100))
        self.channels[p].recv(100)
        self.keep(q, ours, pid, group)

    def ask(self, n, p, name, args):
        self.barrier(self.groups[p] % 2)
        self.channels[p].sendall(json.dumps([n, name, args]).encode())
        try:
            return json.loads(self.channels[p].recv(1 << 20))
        except TimeoutError:
            return 'no answer'

    def call(self, n, call, expected):
        p, name, *args = call
        if name == 'kill':
            self.end(p)
            self.start(p, p)
            return None
        if name == 'fork':
            self.fork(n, p, args[0])
            return None
        answer = self.ask(n, p, name, args)
        tries = 60 if self.two and expected is None and name in ('flock', 'lock') else 0
        while answer == 'EAGAIN' and tries > 0:
            time.sleep(0.05)  # another host's close(2) is on its way
            answer, tries = self.ask(n, p, name, args), tries - 1
        return answer

    def run(self, program, expected):
        """Yields the answers. expected: those of the reference, or None."""
        os.makedirs(self.roots[0])
        os.chmod(self.roots[0], 0o777)
        try:
            for p in range(PROCESSES):
                self.start(p, p)
            for n, call in enumerate(program):
                yield self.call(n, call, expected[n] if expected else 0)
            for p in (0, 2):
                self.end(p)
                self.start(p, p if p == 0 else 1)
                yield self.ask(len(program), p, 'tree', [])
        finally:
            for p in list(self.channels):
                self.end(p)
            for fd in self.barriers:
                fcntl.ioctl(fd, SYNC)
                os.close(fd)
            shutil.rmtree(self.work)


def first_difference(options, program, label):
    """None, or the number of the call, the reference's answer, the subjects' answer, their names."""
    work = f'differential-{os.getpid()}-{label}'
    wanted = list(Lane([options.reference], work).run(program, None))
    sides = [('one mount', options.subjects[:1])]
    if len(options.subjects) > 1:
        sides.append(('two mounts', options.subjects))
    for name, roots in sides:
        for n, answer in enumerate(Lane(roots, work).run(program, wanted)):
            if answer != wanted[n]:
                return n, wanted[n], answer, name
    return None


# ---- Making a program -----------------------------------------------------------------------------


def random_path(r, last='abcdef'):
    """a and b are directories and the other names are not, most of the time."""
    if r.random() < 0.1:
        last = 'abcdef'
    depth = r.choices([0, 1, 2], [6, 4, 1])[0]
    return '/'.join([r.choice('ab') for _ in range(depth)] + [r.choice(last)])


def random_file(r):
    return random_path(r, 'cde')


def random_directory(r):
    return random_path(r, 'ab')


def random_size(r):
    return r.choice([0, 1, 5, 100, 4095, 4096, 4097, 8192, 9000, 16384, 20000])


def random_flags(r):
    flags = r.choices([os.O_RDONLY, os.O_WRONLY, os.O_RDWR], [2, 1, 4])[0]
    for flag, chance in ((os.O_CREAT, .7), (os.O_EXCL, .1), (os.O_TRUNC, .15), (os.O_APPEND, .15),
                         (os.O_DIRECTORY, .05), (os.O_NOFOLLOW, .05), (os.O_SYNC, .05)):
        if r.random() < chance:
            flags |= flag
    if flags & os.O_DIRECTORY:
        flags &= ~os.O_CREAT  # Linux itself changed this combination
    return flags


def random_mode(r):
    return r.choice([0o644, 0o600, 0o666, 0o666, 0o755, 0o777, 0o777, 0o400, 0o2755, 0o2666, 0o4755, 0o6777,
                     0o1777, 0])


def random_lock(r):
    command = r.choice([fcntl.F_SETLK, fcntl.F_SETLK, OFD_SETLK, fcntl.F_GETLK, OFD_GETLK])
    kind = r.choice([fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK])
    if command in (fcntl.F_GETLK, OFD_GETLK) and kind == fcntl.F_UNLCK:
        kind = fcntl.F_RDLCK
    return [command, kind, r.randrange(0, 40, 10), r.choice([0, 1, 10, 15])]


CALLS = {  # name: weight, arguments
    'open': (18, lambda r: [slot(r), random_file(r), random_flags(r), random_mode(r)]),
    'close': (3, lambda r: [slot(r)]),
    'dup': (1, lambda r: [slot(r), slot(r)]),
    'read': (4, lambda r: [slot(r), random_size(r)]),
    'pread': (4, lambda r: [slot(r), random_size(r), random_size(r)]),
    'write': (6, lambda r: [slot(r), random_size(r)]),
    'pwrite': (4, lambda r: [slot(r), random_size(r), random_size(r)]),
    'lseek': (2, lambda r: [slot(r), random_size(r), r.randrange(3)]),
    'ftruncate': (2, lambda r: [slot(r), random_size(r)]),
    'truncate': (2, lambda r: [random_file(r), random_size(r)]),
    'fallocate': (2, lambda r: [slot(r), r.choice([0, 1, 3, 16, 17]), random_size(r),
                                random_size(r)]),
    'copy': (2, lambda r: [slot(r), slot(r), random_size(r), random_size(r), random_size(r)]),
    'fsync': (1, lambda r: [slot(r)]),
    'fstat': (3, lambda r: [slot(r)]),
    'fchmod': (1, lambda r: [slot(r), random_mode(r)]),
    'mkdir': (6, lambda r: [random_directory(r), r.choice([0o755, 0o777, 0o777, 0o2777, 0o1777, 0o700])]),
    'rmdir': (2, lambda r: [random_directory(r)]),
    'unlink': (4, lambda r: [random_file(r)]),
    'rename': (6, lambda r: [random_path(r), random_path(r), r.choice([0, 0, 0, 1, 2, 2, 3])]),
    'link': (3, lambda r: [random_file(r), random_file(r)]),
    'symlink': (2, lambda r: [r.choice(['a', 'b/c', '../a', 'none', 'c']), random_file(r)]),
    'readlink': (1, lambda r: [random_file(r)]),
    'mkfifo': (1, lambda r: [random_file(r), 0o666]),
    'list': (3, lambda r: [random_directory(r)]),
    'listfd': (1, lambda r: [slot(r)]),
    'stat': (5, lambda r: [random_path(r)]),
    'lstat': (3, lambda r: [random_path(r)]),
    'access': (1, lambda r: [random_path(r), r.randrange(8)]),
    'chmod': (3, lambda r: [random_path(r), random_mode(r)]),
    'chown': (2, lambda r: [random_path(r), r.choice([-1, 0, 1000]), r.choice([-1, 0, 1000, 2000])]),
    'utime': (3, lambda r: [random_path(r), r.randrange(1, 90)]),
    'touch': (1, lambda r: [random_path(r)]),
    'umask': (1, lambda r: [r.choice([0, 0o022, 0o077])]),
    'setxattr': (3, lambda r: [random_path(r), r.choice(['user.a', 'user.b']),
                               r.choice([0, 1, 50, 300]), r.choice([0, 0, 1, 2])]),
    'getxattr': (1, lambda r: [random_path(r), r.choice(['user.a', 'user.b'])]),
    'removexattr': (1, lambda r: [random_path(r), r.choice(['user.a', 'user.b'])]),
    'listxattr': (1, lambda r: [random_path(r)]),
    'flock': (6, lambda r: [slot(r), r.choice([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN])]),
    'lock': (8, lambda r: [slot(r)] + random_lock(r)),
    'map': (2, lambda r: [slot(r)]),
    'load': (3, lambda r: [slot(r), r.choice([0, 10, 4096])]),
    'store': (3, lambda r: [slot(r), r.choice([0, 10, 4096]), r.choice([1, 100, 5000])]),
    'unmap': (1, lambda r: [slot(r)]),
    'fork': (.7, lambda r: [r.randrange(1, PROCESSES)]),
    'kill': (.7, lambda r: []),
}


def slot(r):
    return r.randrange(SLOTS)


ON_SLOTS = {'close', 'dup', 'read', 'pread', 'write', 'pwrite', 'lseek', 'ftruncate', 'fallocate',
            'copy', 'fsync', 'fstat', 'fchmod', 'flock', 'lock', 'map', 'load', 'store'}


def make_program(seed, calls):
    r = random.Random(seed)
    names, weights = list(CALLS), [c[0] for c in CALLS.values()]
    program = [[0, 'mkdir', d, 0o777] for d in ('a', 'b', 'a/a', 'a/b')]
    used = [set() for _ in range(PROCESSES)]  # slots that each process has opened, or tried to
    for name in r.choices(names, weights, k=calls - len(program)):
        p = r.randrange(PROCESSES)
        args = CALLS[name][1](r)
        if name in ON_SLOTS and args[0] not in used[p] and used[p]:
            args[0] = r.choice(sorted(used[p]))
        if name in ('open', 'kill'):
            used[p] = used[p] | {args[0]} if args else set()
        if name == 'fork':
            args = [(p + args[0]) % PROCESSES]
        program.append([p, name, *args])
    return program


# ---- Shortening -----------------------------------------------------------------------------------


def shorten(options, program, seconds):
    """Leaves out calls while some answer still differs."""
    end = time.monotonic() + seconds
    size = max(1, len(program) // 2)
    tries = 0
    while size >= 1:
        at = 0
        while at < len(program):
            if time.monotonic() > end:
                return program
            shorter = program[:at] + program[at + size:]
            tries += 1
            found = first_difference(options, shorter, f's{tries}')
            if found:
                program = shorter[:found[0] + 1]
            else:
                at += size
        size //= 2
    return program


def show(seed, found, program):
    n, wanted, got, side = found
    call = program[n] if n < len(program) else 'the tree at the end'
    if n >= len(program) and isinstance(wanted, dict) and isinstance(got, dict):
        wanted, got = ({k: v for k, v in x.items() if x is not None and other.get(k) != v}
                       for x, other in ((wanted, got), (got, wanted)))
    print(f'seed {seed}, call {n}, {side}: {call}\n  reference: {wanted}\n  coordfs:   {got}',
          flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('-c', dest='calls', type=int, default=1000)
    p.add_argument('-n', dest='seeds', type=int, default=200)
    p.add_argument('-s', dest='first', type=int, default=1)
    p.add_argument('--shorten', type=float, default=60, metavar='SECONDS')
    p.add_argument('reference')
    p.add_argument('subjects', nargs='+')
    options = p.parse_args()
    differ = 0
    for seed in range(options.first, options.first + options.seeds):
        program = make_program(seed, options.calls)
        found = first_difference(options, program, seed)
        if found is None:
            continue
        differ += 1
        show(seed, found, program)
        short = shorten(options, program[:found[0] + 1], options.shorten)
        again = first_difference(options, short, 'short')
        if again:
            print(f'  shortened to {len(short)} calls:')
            for call in short:
                print('   ', call)
            show(seed, again, short)
    print(f'{options.seeds} programs of {options.calls} calls, {differ} with a difference')
    sys.exit(1 if differ else 0)


main()
