"""Whole or in part, by what is known of file and origin. No request is made."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tilefiles import driven, npy_bytes, tiff_bytes

from slicedfs import codecs
from slicedfs.layout.grid import Paste
from slicedfs.layout.placement import place
from slicedfs.manifest import parse
from slicedfs.model import TileSetDocument
from slicedfs.options import ArrayOptions, Combine
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.read.boxes import around
from slicedfs.read.choice import Origin, Target, choose
from slicedfs.read.knowledge import Knowledge
from slicedfs.resolver import Session
from slicedfs.source import SourceRef, TileSource
from slicedfs.store import Pace, StoreOptions

HEADER = ByteRange(0, 16384)
URL = "https://h/set.json"


def source_of(shape: tuple[int, int], *, probed: codecs.Layout | None = None, **store: object) -> TileSource:
    """Give a tile set of three tiles of uint16, opened without a request."""
    text = {
        "version": "0.1.0", "dimensions": ["r", "y", "x"], "shape": {"r": 3}, "default_tile_format": "NUMPY",
        "default_tile_shape": {"y": shape[0], "x": shape[1]},
        "tiles": [{"file": f"{r}.npy", "coordinates": {}, "indices": {"r": r}} for r in range(3)],
    }  # fmt: skip
    document = parse(json.dumps(text).encode(), URL)
    assert isinstance(document, TileSetDocument)
    options = StoreOptions(URL, **store)  # type: ignore[arg-type]
    ref = SourceRef(options, URL, (), "0" * 64, ArrayOptions(), Combine())
    placement = place(document, ("y", "x"), dict(zip("yx", shape, strict=True)), "edges")
    return TileSource(ref, Session(options), document, placement, np.dtype("uint16"), probed)


def layout_of(data: bytes) -> codecs.Layout:
    """Give the layout of a file."""
    return driven(codecs.layout(codecs.TileRequest(URL)), data)[0]


def window(y: slice, x: slice) -> list[Paste]:
    """Give what is wanted of a tile."""
    src = tuple(slice(part.start, part.stop, part.step or 1) for part in (y, x))
    return [Paste(src, (slice(0, 1, 1),))]


def chosen(source: TileSource, pastes: list[Paste], *, gives_ranges: bool = True, typical: int | None = None,
           pace: Pace | None = None, knowledge: Knowledge | None = None) -> list[ByteRange]:  # fmt: skip
    """Give the ranges that are asked for first."""
    origin = Origin(pace or Pace(), gives_ranges, typical)
    request = source.tile_request(0, source.tile_url(0))
    return choose(Target(source, 0, request), pastes, origin, knowledge or Knowledge(source)).ranges


SMALL = window(slice(1000, 1100), slice(1000, 1100))


@pytest.fixture(scope="module")
def layout() -> codecs.Layout:
    """Give the layout of an NPY file of 2048 x 2048."""
    return layout_of(npy_bytes(np.zeros((2048, 2048), "uint16")))


def test_a_known_layout(layout: codecs.Layout) -> None:
    """A layout of another file is confirmed by its header, asked for beside the rows that are wanted."""
    found = chosen(source_of((2048, 2048), probed=layout), SMALL)
    assert found == [(0, 128), (128 + (1000 * 2048 + 1000) * 2, 128 + (1099 * 2048 + 1100) * 2)]


def test_a_seen_file(layout: codecs.Layout) -> None:
    """Of a file that was read before, the header need not come again; of one that was forgotten, it must."""
    source = source_of((2048, 2048))
    knowledge = Knowledge(source)
    knowledge.see(0, layout, None)
    rows = (128 + (1000 * 2048 + 1000) * 2, 128 + (1099 * 2048 + 1100) * 2)
    assert chosen(source, SMALL, knowledge=knowledge) == [rows]
    knowledge.forget(0)
    assert chosen(source, SMALL, knowledge=knowledge) == [HEADER]
    knowledge.learn(source.tile_request(1, source.tile_url(1)), layout)  # of another file
    assert chosen(source, SMALL, knowledge=knowledge) == [(0, 128), rows]


def test_header_and_rows_that_lie_close_are_one_request(layout: codecs.Layout) -> None:
    """Where the rows begin close behind the header, one request gets both."""
    source = source_of((2048, 2048), probed=layout)
    assert chosen(source, window(slice(3, 20), slice(0, 2048))) == [(0, 128 + 20 * 4096)]
    assert len(chosen(source, window(slice(5, 20), slice(0, 2048)))) == 2
    assert (
        chosen(source_of((2048, 2048), probed=layout, gap_bytes=1 << 20), window(slice(99, 200), slice(0, 9)))[1:] == []
    )


def test_unknown_layout_where_it_pays() -> None:
    """Of a large file of unknown layout the header is asked for first, where a round trip is worth what that saves."""
    assert chosen(source_of((2048, 2048)), SMALL) == [HEADER]  # 8 MB on a line of 50 MB/s and 50 ms
    assert chosen(source_of((1024, 1024)), SMALL) == [WHOLE]  # 2 MB


def fast(latency_s: float, bytes_per_s: float) -> Pace:
    """Give the pace of an origin that was seen to be so fast."""
    pace = Pace()
    pace._latency_s, pace._bytes_per_s = latency_s, bytes_per_s
    return pace


@pytest.mark.parametrize(
    ("latency_s", "bytes_per_s", "expected"),
    [(0.05, 50e6, HEADER), (0.001, 1e9, HEADER), (0.2, 20e6, HEADER), (0.2, 100e6, WHOLE), (0.05, 500e6, WHOLE)],
)
def test_unknown_layout_by_the_pace(latency_s: float, bytes_per_s: float, expected: ByteRange) -> None:
    """The 8 MB that a part saves are weighed against the bytes that come in the time of a round trip."""
    assert chosen(source_of((2048, 2048)), SMALL, pace=fast(latency_s, bytes_per_s)) == [expected]


@pytest.mark.parametrize(
    ("shape", "pastes"),
    [
        ((362, 362), window(slice(0, 1), slice(0, 1))),  # just below 256 KiB
        ((2048, 2048), window(slice(0, 1025), slice(0, 2048))),
        ((2048, 2048), window(slice(0, 2048), slice(0, 1025))),
        ((2048, 2048), window(slice(0, 2048, 2), slice(0, 2048))),
    ],
    ids=["small", "most rows", "most columns", "every second row"],
)
def test_whole(layout: codecs.Layout, shape: tuple[int, int], pastes: list[Paste]) -> None:
    """Small tiles, and those of which more than half is wanted, are read whole."""
    assert chosen(source_of(shape, probed=layout if shape == (2048, 2048) else None), pastes) == [WHOLE]


def test_columns_are_as_dear_as_rows(layout: codecs.Layout) -> None:
    """Where a few columns need more than half of the bytes, the whole file is read."""
    source = source_of((2048, 2048), probed=layout)
    assert chosen(source, window(slice(0, 1100), slice(0, 4))) == [WHOLE]
    assert len(chosen(source, window(slice(500, 1500), slice(0, 4)))) == 2


def test_an_origin_without_ranges(layout: codecs.Layout) -> None:
    """Of servers that send whole files whatever is asked for, whole files are asked for, in one request."""
    source = source_of((2048, 2048), probed=layout)
    assert chosen(source, SMALL, gives_ranges=False) == [WHOLE]
    assert chosen(source, SMALL, gives_ranges=False, typical=100 << 20) == [WHOLE]


def test_files_known_to_be_smaller(layout: codecs.Layout) -> None:
    """Where the file before was small, for it is compressed, a header is not worth a round trip."""
    assert chosen(source_of((2048, 2048)), SMALL, typical=1_000_000) == [WHOLE]
    assert chosen(source_of((2048, 2048)), SMALL, typical=8_000_000) == [HEADER]


def test_formats_that_are_read_whole() -> None:
    """Once files of a format were seen to be streams, no header is asked for any more."""
    source = source_of((2048, 2048))
    knowledge = Knowledge(source)
    knowledge.see_whole(source.tile_request(0, source.tile_url(0)))
    assert chosen(source, SMALL, knowledge=knowledge) == [WHOLE]


@pytest.mark.parametrize("shape", [(2048, 2047), (2, 2048, 2048)])
def test_a_layout_of_another_shape(shape: tuple[int, ...]) -> None:
    """A layout that does not fit the tile is not used: the whole file tells what is wrong."""
    probed = layout_of(npy_bytes(np.zeros(shape, "uint16")))
    assert chosen(source_of((2048, 2048), probed=probed), SMALL) == [WHOLE]


def test_a_compressed_file_is_no_pattern() -> None:
    """Where the strips of a file lie says nothing about the next one."""
    data = tiff_bytes(np.zeros((2048, 2048), "uint16"), compression="zlib")
    source = source_of((2048, 2048), probed=layout_of(data))
    assert chosen(source, SMALL) == [HEADER]
    knowledge = Knowledge(source)
    knowledge.learn(source.tile_request(1, source.tile_url(1)), layout_of(data))
    assert chosen(source, SMALL, knowledge=knowledge) == [HEADER]


def test_large_files_come_in_parts() -> None:
    """A whole file that is as large as 16 MiB comes in parts of 8 MiB at most, the last one open-ended."""
    source, all_of_it = source_of((4096, 4096)), window(slice(0, 4096), slice(0, 4096))
    size = 128 + (32 << 20)
    fifth = -(-size // 5)
    assert chosen(source, all_of_it, typical=size) == [
        *[(fifth * i, fifth * (i + 1)) for i in range(4)],
        (4 * fifth, None),
    ]
    assert chosen(source, all_of_it, typical=(16 << 20) - 1) == [WHOLE]
    assert chosen(source, all_of_it) == [WHOLE]


box = st.tuples(st.integers(0, 400), st.integers(1, 50), st.integers(1, 9)).map(
    lambda a: slice(a[0], a[0] + a[1], a[2])
)
picked = st.lists(st.integers(0, 450), min_size=1, max_size=9).map(np.array)


@given(st.lists(st.tuples(box | picked, box | picked), min_size=1, max_size=4))
def test_region_is_the_smallest_box(parts: list[tuple[object, object]]) -> None:
    """The region is the smallest box around all that is wanted of a tile."""
    pastes = [Paste(src, (slice(0, 1),)) for src in parts]  # type: ignore[arg-type]
    wanted = [[np.arange(451)[index] for index in src] for src in parts]  # type: ignore[index]
    lows = [min(each[axis].min() for each in wanted) for axis in (0, 1)]
    highs = [max(each[axis].max() for each in wanted) for axis in (0, 1)]
    assert around(pastes) == tuple(slice(low, high + 1) for low, high in zip(lows, highs, strict=True))
