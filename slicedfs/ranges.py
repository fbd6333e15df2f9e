"""Byte ranges of one object. Pure."""

from typing import NamedTuple

__all__ = ["WHOLE", "ByteRange"]


class ByteRange(NamedTuple):
    """Bytes ``start`` to ``stop`` of an object, half-open, counted from 0."""

    start: int = 0
    """First byte, >= 0."""
    stop: int | None = None
    """One past the last byte; None: to the end of the object."""

    @property
    def is_whole(self) -> bool:
        """True where the range asks for the whole object."""
        return self.start == 0 and self.stop is None


WHOLE = ByteRange()
