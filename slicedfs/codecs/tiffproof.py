"""Directories of a stack at equal distances: where the others must lie, and the proof that they do. Pure.

Writers that go page by page (Pillow, OpenCV, ImageJ plugins) put each directory beside its pixels, so that a chain of
fifty costs fifty round trips. Two of them tell where the others should be; a part then reads the directory of each
plane that it touches together with the pixels, and refuses them where it is not the one that was expected.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from slicedfs.codecs.directories import Directory, TiffStructure
from slicedfs.codecs.parts import Cut, Misplaced
from slicedfs.codecs.planes import described_planes
from slicedfs.codecs.sparse import Need, SparseFile
from slicedfs.codecs.tiffpages import ALIKE, ESSENTIAL, OFFSETS, TiffPages, page_at
from slicedfs.codecs.tile import Array, Bytes
from slicedfs.ranges import ByteRange

if TYPE_CHECKING:
    from tifffile import TiffFile

__all__ = ["Proofs", "infer_stack", "prove_first"]

_MAX_PROOF_BYTES = 1 << 16
_CODES = {4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True, slots=True)
class _Sketch:
    """What of a directory decides on the pixels of its page."""

    span: ByteRange
    """The bytes that hold it."""
    offset: int
    """Its first byte."""
    entries: tuple[tuple[int, int, int, int], ...]
    following: int
    """The next directory."""
    tables: tuple[tuple[int, tuple[int, ...]], ...]
    """Tag and values of entries that refer to them; numbers for positions of strips, else bytes."""


@dataclass(frozen=True, slots=True)
class Proofs:
    """How to make sure of the directories of a stack."""

    first: _Sketch | None
    """Of page 0; None where the head of the file holds it."""
    second: _Sketch | None
    """Of page 1; None in a file of one page."""
    step: int
    """Bytes from each directory to the next, from page 1 on."""
    n_pages: int
    """How many pages there are."""
    header: bytes
    """The header of the file, which tells the byte order."""

    @property
    def stop(self) -> int:
        """One past the last byte of the last directory."""
        sketch = self.sketch(self.n_pages - 1)
        return 0 if sketch is None else sketch.span.stop or 0

    def cut(self, pages: Sequence[int]) -> Cut:
        """Return the pieces that prove where `pages` lie; their "pixels" are an empty array.

        The function of the cut raises Misplaced where a directory is another one.
        """
        sketches = [sketch for sketch in map(self.sketch, pages) if sketch is not None]
        starts = np.array([sketch.span.start for sketch in sketches], np.int64)
        stops = np.array([sketch.span.stop for sketch in sketches], np.int64)

        def check(blocks: Sequence[Bytes]) -> Array:
            for sketch, block in zip(sketches, blocks, strict=True):
                self._check(sketch, bytes(block))
            return np.empty(0)

        return Cut(starts, stops, check)

    def sketch(self, page: int) -> _Sketch | None:
        """Return what the directory of `page` must be; None where there is nothing to prove."""
        if page == 0:
            return self.first
        if self.second is None or page == 1:
            return self.second
        moved = _moved(self.second, (page - 1) * self.step)
        return replace(moved, following=0) if page == self.n_pages - 1 else moved

    def _check(self, expected: _Sketch, block: bytes) -> None:
        file = SparseFile()
        file.add(0, self.header, len(self.header))
        file.add(expected.span.start, block, len(block))
        try:
            structure = TiffStructure(file, file.known_bytes)
            found = _sketch(file, structure, structure.directory(expected.offset))
        except (ValueError, Need):
            found = None
        if found != expected:
            raise Misplaced(
                f"the directory at byte {expected.offset:,} is not the one that its distance from the others promised. "
                f"Read the file whole."
            )


def prove_first(file: SparseFile, structure: TiffStructure, directory: Directory) -> Proofs | None:
    """Return what proves the only directory of a file, which lies behind the head; None where it is too large."""
    sketch = _sketch(file, structure, directory)
    return None if sketch is None else Proofs(sketch, None, 0, 1, file.first(structure.stop))


def infer_stack(
    tiff: "TiffFile", file: SparseFile, structure: TiffStructure, directories: list[Directory], n_pages: int
) -> tuple[TiffPages, Proofs] | None:
    """Return the pages of a stack of `n_pages` of which some first `directories` are known, and what proves them.

    None where they are compressed, not alike, or not at equal distances.
    """
    from tifffile import TiffFrame

    known = directories[:n_pages]
    if n_pages < 2 or len(known) < 2 or len({directory.same(ALIKE) for directory in known}) != 1:  # noqa: PLR2004
        return None
    first, second = page_at(tiff, directories, 0), page_at(tiff, directories, 1)
    sketches = [_sketch(file, structure, directory) for directory in known]
    if not (first.is_final and second.is_final) or None in sketches or first.jpegtables is not None:
        return None
    step = known[1].following - known[1].offset if n_pages > 2 else 0  # noqa: PLR2004
    proofs = Proofs(sketches[0], sketches[1], step, n_pages, file.first(structure.stop))
    if step < 0 or (step == 0) != (n_pages == 2) or [proofs.sketch(i) for i in range(len(known))] != sketches:  # noqa: PLR2004
        return None
    if n_pages == 2 and known[1].following:  # noqa: PLR2004
        return None
    frames = [
        TiffFrame(
            tiff, k, offset=known[1].offset + (k - 1) * step, keyframe=first,
            dataoffsets=(second.dataoffsets[0] + (k - 1) * step,), databytecounts=(first.nbytes,),
        )
        for k in range(2, n_pages)
    ]  # fmt: skip
    return TiffPages((first, second, *frames), described_planes(first, n_pages)), proofs


def _sketch(file: SparseFile, structure: TiffStructure, directory: Directory) -> _Sketch | None:
    """Return the sketch of a directory; None where it cannot be moved, or lies far from its values."""
    values = [value for value in directory.values() if value.tag in ESSENTIAL]
    start = min([directory.offset, *[value.start for value in values]])
    stop = max([directory.stop, *[value.stop for value in values]])
    entries = tuple(sorted(directory.same(ESSENTIAL)))
    outlying = {value.tag for value in values}
    several_inline = any(tag in OFFSETS and count > 1 and tag not in outlying for tag, _, count, _ in entries)
    if stop - start > _MAX_PROOF_BYTES or several_inline:
        return None
    types = {tag: type_ for tag, type_, _, _ in entries}
    tables = []
    for value in values:
        file.seek(value.start)
        data = file.read(value.stop - value.start)
        code = _CODES.get(types[value.tag]) if value.tag in OFFSETS else "B"
        if code is None:
            return None
        tables.append(
            (value.tag, struct.unpack(f"{structure.order}{len(data) // struct.calcsize('=' + code)}{code}", data))
        )
    return _Sketch(ByteRange(start, stop), directory.offset, entries, directory.following, tuple(sorted(tables)))


def _moved(sketch: _Sketch, by: int) -> _Sketch:
    """Return the sketch of the same page, written `by` bytes further on."""
    outlying = {tag for tag, _ in sketch.tables}
    moving = outlying | set(OFFSETS)
    entries = [
        (tag, type_, count, value + by if tag in moving else value) for tag, type_, count, value in sketch.entries
    ]
    tables = [(tag, tuple([n + by for n in values]) if tag in OFFSETS else values) for tag, values in sketch.tables]
    start, stop = sketch.span
    return _Sketch(
        ByteRange(start + by, (stop or 0) + by),
        sketch.offset + by,
        tuple(entries),
        sketch.following + by,
        tuple(tables),
    )
