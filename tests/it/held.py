#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""held.py A B SECONDS: a file that is in use keeps working after its last name is gone.

A and B are two mounts of one tree, or the same local directory twice. Inodes of each type are held
on A in each way that needs no name. Then A or B removes the name, or puts another inode in its
place. After SECONDS, in which the cluster reaps files that it regards as unused, everything must
work as on a local filesystem. Prints each difference; the exit status is 0 if there was none."""
import os
import socket
import stat
import subprocess
import sys
import time

A, B, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
KINDS = [('fifo', 'open'), ('fifo', 'path'), ('socket', 'path'), ('directory', 'open'),
         ('directory', 'path'), ('directory', 'cwd'), ('directory', 'bind'), ('file', 'open'),
         ('file', 'path'), ('file', 'bind'), ('program', 'runs'), ('device', 'path'),
         ('symlink', 'path')]
bad = 0


class Held:
    def __init__(self, kind, way, side, how):
        self.kind, self.way, self.side, self.how = kind, way, side, how
        self.label = f'{kind}, {way}, {how} on {side}'
        name = f'held-{os.getpid()}-{kind}-{way}-{side}-{how}'
        self.dir, self.other = os.path.join(A, name), os.path.join(B, name)
        self.fd = self.bound = self.child = None

    def make(self):
        p = os.path.join(self.dir, 'x')
        os.mkdir(self.dir)
        if self.kind == 'fifo':
            os.mkfifo(p)
        elif self.kind == 'socket':
            s = socket.socket(socket.AF_UNIX)
            where = os.open(self.dir, os.O_PATH)  # a socket's address is short
            s.bind(f'/proc/self/fd/{where}/x')
            os.close(where)
        elif self.kind == 'directory':
            os.mkdir(p)
        elif self.kind == 'file':
            with open(p, 'w') as f:
                f.write('old')
        elif self.kind == 'program':
            subprocess.check_call(['cp', '/bin/sleep', p])
        elif self.kind == 'device':
            os.mknod(p, 0o644 | stat.S_IFCHR, os.makedev(1, 3))
        elif self.kind == 'symlink':
            os.symlink('target', p)
        if self.kind != 'symlink':
            os.chmod(p, 0o755)

    def hold(self):
        p = os.path.join(self.dir, 'x')
        if self.way == 'open':
            self.fd = os.open(p, os.O_RDONLY if self.kind == 'directory' else os.O_RDWR)
        elif self.way == 'path':
            self.fd = os.open(p, os.O_PATH | os.O_NOFOLLOW)
        elif self.way == 'cwd':
            self.child = subprocess.Popen(['sleep', '1000'], cwd=p)
        elif self.way == 'runs':
            self.child = subprocess.Popen([p, '1000'])
        elif self.way == 'bind':
            self.bound = f'{sys.argv[4]}/{os.path.basename(self.dir)}'
            if self.kind == 'directory':
                os.mkdir(self.bound)
            else:
                open(self.bound, 'w').close()
            subprocess.check_call(['mount', '--bind', p, self.bound])

    def end(self):
        p = os.path.join(self.dir if self.side == 'A' else self.other, 'x')
        if self.how == 'removed':
            (os.rmdir if self.kind == 'directory' else os.unlink)(p)
        elif self.kind == 'directory':
            os.mkdir(p + 'new')
            os.rename(p + 'new', p)
        else:
            with open(p + 'new', 'w') as f:
                f.write('new')
            os.rename(p + 'new', p)

    def place(self):
        if self.fd is not None:
            return f'/proc/self/fd/{self.fd}'
        if self.child is not None:
            return f'/proc/{self.child.pid}/' + ('cwd' if self.way == 'cwd' else 'exe')
        return self.bound

    def want(self, what, fn, wanted):
        global bad
        try:
            got = fn()
        except OSError as e:
            got = e.strerror
        if got != wanted:
            bad += 1
            print(f'{self.label}: {what}: {got!r}, expected {wanted!r}')

    def look(self, mode):
        if self.fd is not None:
            self.want('fstat', lambda: (oct(os.fstat(self.fd).st_mode & 0o777),
                                        os.fstat(self.fd).st_nlink), (oct(mode), 0))
        else:
            self.want('stat', lambda: oct(os.stat(self.place()).st_mode & 0o777), oct(mode))

    def check(self):
        p = self.place()
        if self.kind == 'symlink':
            self.look(0o777)
            self.want('readlink', lambda: os.readlink('', dir_fd=self.fd), 'target')
            return
        self.look(0o755)
        self.want('chmod', lambda: os.chmod(p, 0o711), None)
        self.look(0o711)
        self.want('utime', lambda: os.utime(p, (1, 1)), None)
        self.want('chown', lambda: os.chown(p, 5, 5), None)
        self.want('mtime', lambda: os.stat(p).st_mtime, 1)
        self.want('listxattr', lambda: os.listxattr(p), [])
        self.want('ACL', lambda: os.getxattr(p, 'system.posix_acl_access'), 'No data available')
        getattr(self, self.kind)(p)

    def xattr(self, p):
        self.want('setxattr', lambda: os.setxattr(p, 'user.a', b'b'), None)
        self.want('getxattr', lambda: os.getxattr(p, 'user.a'), b'b')

    def directory(self, p):
        self.xattr(p)
        self.want('list', lambda: os.listdir(p), [])
        self.want('create', lambda: os.open(p + '/z', os.O_CREAT | os.O_WRONLY),
                  'No such file or directory')
        self.want('look up', lambda: os.stat(p + '/z'), 'No such file or directory')

    def file(self, p):
        def read():
            with open(p) as f:
                return f.read()

        def write():
            with open(p, 'w') as f:
                return f.write('more')
        self.xattr(p)
        self.want('read', read, 'old')
        self.want('write', write, 4)
        self.want('read again', read, 'more')
        self.want('truncate', lambda: os.truncate(p, 1), None)
        self.want('read the rest', read, 'm')

    def program(self, p):
        self.want('alive', self.child.poll, None)
        self.want('run again', lambda: subprocess.call([p, '0']), 0)

    def fifo(self, p):
        self.want('write', lambda: os.write(os.open(p, os.O_RDWR), b'x'), 1)

    def socket(self, p):
        pass

    def device(self, p):
        self.want('type', lambda: os.stat(p).st_rdev, os.makedev(1, 3))

    def let_go(self):
        if self.bound is not None:
            subprocess.check_call(['umount', self.bound])
        if self.child is not None:
            self.child.kill()
            self.child.wait()
        if self.fd is not None:
            os.close(self.fd)


all_held = [Held(kind, way, side, how) for side in 'AB' for how in ('removed', 'replaced')
            for kind, way in KINDS]
for h in all_held:
    h.make()
    h.hold()
for h in all_held:
    os.stat(os.path.join(h.other, 'x'), follow_symlinks=False)
    h.end()
time.sleep(SECONDS)
try:
    for h in all_held:
        h.check()
finally:
    for h in all_held:
        h.let_go()
for h in all_held:
    subprocess.check_call(['rm', '-r', h.dir])
sys.exit(1 if bad else 0)
