"""Parts of tiles: the pixels are those of the file, whatever was thought of it before."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from read.files import PLANES, tiff
from read.sets import PICTURES, SHAPE, STATED, WINDOW, bench_of
from tilefiles import npy_by_hand, npy_bytes

from slicedfs import CodecError

OTHERS: dict[str, tuple[Callable[[Any], bytes], Callable[[Any], bytes]]] = {
    "npy-longer-header": (npy_bytes, lambda a: npy_by_hand(header_of(a, pad=300), a.tobytes())),
    "npy-shorter-header": (npy_bytes, lambda a: npy_by_hand(header_of(a, pad=0), a.tobytes())),
    "npy-version-2": (npy_bytes, lambda a: npy_by_hand(header_of(a, pad=50), a.tobytes(), version=2)),
    "npy-big-endian": (npy_bytes, lambda a: npy_bytes(a.astype(">u2"))),
    "npy-fortran": (npy_bytes, lambda a: npy_bytes(np.asfortranarray(a))),
    "npy-to-fortran": (lambda a: npy_bytes(np.asfortranarray(a)), npy_bytes),
    "tiff-longer-description": (tiff(), tiff(description="d" * 500, metadata=None)),
    "tiff-big-endian": (tiff(), tiff(byteorder=">")),
    "tiff-bigtiff": (tiff(), tiff(bigtiff=True)),
    "tiff-strips": (tiff(), tiff(rowsperstrip=16)),
    "tiff-compressed": (tiff(), tiff(compression="zlib", predictor=True)),
    "tiff-tiles": (tiff(), tiff(tile=(64, 64))),
    "tiff-of-pillow": (tiff(), PLANES["pillow"]),
    "tiff-directory-at-the-end": (tiff(), PLANES["opencv"]),
    "tiff-after-compressed": (tiff(compression="zlib"), tiff()),
}


def header_of(array: Any, pad: int) -> str:
    """Give the header of an NPY file, with `pad` spaces behind it."""
    return f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}" + " " * pad + "\n"


@pytest.mark.parametrize("name", list(OTHERS))
def test_files_written_in_two_ways(near: None, name: str) -> None:
    """A file that is laid out in another way than the one before gives its own pixels, and so does the next one."""
    usual, unusual = OTHERS[name]
    files = [usual(PICTURES[0]), unusual(PICTURES[1]), usual(PICTURES[2])]
    extension = "npy" if name.startswith("npy") else "tif"
    with bench_of(f"two-{name}", files, extension=extension, shape=SHAPE, extras=STATED) as bench:
        opened = bench.open()
        for r in (0, 1, 2, 1, 0):
            bench.read(opened, r, *WINDOW)
        assert bench.read(opened, 1, *WINDOW).n_bytes < 0.5 * len(files[1])
        bench.fs.clear()
        np.testing.assert_array_equal(opened.values, np.stack(PICTURES))


def test_equal_headers_but_for_one_letter(near: None) -> None:
    """Files of one size whose headers differ in the byte order alone each give their own pixels."""
    files = [npy_bytes(PICTURES[0]), npy_bytes(PICTURES[1].astype(">u2")), npy_bytes(PICTURES[2])]
    assert len({len(data) for data in files}) == 1
    with bench_of("letter", files, extension="npy", shape=SHAPE, extras=STATED) as bench:
        opened = bench.open()
        bench.fs.clear()
        found = opened[(slice(None), *WINDOW)].values
        np.testing.assert_array_equal(found, np.stack([picture[WINDOW] for picture in PICTURES]))


def test_another_dtype_of_the_same_width(near: None) -> None:
    """A tile of int16 in an array of uint16 is refused by name, though its header is as long as that of the others."""
    files = [npy_bytes(PICTURES[0]), npy_bytes(PICTURES[1].astype("int16"))]
    with bench_of("signed", files, PICTURES[:2], extension="npy", shape=SHAPE, extras=STATED) as bench:
        opened = bench.open()
        bench.read(opened, 0, *WINDOW)
        with pytest.raises(CodecError, match=r"waves://b/t1\.npy: has dtype int16, which does not fit into the uint16"):
            opened[(1, *WINDOW)].load()


def test_a_smaller_dtype_is_cast(near: None) -> None:
    """A tile of uint8 in an array of uint16 gives its values, also in part."""
    small = (PICTURES[1] // 256).astype("uint8")
    files = [npy_bytes(PICTURES[0]), npy_bytes(small)]
    with bench_of("small", files, [PICTURES[0], small], extension="npy", shape=SHAPE, extras=STATED) as bench:
        opened = bench.open()
        bench.read(opened, 0, *WINDOW)
        bench.read(opened, 1, *WINDOW)


@pytest.mark.parametrize("transposed", [False, True])
def test_another_shape(near: None, transposed: bool) -> None:
    """A tile of another shape than stated is refused by name, also where only a part of it is wanted."""
    other = PICTURES[1].T.copy() if transposed else PICTURES[1][:-1]
    files = [npy_bytes(PICTURES[0]), npy_bytes(other)]
    with bench_of("shape", files, PICTURES[:2], extension="npy", shape=SHAPE, extras=STATED) as bench:
        opened = bench.open()
        bench.read(opened, 0, *WINDOW)
        with pytest.raises(CodecError, match=r"waves://b/t1\.npy: .*\(6|waves://b/t1\.npy: .*transposed"):
            opened[(1, *WINDOW)].load()


@pytest.mark.parametrize("name", ["npy", "tifffile", "pillow", "raw-strips", "zstd-strips"])
@pytest.mark.parametrize("known", [False, True], ids=["unknown", "learned"])
def test_a_file_cut_short(near: None, name: str, known: bool) -> None:
    """A file that ends before the window is an error of the format that names it, never other pixels."""
    whole = [PLANES[name](picture) for picture in PICTURES[:2]]
    files = [whole[0], whole[1][: len(whole[1]) // 5]]
    extension = "npy" if name == "npy" else "tif"
    with bench_of(f"cut-{name}-{known}", files, PICTURES[:2], extension=extension, shape=SHAPE, extras=STATED) as bench:
        opened = bench.open()
        if known:
            bench.read(opened, 0, *WINDOW)
        with pytest.raises(CodecError, match=rf"waves://b/t1\.{extension}"):
            opened[(1, slice(500, 540), slice(100, 140))].load()


@pytest.mark.parametrize("content", [b"", b"<html>Not here</html>", b"\0" * 100], ids=["empty", "html", "zeros"])
def test_no_image_at_all(near: None, content: bytes) -> None:
    """What is no image is an error of the format that names it, though the other files' layout was learned."""
    files = [npy_bytes(PICTURES[0]), content]
    with bench_of("none", files, PICTURES[:2], extension="npy", shape=SHAPE, extras=STATED) as bench:
        opened = bench.open()
        bench.read(opened, 0, *WINDOW)
        with pytest.raises(CodecError, match=r"waves://b/t1\.npy"):
            opened[(1, *WINDOW)].load()


