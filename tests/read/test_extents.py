"""Extents: which ranges to ask for, and the bytes that were wanted out of what came."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.ranges import ByteRange
from slicedfs.read.extents import PART_BYTES, Extents, asked, split

MIB = 1 << 20
FILE = b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(64))
"""2048 bytes in which no 32 bytes come twice."""

spans = st.lists(
    st.tuples(st.integers(0, 2500), st.integers(1, 400)).map(lambda at: ByteRange(at[0], at[0] + at[1])),
    min_size=1,
    max_size=12,
).map(sorted)


def came(ranges: list[ByteRange]) -> Extents:
    """Give what a server would send of FILE for `ranges`: fewer bytes where it ends."""
    return Extents((start, FILE[start:stop]) for start, stop in ranges)


@given(spans, st.integers(0, 600))
def test_all_that_is_wanted_comes(wanted: list[ByteRange], gap: int) -> None:
    """Whatever is wanted, touching, overlapping, or past the end, is found again in what is asked for."""
    found = came(asked(wanted, gap)).take_all(wanted)
    assert [bytes(data) for data in found] == [FILE[start:stop] for start, stop in wanted]


@given(spans, st.integers(0, 600))
def test_ranges_merge_over_gaps_only(wanted: list[ByteRange], gap: int) -> None:
    """What is asked for lies further apart than the gap, and every byte of it is wanted or fills such a gap."""
    ranges = asked(wanted, gap)
    assert all(after.start - before.stop > gap for before, after in pairwise(ranges))
    needed = {at for start, stop in wanted for at in range(start, stop)}
    for start, stop in ranges:
        assert {start, stop - 1} <= needed
        inside = sorted(at for at in needed if start <= at < stop)
        assert max((b - a for a, b in pairwise(inside)), default=1) <= gap + 1
    assert needed <= {at for start, stop in ranges for at in range(start, stop)}


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (0, [(0, 20), (30, 40), (41, 50)]),
        (1, [(0, 20), (30, 50)]),
        (9, [(0, 20), (30, 50)]),
        (10, [(0, 50)]),
    ],
)
def test_merged_where_the_gap_is_no_larger(gap: int, expected: list[tuple[int, int]]) -> None:
    """Ranges become one where no more bytes than the gap lie between them; those that touch always do."""
    wanted = [ByteRange(0, 10), ByteRange(10, 20), ByteRange(30, 40), ByteRange(41, 50)]
    assert asked(wanted, gap) == expected


def test_a_range_inside_another() -> None:
    """A range that lies in the one before it does not cut that one off."""
    assert asked([ByteRange(0, 100), ByteRange(10, 20), ByteRange(50, 60)], 0) == [(0, 100)]


@given(st.integers(0, 1 << 40), st.integers(1, 1 << 34))
def test_long_ranges_come_in_equal_parts(start: int, length: int) -> None:
    """No part is longer than 8 MiB; there are no more of them than needed, of equal size, and together they are all."""
    parts = list(split(ByteRange(start, start + length)))
    sizes = [stop - first for first, stop in parts]
    assert len(parts) == -(-length // (8 * MIB))
    assert max(sizes) <= 8 * MIB
    assert max(sizes) - min(sizes) <= len(parts)
    assert [parts[0].start, parts[-1].stop] == [start, start + length]
    assert [stop for _, stop in parts[:-1]] == [first for first, _ in parts[1:]]


def test_merging_does_not_make_long_requests() -> None:
    """Ranges that merge to more than 8 MiB are asked for in parts, which put together give each of them."""
    wanted = [ByteRange(MIB * i, MIB * i + MIB - 10) for i in range(20)]
    assert asked(wanted, 16) == [(0, 6990504), (6990504, 13981008), (13981008, 20 * MIB - 10)]
    assert PART_BYTES == 8 * MIB
    data = bytes(range(256)) * (20 * MIB // 256)
    found = Extents((start, data[start:stop]) for start, stop in asked(wanted, 16)).take_all(wanted)
    assert all(bytes(piece) == data[start:stop] for piece, (start, stop) in zip(found, wanted, strict=True))


@given(st.data())
def test_any_parts_in_any_order(data: st.DataObject) -> None:
    """A file that came in parts, in any order, some of them overlapping, is put together again."""
    cuts = sorted({0, 2048, *data.draw(st.lists(st.integers(0, 2048), max_size=6))})
    parts = [(a, FILE[a : b + data.draw(st.integers(0, 9))]) for a, b in pairwise(cuts)]
    extents = Extents(data.draw(st.permutations(parts)))
    assert bytes(extents.take(ByteRange())) == FILE
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 2048), st.integers(0, 2100))))
    assert bytes(extents.take(ByteRange(start, stop))) == FILE[start:stop]


def test_one_part_is_not_copied() -> None:
    """Bytes that came in one part are handed on as a view of it, or as they are."""
    data = bytearray(FILE)
    extents = Extents([(100, data)])
    assert extents.take(ByteRange(100, 2148)) is data
    view = extents.take(ByteRange(110, 120))
    data[10] ^= 0xFF
    assert isinstance(view, memoryview)
    assert view[0] == FILE[10] ^ 0xFF


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 5), b""),
        ((5, 15), b""),
        ((10, 30), FILE[10:20]),
        ((15, 2000), FILE[15:20]),
        ((20, 30), b""),
        ((30, 40), FILE[30:40]),
        ((35, 90), FILE[35:40]),
        ((40, 90), b""),
    ],
)
def test_what_is_not_there(span: tuple[int, int], expected: bytes) -> None:
    """Only bytes from the first one wanted on count, up to the first one that is not there: never others' bytes."""
    extents = Extents([(10, FILE[10:20]), (30, FILE[30:40])])
    assert bytes(extents.take(ByteRange(*span))) == expected
