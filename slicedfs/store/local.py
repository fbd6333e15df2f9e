"""Reading local files: regular files only, by position, in a thread; or mapped into memory."""

import mmap
import os
import stat

from slicedfs.store import replies
from slicedfs.store.door import wait_on_loop
from slicedfs.store.options import Ask, Reply
from slicedfs.store.retry import TryError, Verdict

__all__ = ["map_file", "read_file"]

_BLOCK = 1 << 30  # Linux reads at most 2 GiB at a time
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def read_file(path: str, ask: Ask) -> Reply:
    """Read part of the file at `path`; blocks, and not on the I/O loop's thread.

    Raises
    ------
    TryError
        A directory, a FIFO or a device (reading those can hang for ever); a range past the end; a file that
        shrinks meanwhile.
    OSError
        As the system says.
    """
    want = ask.want
    descriptor = os.open(path, _FLAGS)  # O_NONBLOCK: opening a FIFO must not wait for a writer
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TryError(Verdict(f"it is {_kind(status.st_mode)}, not a file"))
        size = status.st_size
        if want.is_whole:
            replies.check_size(size, ask.limit)
            wait_on_loop(ask.expect(size))
        replies.check_start(want, size)
        stop = size if want.stop is None else min(want.stop, size)
        data = _read(descriptor, want.start, stop - want.start)
    finally:
        os.close(descriptor)
    return Reply(data, size, f"{status.st_ino:x}-{status.st_mtime_ns:x}-{size:x}")


def map_file(path: str) -> memoryview | None:
    """Map a regular local file into memory; None where there is none. Reading says what is wrong with others."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int, start: int, length: int) -> bytes | memoryview:
    if length > _BLOCK and hasattr(os, "preadv"):
        return _read_long(descriptor, start, length)
    if not hasattr(os, "pread"):  # Windows; the descriptor is this call's own, so seeking is safe
        os.lseek(descriptor, start, os.SEEK_SET)
    parts: list[bytes] = []
    done = 0
    while done < length:
        amount = min(length - done, _BLOCK)
        at = start + done
        part = os.pread(descriptor, amount, at) if hasattr(os, "pread") else os.read(descriptor, amount)
        if not part:
            raise _shrunk(done, length)
        parts.append(part)
        done += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_long(descriptor: int, start: int, length: int) -> memoryview:
    """Read what does not come at once into one buffer, so that it is not held twice."""
    view = memoryview(bytearray(length))
    done = 0
    while done < length:
        n = os.preadv(descriptor, [view[done : done + _BLOCK]], start + done)
        if not n:
            raise _shrunk(done, length)
        done += n
    return view


def _shrunk(done: int, length: int) -> TryError:
    return TryError(Verdict(f"the file ended after {done} of {length} bytes", again=True))


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a device or socket"
