"""Documents of many tiles: memory holds the text, the columns and one batch, and nothing twice."""

import hashlib
import json
import tracemalloc

import numpy as np
from manifest.documents import URL, encode, expected_tiles, said, tile, tile_set

from slicedfs.manifest import parse


def many(count):
    """Give the tiles of a field of view as slicedimage writes them."""
    return [
        tile(
            file=f"fov-c{i % 4}-r{i // 4}.tiff",
            indices={"r": i // 4, "c": i % 4},
            coordinates={"xc": [i / 8, i / 8 + 1], "yc": [0.5, 1.5]},
            sha256=hashlib.sha256(str(i).encode()).hexdigest(),
            extras={},
        )
        for i in range(count)
    ]


def test_memory_while_parsing():
    """Parsing needs the columns and a few megabytes beside, however long the document is."""
    count = 60_000
    data = encode(tile_set(*many(count), shape={"r": count // 4, "c": 4}))
    parse(encode(tile_set(*many(10))), URL)  # the structs for its layout, and what is imported at the first time
    tracemalloc.start()
    try:
        document = parse(data, URL)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    column_bytes = 2 * 8 + 2 * 16 + 32 + 8 + len("fov-c0-r10000.tiff")  # labels, ranges, digest, end, name
    assert len(document.tiles) == count
    assert kept <= 1.05 * column_bytes * count + 100_000
    assert peak <= 1.15 * column_bytes * count + 6_000_000
    assert peak < len(data)


def test_columns_that_begin_late():
    """What only later batches of a long document state is absent before, and what only early ones state, after."""
    tiles = many(9000)
    for i in range(3000):
        del tiles[i]["coordinates"]["yc"]
        tiles[i].update(sha256=None, tile_format=None, extras={"early": i} if i < 3 else {})
    for i in range(6000, 9000):
        tiles[i]["coordinates"]["zc"] = [1.0, 2.0]
        tiles[i].update(sha256=None, tile_shape=[2, 3])
    document = tile_set(*tiles, shape={"r": 2250, "c": 4})
    found, expected = said(parse(encode(document), URL).tiles), expected_tiles(document)
    np.testing.assert_equal(found.pop("coordinates"), expected.pop("coordinates"))
    assert found == expected


def test_tiles_that_grow():
    """Columns whose length was guessed too short, as the first tiles are long and the others are not, grow."""
    tiles = [tile(file="f" * (2 if i > 4000 else 2000), extras={}, indices={"r": i, "c": 0}) for i in range(12_000)]
    text = json.dumps(tile_set(*tiles, shape={"r": 12_000, "c": 1})).encode()
    found = parse(text, URL).tiles
    assert found.indices["r"].tolist() == list(range(12_000))
    assert [len(found.files[i]) for i in (0, 4000, 4001, 11_999)] == [2000, 2000, 2, 2]


def test_equal_rows_take_no_memory():
    """Shapes, formats and the presence of digests that all tiles share are one value."""
    tiles = parse(encode(tile_set(*many(500))), URL).tiles
    for column in (tiles.shape_codes, tiles.format_codes, tiles.has_sha256):
        assert column.strides == (0,)
        assert len(column) == 500
    assert tiles.shape_codes.dtype == tiles.format_codes.dtype == np.int32
