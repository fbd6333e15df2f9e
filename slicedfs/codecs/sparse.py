"""A file of which some bytes are known: reading others raises Need, so that a parser can be run again with more. Pure.

A parser that expects a seekable file (tifffile) thus reads headers without doing I/O, and without knowing.
"""

from slicedfs.codecs.tile import HEADER_BYTES
from slicedfs.ranges import ByteRange

__all__ = ["ENDLESS", "Need", "SparseFile"]

ENDLESS = 1 << 62
"""The size of a file whose end is not known."""
_MAX_BLANK_BYTES = 1 << 24


class Need(BaseException):
    """Bytes are read that are not known yet; no Exception, so that parsers do not swallow it."""

    def __init__(self, range_: ByteRange) -> None:
        super().__init__(range_)
        self.range = range_


class SparseFile:
    """A readable, seekable binary file that knows some ranges of its bytes.

    Attributes
    ----------
    size
        Bytes of the file, or a very large number while the end is not known.
    """

    def __init__(self) -> None:
        self.size = ENDLESS
        self._known: list[tuple[int, bytes]] = []  # (start, bytes)
        self._blank: dict[int, int] = {}  # start -> stop
        self._at = 0

    @property
    def known_bytes(self) -> int:
        """How many bytes are known."""
        return sum(len(data) for _, data in self._known)

    def add(self, start: int, data: bytes, asked: int) -> None:
        """Make the bytes from `start` known; fewer than `asked` mean that the file ends after them."""
        for i, (known_start, known) in enumerate(self._known):
            if known_start + len(known) == start:
                self._known[i] = (known_start, known + data)
                break
        else:
            self._known.append((start, data))
        if len(data) < asked:
            self.size = min(self.size, start + len(data))

    def first(self, n: int) -> bytes:
        """Return the first `n` bytes; fewer where fewer are known."""
        return next((data[:n] for start, data in self._known if start == 0), b"")

    def knows(self, start: int, stop: int) -> bool:
        """Return whether the bytes from `start` to `stop` are known."""
        return any(at <= start and stop <= at + len(data) for at, data in self._known)

    def blank(self, start: int, stop: int) -> None:
        """Let the bytes from `start` to `stop`, where they are not known, read as zeros if read from `start` on."""
        self._blank[start] = max(stop, self._blank.get(start, 0))

    def overwrite(self, start: int, data: bytes) -> None:
        """Let the known bytes from `start` read as `data`."""
        for i, (known_start, known) in enumerate(self._known):
            at = start - known_start
            if 0 <= at <= len(known) - len(data):
                self._known[i] = (known_start, known[:at] + data + known[at + len(data) :])

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a byte, as files do."""
        self._at = (0, self._at, self.size)[whence] + offset
        return self._at

    def tell(self) -> int:
        """Return the current byte."""
        return self._at

    def read(self, n: int = -1) -> bytes:
        """Return `n` bytes; fewer only at the end of the file.

        Raises
        ------
        Need
            Some of them are not known; its range starts at the first of these, and is `HEADER_BYTES` long.
        """
        start, stop = self._at, min(self.size, self._at + n if n >= 0 else self.size)
        for known_start, known in self._known:
            if known_start <= start <= stop <= known_start + len(known):  # nearly always
                self._at = stop
                return known[start - known_start : stop - known_start]
        is_blank = stop <= self._blank.get(start, 0)
        data = self._read(start, max(start, stop), is_blank=is_blank)
        self._at += len(data)
        return data

    def _read(self, start: int, stop: int, *, is_blank: bool) -> bytes:
        if start == stop:
            return b""
        for known_start, known in self._known:
            if known_start <= start < known_start + len(known):
                part = known[start - known_start : stop - known_start]
                return part + self._read(start + len(part), stop, is_blank=is_blank)
        if not is_blank:
            raise Need(ByteRange(start, start + HEADER_BYTES))
        if stop - start > _MAX_BLANK_BYTES:
            raise ValueError(f"its header refers to a table of {stop - start:,} bytes")
        return bytes(stop - start)
