"""Mosaics of many tiles: a crop asks for the tiles it shows, and nothing is done tile by tile in Python."""

import io
import sys
import tracemalloc

import numpy as np
import pytest
from smallsets import Bench, tile_set

from slicedfs.layout.placement import place
from slicedfs.layout.selection import Selection
from slicedfs.model import Strings, Tiles, TileSetDocument
from slicedfs.store.door import DECODE_THREADS


def square(number, side):
    """Give an NPY file of side x side pixels of one value."""
    file = io.BytesIO()
    np.save(file, np.full((side, side), number, np.uint16))
    return file.getvalue()


@pytest.fixture(scope="module")
def slide():
    """Give a mosaic of 100 x 100 tiles of 512 x 512 pixels of 0.65, of which no file exists but the first."""
    entries = [
        {
            "file": f"t{row}_{column}.npy",
            "indices": {},
            "coordinates": {
                "yc": [row * 512 * 0.65, (row + 1) * 512 * 0.65],
                "xc": [column * 512 * 0.65, (column + 1) * 512 * 0.65],
            },
        }
        for row, column in np.random.default_rng(2).permutation(list(np.ndindex(100, 100))).tolist()
    ]
    with Bench("slide") as bench:
        bench.put(set=tile_set(entries, {}, default_tile_shape={"y": 512, "x": 512}))
        bench.fs.files[f"b/{entries[0]['file']}"] = square(0, 512)
        yield bench, bench.open(memory_cache_bytes=0)


@pytest.mark.parametrize(
    ("y", "x", "tiles"),
    [
        (0, 0, 4),
        (512 * 7, 512 * 93 + 424, 4),
        (512 * 7 + 1, 512 * 20 + 300, 4),
        (512 * 50 + 425, 512 * 40 + 424, 6),
        (512 * 50 + 425, 512 * 40 + 425, 9),
        (51200 - 600, 51200 - 600, 4),
    ],
)
def test_crop_of_a_slide(slide, y, x, tiles):
    """A crop of 600 x 600 out of 51,200 x 51,200 pixels asks for the 4 to 9 tiles that it meets, and their headers."""
    bench, image = slide
    assert image.shape == (51200, 51200)
    rows, columns = (range(start // 512, (start + 599) // 512 + 1) for start in (y, x))
    expected = {f"t{row}_{column}.npy": 1 + row * 100 + column for row in rows for column in columns}
    assert len(expected) == tiles
    for name, number in expected.items():
        bench.fs.files[f"b/{name}"] = square(number, 512)
    bench.fs.clear()
    pixels = image.isel(y=slice(y, y + 600), x=slice(x, x + 600)).values
    assert set(bench.read) == set(expected)
    assert len(bench.read) <= 2 * tiles
    at_y, at_x = np.meshgrid(np.arange(y, y + 600) // 512, np.arange(x, x + 600) // 512, indexing="ij")
    np.testing.assert_array_equal(pixels, 1 + at_y * 100 + at_x)


def test_crop_by_coordinates(slide):
    """The same by physical coordinates: 600 pixels of 0.65 are 390 long."""
    bench, image = slide
    crop = image.sel(yc=slice(0, 390), xc=slice(0, 390))
    assert crop.shape == (600, 600)
    for row, column in np.ndindex(2, 2):
        bench.fs.files[f"b/t{row}_{column}.npy"] = square(5, 512)
    bench.fs.clear()
    crop.load()
    assert set(bench.read) == {"t0_0.npy", "t0_1.npy", "t1_0.npy", "t1_1.npy"}
    assert len(bench.read) <= 8


def document(side, layout):
    """Give a tile set of side x side tiles of 512 pixels, as columns: "lattice", "overlapping" or "jittered"."""
    rng = np.random.default_rng(5)
    row, column = np.divmod(rng.permutation(side * side), side)
    pitch = 512 if layout == "lattice" else 460
    jitter = rng.integers(0, 40, (2, side * side)) * (layout == "jittered")
    ranges = {
        name: np.stack([start, start + 512], axis=1) * 0.65
        for name, start in (("yc", row * pitch + jitter[0]), ("xc", column * pitch + jitter[1]))
    }
    tiles = Tiles(Strings(b"", np.zeros(side * side, np.int64)), {}, ranges)
    return TileSetDocument("memory://m.json", "0.1.0", ("y", "x"), {}, tiles, {"y": 512, "x": 512})


def counted(function, *arguments):
    """Return what `function` returns, and how many functions, of Python and of C, are called while it runs."""
    count = 0

    def step(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(step)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(None)
    return result, count


@pytest.mark.parametrize("layout", ["lattice", "overlapping", "jittered"])
def test_a_million_tiles(layout):
    """A million tiles are placed, and a crop of them is looked up, in about as many calls as ten thousand."""
    placing, looking = [], []
    for side in (100, 1000):
        placed, calls = counted(place, document(side, layout), ("y", "x"), None, "edges")
        placing.append(calls)
        selection = Selection.whole(placed.grid.shape).outer([slice(20_000, 20_600), slice(30_000, 30_600)])
        touched, calls = counted(placed.grid.touched, selection)
        assert 4 <= len(touched.tiles) <= 16
        looking.append(calls)
    assert placing[1] < 1.5 * placing[0] < 3000
    assert looking[1] < 1.5 * looking[0]


def test_tiles_far_apart_need_no_table():
    """Five thousand tiles along a diagonal do not make a table of as many rows and columns."""
    start = np.arange(5000) * 600.0
    ranges = {name: np.stack([start, start + 512], axis=1) for name in ("x", "y")}
    tiles = Tiles(Strings(b"", np.zeros(5000, np.int64)), {}, ranges)
    diagonal = TileSetDocument("memory://m.json", "0.1.0", ("y", "x"), {}, tiles, {"y": 512, "x": 512})
    placed = place(diagonal, ("y", "x"), None, "edges")
    arrays = [placed.grid.origins, placed.grid.sizes, *(a for b in placed.grid.bins for a in (b.order, b.keys))]
    assert sum(array.nbytes for array in arrays) < 1e6
    selection = Selection.whole(placed.grid.shape).outer([slice(600, 1200), slice(600, 1200)])
    assert placed.grid.touched(selection).tiles.keys() == {1}


def test_memory_while_reading(slide):
    """Reading takes the result, the bytes in flight, one decoded tile a thread, and next to nothing beside."""
    bench, _ = slide
    for row, column in np.ndindex(8, 8):
        bench.fs.files[f"b/t{row}_{column}.npy"] = square(row * 8 + column, 512)
    tile_bytes, in_flight = 512 * 512 * 2, 4 << 20
    image = bench.open(bytes_in_flight=in_flight).isel(y=slice(0, 8 * 512), x=slice(0, 8 * 512))
    tracemalloc.start()
    try:
        values = image.values
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert values.nbytes == 64 * tile_bytes
    assert values[700, 1600] == 8 + 3
    assert peak <= values.nbytes + in_flight + DECODE_THREADS * tile_bytes + (4 << 20)
