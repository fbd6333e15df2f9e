"""The chain of directories (IFDs) of a TIFF file, read beside tifffile, which passes over broken ones. Pure.

Format: TIFF 6.0 (Adobe, 1992), section 2: image file header, image file directory; BigTIFF: the proposal of
AWare Systems, as implemented by libtiff 4.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = ["Directory", "OutlyingValue", "TiffStructure"]

_MAX_ENTRIES = 4096
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class _File(Protocol):
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def read(self, n: int = -1, /) -> bytes: ...


class OutlyingValue(NamedTuple):
    """A value that its entry refers to."""

    tag: int
    """The tag of the entry."""
    entry: int
    """First byte of the entry."""
    start: int
    """First byte of the value."""
    stop: int
    """One past its last byte."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory: the description of one image."""

    offset: int
    """Its first byte."""
    entries: tuple[tuple[int, int, int, int], ...]
    """(tag, type, count, value or its offset) of each entry."""
    inline_bytes: int
    """Values of at most so many bytes lie in the entry itself."""
    following: int = 0
    """First byte of the next directory; 0 after the last one."""

    @property
    def stop(self) -> int:
        """One past its last byte."""
        return self.offset + self._count_bytes + len(self.entries) * self._entry_bytes + self.inline_bytes

    @property
    def _count_bytes(self) -> int:
        return 8 if self.inline_bytes == 8 else 2  # noqa: PLR2004  (BigTIFF)

    @property
    def _entry_bytes(self) -> int:
        return 4 + 2 * self.inline_bytes

    @property
    def tags(self) -> frozenset[int]:
        """The tags that it has."""
        return frozenset(entry[0] for entry in self.entries)

    def same(self, tags: frozenset[int]) -> tuple[tuple[int, int, int, int], ...]:
        """Return the entries of `tags`: two directories for which they are equal agree in these tags."""
        return tuple([entry for entry in self.entries if entry[0] in tags])

    def number(self, tags: tuple[int, ...]) -> int | None:
        """Return the value of the first of `tags` that is one number as wide as an entry's value; else None."""
        for tag, type_, count, value in self.entries:
            if tag in tags:
                return value if count == 1 and _TYPE_BYTES.get(type_) == self.inline_bytes else None
        return None

    def values(self) -> Iterator["OutlyingValue"]:
        """Yield the values that do not lie in their entries."""
        for i, (tag, type_, count, offset) in enumerate(self.entries):
            n_bytes = count * _TYPE_BYTES.get(type_, 0)
            if n_bytes > self.inline_bytes:
                entry = self.offset + self._count_bytes + i * self._entry_bytes
                yield OutlyingValue(tag, entry, offset, offset + n_bytes)


class TiffStructure:
    """The header of a TIFF file, and a way along its directories.

    Attributes
    ----------
    order
        "<" or ">": the byte order of all numbers.
    stop
        One past the last byte of the header.
    """

    def __init__(self, file: _File, n_bytes: int) -> None:
        self._file = file
        self._n_bytes = n_bytes  # all of which the directories can take, as they do not overlap
        head = self._bytes(0, 8)
        self.order = order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = struct.unpack(order + "H", head[2:4])[0] if order else 0
        if version not in (42, 43):
            raise ValueError(f"it is not a TIFF file, its first bytes are {head[:4]!r}")
        self._big = version == 43  # noqa: PLR2004
        self.stop = 16 if self._big else 8
        self._count, self._entry, self._offset = (
            struct.Struct(order + code) for code in (("Q", "HHQQ", "Q") if self._big else ("H", "HHII", "I"))
        )
        self._first = self._offset.unpack(self._bytes(8, 8) if self._big else head[4:8])[0]

    def __iter__(self) -> Iterator[Directory]:
        """Yield the directories in the order of the chain.

        Raises
        ------
        ValueError
            There is none, the chain leads in a circle or out of the file, directories overlap or are not sound.
        """
        if self._first == 0:
            raise ValueError("it has no directory")
        seen: set[int] = set()
        offset, taken = self._first, 0
        while offset:
            if offset in seen:
                raise ValueError(f"its chain of directories leads in a circle, at byte {offset:,}")
            seen.add(offset)
            directory = self.directory(offset)
            offset = directory.following
            taken += len(directory.entries) * self._entry.size
            if taken > self._n_bytes:
                raise ValueError(f"its directories overlap, at byte {directory.offset:,}")
            yield directory

    def directory(self, offset: int) -> Directory:
        """Return the directory at `offset`.

        Raises
        ------
        ValueError
            It leads out of the file, or is not sound.
        """
        (count,) = self._count.unpack(self._bytes(offset, self._count.size))
        if not 0 < count <= _MAX_ENTRIES:
            raise ValueError(f"its directory at byte {offset:,} claims {count:,} entries")
        table = self._bytes(offset + self._count.size, count * self._entry.size + self._offset.size)
        entries = tuple(self._entry.iter_unpack(table[: -self._offset.size]))
        (following,) = self._offset.unpack(table[-self._offset.size :])
        return Directory(offset, entries, self._offset.size, following)

    def _bytes(self, offset: int, n: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(n)
        if len(data) < n:
            raise ValueError(f"it is cut short: a directory at byte {offset:,} lies outside of it")
        return data
