"""When files are read whole, and in how many requests."""

import hashlib
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from read.sets import PICTURES, SHAPE, WINDOW, bench_of
from read.waves import TileBench
from tilefiles import npy_bytes


def check_whole(bench: TileBench, **options: Any) -> None:
    """Check that a window of a tile takes the whole file, once."""
    opened = bench.open(**options)
    for r in (0, 1):
        assert bench.read(opened, r, *WINDOW) == (1, 1, len(bench.files[r]))


def test_small_tiles_are_read_whole() -> None:
    """Tiles of less than 256 KiB of pixels come whole, whatever is wanted of them."""
    small = [picture[:360, :360] for picture in PICTURES]
    assert small[0].nbytes < 256 << 10
    with bench_of("tiny", [npy_bytes(each) for each in small], small, extension="npy") as bench:
        check_whole(bench)


@pytest.mark.parametrize("rows", [400, 700])
def test_more_than_half_comes_whole(rows: int) -> None:
    """Where more than half of a tile is wanted, its file is read whole."""
    with bench_of("half", [npy_bytes(picture) for picture in PICTURES], extension="npy") as bench:
        assert bench.read(bench.open(), 0, slice(0, rows), slice(None)) == (1, 1, len(bench.files[0]))


def test_less_than_half_comes_in_part() -> None:
    """Where less than half of a tile of known layout is wanted, its rows are read."""
    with bench_of("less", [npy_bytes(picture) for picture in PICTURES], extension="npy") as bench:
        cost = bench.read(bench.open(), 0, slice(0, 300), slice(None))
        assert cost == (1, 1, 128 + 300 * 600 * 2)  # the header lies beside them


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_streams_are_read_whole(format_: str) -> None:
    """Formats that are streams come whole, in one request."""
    pixels = [(picture // 32).astype("uint8" if format_ == "JPEG" else "uint16") for picture in PICTURES]
    files = []
    for n, each in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(each).save(file, format_)
        files.append(file.getvalue())
        pixels[n] = np.asarray(Image.open(file))
    with bench_of(f"stream-{format_}", files, pixels, extension=format_.lower()) as bench:
        check_whole(bench)


@pytest.mark.parametrize("known", [True, False])
def test_verify_always(known: bool) -> None:
    """verify="always" reads tiles with a sha256 whole, and verifies them; others come in parts."""
    files = [npy_bytes(picture) for picture in PICTURES]
    digest = hashlib.sha256(files[0]).hexdigest()
    tiles = {"sha256": digest} if known else {}
    with bench_of(f"always-{known}", files, extension="npy", tiles=tiles) as bench:
        cost = bench.read(bench.open(verify="always"), 0, *WINDOW)
        assert (cost.n_bytes == len(files[0])) is known


def test_a_wrong_checksum_of_a_part() -> None:
    """By default a part of a tile is read without its checksum; verify="always" finds that the file is another."""
    files = [npy_bytes(picture) for picture in PICTURES]
    with bench_of("sum", files, extension="npy", tiles={"sha256": "0" * 64}) as bench:
        bench.read(bench.open(), 0, *WINDOW)
        with pytest.raises(OSError, match=r"waves://b/t0\.npy: has sha256 [0-9a-f]{64} .* the document states 0{64}"):
            bench.read(bench.open(verify="always"), 0, *WINDOW)


def test_with_a_tile_cache(tmp_path: Any) -> None:
    """With a tile cache files come whole, and once."""
    files = [npy_bytes(picture) for picture in PICTURES]
    with bench_of("cache", files, extension="npy") as bench:
        opened = bench.open(tile_cache=str(tmp_path))
        assert bench.read(opened, 0, *WINDOW) == (1, 1, len(files[0]))
        assert bench.read(opened, 0, slice(300, 340), slice(0, 9)) == (0, 0, 0)


# raw files, large files


def test_raw_files() -> None:
    """A file of the format RAW gives rows in one request: the document states all that there is to know."""
    raw = {"slicedfs": {"dtype": "uint16", "raw": {"dtype": ">u2", "order": "C"}}}
    files = [picture.astype(">u2").tobytes() for picture in PICTURES]
    with bench_of("raw", files, extension="bin", shape=SHAPE, extras=raw, tiles={"tile_format": "RAW"}) as bench:
        opened = bench.open_counted()
        assert bench.cost()[:2] == (1, 1)
        assert bench.read(opened, 1, *WINDOW) == (1, 1, (39 * 600 + 40) * 2)


LARGE = np.arange(2500 * 4000, dtype="uint32").reshape(2500, 4000)
"""40 MB."""


def test_a_large_file_comes_in_parts_at_once() -> None:
    """A whole file of 40 MB comes in parts of 8 MiB at most, all asked for at once, and is verified as one."""
    data = npy_bytes(LARGE)
    tiles = {"sha256": hashlib.sha256(data).hexdigest()}
    with bench_of("large", [data], [LARGE], extension="npy", tiles=tiles) as bench:
        opened = bench.open()
        cost = bench.read(opened, 0, slice(None), slice(None))
        assert cost == (5, 1, len(data))
        assert max(len(data[a.start : a.end]) for a in bench.fs.log) <= 8 << 20
        bench.put(0, data[:-4] + b"\1\2\3\4")
        with pytest.raises(OSError, match=r"waves://b/t0\.npy: has sha256 [0-9a-f]{64} \(40000128 bytes\)"):
            opened.load()


def test_a_large_part_comes_in_parts_at_once() -> None:
    """Rows of 16 MB in the middle of a file come in two requests, sent at once."""
    with bench_of("rows", [npy_bytes(LARGE)], [LARGE], extension="npy", shape={"y": 2500, "x": 4000}) as bench:
        opened = bench.open()
        bench.read(opened, 0, slice(0, 10), slice(None))
        cost = bench.read(opened, 0, slice(1000, 2100), slice(None))
        assert cost == (3, 1, 1100 * 16000)


def test_a_large_file_that_is_longer_or_shorter_than_the_one_before(near: None) -> None:
    """Files that are not as large as the last one are read as they are."""
    shapes = [(2500, 4000), (1000, 4000), (2600, 4000)]
    pixels = [LARGE, LARGE[:1000], np.concatenate([LARGE, LARGE[:100]])]
    files = [npy_bytes(each) for each in pixels]
    with bench_of("sizes", files, pixels, extension="npy") as bench:
        document = json.loads(bench.fs.files["b/set.json"])
        for entry, (y, x) in zip(document["tiles"], shapes, strict=True):
            entry["tile_shape"] = {"y": y, "x": x}
            entry["coordinates"] = {}
        for r in range(3):  # tiles of one set are of one shape, so each is a set of its own here
            one = document | {"shape": {"r": 1}, "tiles": [document["tiles"][r] | {"indices": {"r": 0}}]}
            bench.fs.files["b/set.json"] = json.dumps(one).encode()
            np.testing.assert_array_equal(bench.open()[0].values, pixels[r])


def test_trailing_bytes() -> None:
    """Bytes behind the pixels of a large file do no harm, though its layout does not tell of them."""
    data = npy_bytes(LARGE) + b"more" * 1000
    with bench_of("tail", [data], [LARGE], extension="npy") as bench:
        opened = bench.open()
        assert bench.read(opened, 0, slice(None), slice(None)).n_bytes == len(data)