def test_an_absent_file(near: None) -> None:
    """A file that is absent is missing as ever, also where its header and its part are asked for at once."""
    with bench_of("absent", [npy_bytes(picture) for picture in PICTURES], extension="npy", shape=SHAPE) as bench:
        opened = bench.open(on_missing="fill", fill_value=7)
        del bench.fs.files["b/t1.npy"]
        with pytest.warns(UserWarning, match=r"1 absent file\(s\) read as fill_value: waves://b/t1\.npy"):
            found = opened[(slice(None), *WINDOW)].values
        np.testing.assert_array_equal(found[1], np.full((40, 40), 7))
        np.testing.assert_array_equal(found[2], PICTURES[2][WINDOW])


# bounds


@pytest.mark.parametrize("name", ["npy", "deflate-tiles", "opencv"])
def test_within_the_narrowest_bounds(near: None, name: str) -> None:
    """One request at a time and one byte in flight are enough: what is being read never waits for itself."""
    files = [PLANES[name](picture) for picture in PICTURES]
    extension = "npy" if name == "npy" else "tif"
    with bench_of(f"narrow-{name}", files, extension=extension, shape=SHAPE, extras=STATED) as bench:
        opened = bench.open(concurrency=1, bytes_in_flight=1)
        for _ in range(2):
            bench.fs.clear()
            found = opened[(slice(None), *WINDOW)].values
            np.testing.assert_array_equal(found, np.stack([picture[WINDOW] for picture in PICTURES]))
            assert bench.fs.max_in_flight == 1
        assert bench.fs.bytes_asked < 0.5 * sum(map(len, files))
