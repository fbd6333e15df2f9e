"""Memory for bodies: what nobody holds any more is used again, since new pages cost more than the bytes in them."""

import sys
from collections import deque

import numpy as np

__all__ = ["Buffers"]

_Blocks = deque[np.ndarray[tuple[int], np.dtype[np.uint8]]]
_SMALL_BYTES = 64 << 10
"""Less is allocated as it comes: the allocator keeps small blocks itself."""
_STEP_BYTES = 64 << 10
_KEPT_BYTES = 128 << 20
_LARGEST_BYTES = 32 << 20
_LOOKED_AT = 8


def _references(blocks: _Blocks) -> int:
    return sys.getrefcount(blocks[0])


_FREE = _references(deque([np.empty(1, np.uint8)]))
"""What :func:`_references` says of a block that nobody else holds; interpreters count differently."""
_COUNTS = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Without the lock of the interpreter, counts of references say less."""


class Buffers:
    """Blocks that were handed out; one may be handed out again when nothing refers to it but this.

    A memoryview, an array or a thread that still uses a block holds a reference to it, so that the count of
    references says whether it is free. For one thread: that of the I/O loop.
    """

    __slots__ = ("_bytes", "_kept")

    def __init__(self) -> None:
        self._kept: dict[int, _Blocks] = {}
        self._bytes = 0

    def take(self, size: int) -> memoryview:
        """Return `size` bytes to be written, of any content.

        Raises
        ------
        MemoryError
            There is not that much.
        """
        if not _COUNTS or not _SMALL_BYTES < size <= _LARGEST_BYTES:
            return np.empty(size, np.uint8).data
        room = -(-size // _STEP_BYTES) * _STEP_BYTES
        blocks = self._kept.setdefault(room, deque())
        for _ in range(min(_LOOKED_AT, len(blocks))):
            blocks.rotate(1)
            if _references(blocks) == _FREE:
                return blocks[0].data[:size]
        return self._new(room).data[:size]

    def clear(self) -> None:
        """Keep nothing any more; what is in use stays."""
        self._kept.clear()
        self._bytes = 0

    def _new(self, room: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        block = np.empty(room, np.uint8)
        if self._bytes + room > _KEPT_BYTES:  # other sizes, or all in use: what is read now counts
            self.clear()
        self._kept.setdefault(room, deque()).append(block)
        self._bytes += room
        return block
