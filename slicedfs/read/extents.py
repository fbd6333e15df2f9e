"""Byte ranges to ask for, and the bytes that were wanted out of what came. Pure."""

from collections.abc import Iterable, Sequence

from slicedfs.ranges import ByteRange

__all__ = ["PART_BYTES", "Extents", "asked", "joined"]

PART_BYTES = 8 << 20
"""Longer ranges are asked for in parts of this size, at the same time."""

Bytes = bytes | bytearray | memoryview


def asked(wanted: Iterable[ByteRange], gap_bytes: int) -> list[ByteRange]:
    """Return the ranges to ask for so that all of the `wanted` ones come: merged over gaps, split where long.

    Parameters
    ----------
    wanted
        Bounded, half-open, sorted by their start; they may overlap.
    gap_bytes
        Ranges no further apart than this become one.
    """
    return [part for span in joined(wanted, gap_bytes) for part in split(span)]


def joined(wanted: Iterable[ByteRange], gap_bytes: int) -> list[ByteRange]:
    """Return sorted ranges as fewer ones: those no further apart than `gap_bytes` become one."""
    merged: list[ByteRange] = []
    for start, stop in wanted:
        if merged and stop is not None and merged[-1].stop is not None and start - merged[-1].stop <= gap_bytes:
            merged[-1] = ByteRange(merged[-1].start, max(merged[-1].stop, stop))
        else:
            merged.append(ByteRange(start, stop))
    return merged


def split(span: ByteRange) -> Iterable[ByteRange]:
    """Return `span` in parts of at most about 8 MiB."""
    if span.stop is None or span.stop - span.start <= PART_BYTES:
        return (span,)
    count = -(-(span.stop - span.start) // PART_BYTES)
    size = -(-(span.stop - span.start) // count)
    return [ByteRange(at, min(at + size, span.stop)) for at in range(span.start, span.stop, size)]


class Extents:
    """The bytes of a file that are there.

    Parameters
    ----------
    parts
        (first byte, bytes), in any order.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Iterable[tuple[int, Bytes]]) -> None:
        self._parts = sorted(parts, key=lambda part: part[0])

    def take(self, span: ByteRange) -> Bytes:
        """Return the bytes of `span`; fewer where the file ends inside it, or where some are not there."""
        start, stop = span
        pieces: list[Bytes] = []
        for at, data in self._parts:
            end = at + len(data)
            if at <= start < end:
                upto = end if stop is None else min(stop, end)
                whole = at == start and upto == end
                pieces.append(data if whole else memoryview(data)[start - at : upto - at])
                start = upto
                if start == stop:
                    break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def take_all(self, spans: Sequence[ByteRange]) -> list[Bytes]:
        """Return the bytes of each of `spans`."""
        return [self.take(span) for span in spans]
