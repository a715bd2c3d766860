"""A real mount that passes everything through to a folder and has no locks, as some network file systems have none.

    python -m tests.lockless FOLDER MOUNTPOINT

Runs until it is unmounted. Needs libfuse 2.9 on 64-bit Linux (Debian: libfuse2), /dev/fuse and root.
"""

# The methods are system calls of the same names, whose arguments C fixes; paths are bytes, as they come.
# ruff: noqa: ARG002, D102, PTH101, PTH102, PTH105, PTH106, PTH108, PTH208

import ctypes
import errno
import os
import sys
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)

LIBRARY = "libfuse.so.2"
# In the order of libfuse 2.9's struct fuse_operations; those without a function here are left empty. Between bmap and ioctl are flags.
OPERATIONS = (
    "getattr", "readlink", "getdir", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "chmod", "chown", "truncate",
    "utime", "open", "read", "write", "statfs", "flush", "release", "fsync", "setxattr", "getxattr", "listxattr", "removexattr",
    "opendir", "readdir", "releasedir", "fsyncdir", "init", "destroy", "access", "create", "ftruncate", "fgetattr", "lock", "utimens",
    "bmap", "flags", "ioctl", "poll", "write_buf", "read_buf", "flock", "fallocate",
)  # fmt: skip


class Stat(Structure):
    """`struct stat` of x86-64."""

    _fields_ = (
        ("dev", c_uint64), ("ino", c_uint64), ("nlink", c_uint64), ("mode", c_uint32), ("uid", c_uint32), ("gid", c_uint32),
        ("pad", c_uint32), ("rdev", c_uint64), ("size", c_int64), ("blksize", c_int64), ("blocks", c_int64), ("times", c_int64 * 6),
        ("unused", c_int64 * 3),
    )  # fmt: skip


class FileInfo(Structure):
    """`struct fuse_file_info`, whose `fh` is ours."""

    _fields_ = (
        ("flags", c_int), ("fh_old", c_uint64), ("writepage", c_int), ("bits", c_uint32), ("fh", c_uint64), ("lock_owner", c_uint64),
    )  # fmt: skip


FILE = POINTER(FileInfo)
FILL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p, c_int64)
ARGUMENTS = {
    "getattr": (POINTER(Stat),), "mkdir": (c_uint32,), "unlink": (), "rmdir": (), "rename": (c_char_p,), "link": (c_char_p,),
    "chmod": (c_uint32,), "truncate": (c_int64,), "open": (FILE,), "read": (c_void_p, c_size_t, c_int64, FILE),
    "write": (c_void_p, c_size_t, c_int64, FILE), "flush": (FILE,), "release": (FILE,), "fsync": (c_int, FILE),
    "readdir": (c_void_p, FILL, c_int64, FILE), "create": (c_uint32, FILE), "lock": (FILE, c_int, c_void_p),
    "utimens": (POINTER(c_int64 * 4),), "flock": (FILE, c_int),
}  # fmt: skip


class PassedThrough:
    """The operations of a file system on the files of a folder; each returns 0 or more, or raises OSError."""

    def __init__(self, root):
        self.root = os.fsencode(root)

    def _at(self, path):
        return self.root + path

    def getattr(self, path, into):
        about = os.lstat(self._at(path))
        into[0] = Stat(
            about.st_dev, about.st_ino, about.st_nlink, about.st_mode, about.st_uid, about.st_gid, 0, about.st_rdev, about.st_size,
            about.st_blksize, about.st_blocks,
            (c_int64 * 6)(*(part for t in (about.st_atime_ns, about.st_mtime_ns, about.st_ctime_ns) for part in divmod(t, 10**9))),
        )  # fmt: skip

    def mkdir(self, path, mode):
        os.mkdir(self._at(path), mode)

    def unlink(self, path):
        os.unlink(self._at(path))

    def rmdir(self, path):
        os.rmdir(self._at(path))

    def rename(self, path, to):
        os.replace(self._at(path), self._at(to))

    def link(self, path, to):
        os.link(self._at(path), self._at(to))

    def chmod(self, path, mode):
        os.chmod(self._at(path), mode)

    def truncate(self, path, size):
        os.truncate(self._at(path), size)

    def open(self, path, about):
        about[0].fh = os.open(self._at(path), about[0].flags & ~os.O_APPEND)

    def create(self, path, mode, about):
        about[0].fh = os.open(self._at(path), about[0].flags & ~os.O_APPEND | os.O_CREAT, mode)

    def read(self, path, into, size, offset, about):
        content = os.pread(about[0].fh, size, offset)
        ctypes.memmove(into, content, len(content))
        return len(content)

    def write(self, path, content, size, offset, about):
        return os.pwrite(about[0].fh, ctypes.string_at(content, size), offset)

    def flush(self, path, about):
        """Nothing is held back."""

    def release(self, path, about):
        os.close(about[0].fh)

    def fsync(self, path, only_data, about):
        os.fsync(about[0].fh)

    def readdir(self, path, into, fill, offset, about):
        for name in (b".", b"..", *os.listdir(self._at(path))):
            fill(into, name, None, 0)

    def utimens(self, path, times):
        at, at_ns, changed, changed_ns = times[0]
        os.utime(self._at(path), ns=(at * 10**9 + at_ns, changed * 10**9 + changed_ns))

    def lock(self, path, about, command, lock):
        raise OSError(errno.ENOLCK, "no locks")

    def flock(self, path, about, operation):
        raise OSError(errno.ENOLCK, "no locks")


def answering(method):
    """Make a method what C calls: an error is its negative number."""

    def answer(*arguments):
        try:
            return method(*arguments) or 0
        except OSError as error:
            return -(error.errno or errno.EIO)

    return answer


def serve(root, mountpoint):
    """Mount, and answer until it is unmounted."""
    library, system = ctypes.CDLL(LIBRARY), PassedThrough(root)
    functions = [
        CFUNCTYPE(c_int, c_char_p, *ARGUMENTS[name])(answering(getattr(system, name))) if name in ARGUMENTS else None
        for name in OPERATIONS
    ]
    table = (c_void_p * len(OPERATIONS))(*(ctypes.cast(each, c_void_p) if each else None for each in functions))
    words = [b"lockless", os.fsencode(mountpoint), b"-f", b"-s", b"-o", b"use_ino,attr_timeout=0,entry_timeout=0"]
    return library.fuse_main_real(len(words), (c_char_p * len(words))(*words), byref(table), ctypes.sizeof(table), None)


if __name__ == "__main__":
    sys.exit(serve(*sys.argv[1:]))
