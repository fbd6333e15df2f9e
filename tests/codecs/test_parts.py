"""Parts of tiles: every region of every variant equals the region of the whole; the oracle is :func:`decode`.

That :func:`decode` gives the arrays that were written is shown in the tests of each format.
"""

import io
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from tilefiles import (
    LONG,
    SHORT,
    npy_by_hand,
    npy_bytes,
    pillow_bytes,
    pixels,
    plain_tiff,
    request,
    strips_at,
    tiff_by_hand,
    tiff_bytes,
    tiff_pages,
)

from slicedfs.codecs import HEADER_BYTES, decode, part
from slicedfs.errors import CodecError, MissingExtraError

PLANE, ODD, STACK = pixels(40, 50), pixels(37, 53), pixels(5, 40, 50)
GREY, COLOUR, FLOATS = pixels(40, 50, dtype="u1"), pixels(40, 50, 3, dtype="u1"), pixels(40, 50, dtype="f4")
COLOURS = pixels(5, 40, 50, 3, dtype="u1")


def pillow_stack(**options):
    from PIL import Image

    file = io.BytesIO()
    first, *rest = [Image.fromarray(plane) for plane in STACK]
    first.save(file, "TIFF", save_all=True, append_images=rest, **options)
    return file.getvalue()


def with_thumbnail():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(PLANE, metadata=None, compression="zlib")
        writer.write(PLANE[::4, ::4], metadata=None, subfiletype=1)
    return file.getvalue()


def planar_by_imageio():
    import imageio.v2

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tifffile's: it will write pages in future
        imageio.v2.volwrite(file, pixels(4, 40, 50, dtype="u1"), format="tiff")
    return file.getvalue()


def twelve_bits():
    bits = np.unpackbits((PLANE >> 4).astype(">u2").view(np.uint8).reshape(40, 50, 2), axis=-1)[..., 4:]
    strip = np.packbits(bits.reshape(40, -1), axis=-1).tobytes()
    tags = [(256, LONG, 50), (257, LONG, 40), (258, SHORT, 12), (259, SHORT, 1), (262, SHORT, 1), (277, SHORT, 1)]
    return tiff_by_hand([*tags, (273, LONG, strips_at(9)), (278, LONG, 40), (279, LONG, len(strip))], strip)


def strips_back_to_front():
    """Return a file of 4 x 5 bytes in two raw strips, the second of which lies first."""
    data = bytearray(tiff_bytes(np.arange(20, dtype="u1").reshape(4, 5), rowsperstrip=2, metadata=None))
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    first, second = page.dataoffsets
    at = page.tags["StripOffsets"].valueoffset
    data[first : first + 20] = data[second : second + 10] + data[first : first + 10]
    data[at : at + 8] = second.to_bytes(4, "little") + first.to_bytes(4, "little")
    return bytes(data)


PLANES = {
    "one strip": lambda: tiff_bytes(ODD),
    "big-endian": lambda: tiff_bytes(ODD, byteorder=">"),
    "BigTIFF": lambda: tiff_bytes(ODD, bigtiff=True),
    "big-endian BigTIFF": lambda: tiff_bytes(ODD, bigtiff=True, byteorder=">"),
    "raw strips": lambda: tiff_bytes(ODD, rowsperstrip=16),
    "a strip a row": lambda: tiff_bytes(ODD, rowsperstrip=1),
    "strips back to front": strips_back_to_front,
    "tiles": lambda: tiff_bytes(ODD, tile=(16, 16)),
    "deflate tiles": lambda: tiff_bytes(ODD, tile=(16, 32), compression="zlib"),
    "deflate strips, the last short": lambda: tiff_bytes(ODD, compression="zlib", rowsperstrip=7),
    "deflate, a strip a row": lambda: tiff_bytes(ODD, compression="zlib", rowsperstrip=1),
    "deflate, big-endian, predictor": lambda: tiff_bytes(
        PLANE, compression="zlib", predictor=2, byteorder=">", rowsperstrip=7
    ),
    "deflate, BigTIFF, big-endian": lambda: tiff_bytes(
        PLANE, compression="zlib", bigtiff=True, byteorder=">", tile=(16, 16)
    ),
    "float predictor": lambda: tiff_bytes(FLOATS, compression="zlib", predictor=3, rowsperstrip=10),
    "lzw": lambda: tiff_bytes(PLANE, compression="lzw", rowsperstrip=9),
    "lzw, predictor": lambda: tiff_bytes(PLANE, compression="lzw", predictor=2, rowsperstrip=9),
    "zstd": lambda: tiff_bytes(PLANE, compression="zstd", rowsperstrip=8),
    "zstd, predictor, tiles": lambda: tiff_bytes(PLANE, compression="zstd", predictor=2, tile=(16, 16)),
    "packbits": lambda: tiff_bytes(GREY, compression="packbits", rowsperstrip=6),
    "lzma": lambda: tiff_bytes(PLANE, compression="lzma", rowsperstrip=6),
    "lerc": lambda: tiff_bytes(FLOATS, compression="lerc", tile=(16, 16)),
    "png": lambda: tiff_bytes(PLANE, compression="png", tile=(16, 16)),
    "jpegxl": lambda: tiff_bytes(PLANE, compression="jpegxl", compressionargs={"lossless": True}, tile=(32, 32)),
    "jpeg2000": lambda: tiff_bytes(PLANE, compression="jpeg2000", compressionargs={"level": 0}, tile=(32, 32)),
    "jpeg": lambda: tiff_bytes(COLOUR, compression="jpeg", photometric="rgb", tile=(16, 16)),
    "jpeg strips": lambda: tiff_bytes(COLOUR, compression="jpeg", photometric="rgb", rowsperstrip=16),
    "jpeg with tables, by libtiff": lambda: pillow_bytes(pixels(64, 80, 3, dtype="u1"), "TIFF", compression="jpeg"),
    "libtiff, lzw": lambda: pillow_bytes(GREY, "TIFF", compression="tiff_lzw"),
    "libtiff, raw": lambda: imagecodecs.tiff_encode(PLANE),
    "libtiff, raw, behind the head": lambda: imagecodecs.tiff_encode(pixels(150, 90)),
    "libtiff, deflate, colour": lambda: pillow_bytes(COLOUR, "TIFF", compression="tiff_adobe_deflate"),
    "Pillow": lambda: pillow_bytes(GREY, "TIFF"),
    "samples": lambda: tiff_bytes(COLOUR, photometric="rgb"),
    "samples, deflate": lambda: tiff_bytes(COLOUR, photometric="rgb", compression="zlib", rowsperstrip=7),
    "planar samples": lambda: tiff_bytes(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"),
    "planar samples, tiles": lambda: tiff_bytes(
        np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib", tile=(16, 16)
    ),
    "planar samples by imageio": planar_by_imageio,
    "12 bits": twelve_bits,
    "1 bit": lambda: tiff_bytes(pixels(40, 50, dtype=bool)),
    "bool, deflate": lambda: tiff_bytes(pixels(40, 50, dtype=bool), compression="zlib"),
    "by hand": plain_tiff,
    "with a thumbnail": with_thumbnail,
    "(1, y, x)": lambda: tiff_bytes(PLANE[None]),
    "(y, x, 1)": lambda: tiff_bytes(PLANE[..., None]),
    "OME": lambda: tiff_bytes(PLANE, ome=True),
    "NPY": lambda: npy_bytes(ODD),
    "NPY, Fortran": lambda: npy_bytes(np.asfortranarray(ODD)),
    "NPY, (1, y, x)": lambda: npy_bytes(PLANE[None]),
    "NPY, (y, x, 1), Fortran": lambda: npy_bytes(np.asfortranarray(PLANE[..., None])),
    "NPY, version 2": lambda: npy_by_hand(
        "{'descr': '>u2', 'fortran_order': False, 'shape': (40, 50)}", PLANE.astype(">u2").tobytes(), 2
    ),
    "NPY, version 3": lambda: npy_by_hand(
        "{'descr': '<i4', 'fortran_order': True, 'shape': (40, 50)}", pixels(50, 40, dtype="<i4").tobytes(), 3
    ),
    "NPY, bytes behind the pixels": lambda: npy_bytes(PLANE) + b"more",
    **{
        f"NPY, {dtype}": lambda dtype=dtype: npy_bytes(pixels(12, 9, dtype=dtype))
        for dtype in ("?", "i1", "u1", "<i2", ">u2", ">i4", "<u8", "<f2", ">f4", "<f8", ">c8", "<c16")
    },
}
VOLUMES = {
    "tifffile": lambda: tiff_bytes(STACK),
    "tifffile, one directory": lambda: tiff_bytes(STACK, truncate=True),
    "tifffile, compressed": lambda: tiff_bytes(STACK, compression="zlib", rowsperstrip=11),
    "tifffile, no description": lambda: tiff_bytes(STACK, metadata=None),
    "tifffile, no description, compressed": lambda: tiff_bytes(STACK, metadata=None, compression="zlib"),
    "tifffile, tiles": lambda: tiff_bytes(STACK, tile=(16, 16)),
    "tifffile, named axis": lambda: tiff_bytes(STACK, metadata={"axes": "TYX"}),
    "page by page": lambda: tiff_pages(STACK),
    "page by page, compressed": lambda: tiff_pages(STACK, compression="zstd"),
    "page by page, contiguous": lambda: tiff_pages(STACK, contiguous=True),
    "page by page, raw strips": lambda: tiff_pages(STACK, rowsperstrip=9, metadata=None),
    "big-endian BigTIFF": lambda: tiff_bytes(STACK, metadata=None, byteorder=">", bigtiff=True),
    "ImageJ": lambda: tiff_bytes(STACK, imagej=True),
    "ImageJ, one directory": lambda: tiff_bytes(STACK, imagej=True, truncate=True),
    "ImageJ, hyperstack": lambda: tiff_bytes(STACK[None, :, None], imagej=True, metadata={"axes": "TZCYX"}),
    "OME": lambda: tiff_bytes(STACK, ome=True),
    "Pillow": pillow_stack,
    "Pillow, compressed": lambda: pillow_stack(compression="tiff_adobe_deflate"),
    "colours": lambda: tiff_bytes(COLOURS, photometric="rgb"),
    "planar colours": lambda: tiff_bytes(
        np.moveaxis(COLOURS, -1, 1), photometric="rgb", planarconfig="separate", compression="zlib"
    ),
    "large, page by page": lambda: tiff_pages(pixels(6, 90, 70)),
    "large, page by page, compressed": lambda: tiff_pages(pixels(5, 90, 70), compression="zlib"),
    "ImageDepth": lambda: tiff_bytes(STACK, volumetric=True, tile=(16, 16, 16), compression="zlib"),
    "ImageDepth, raw": lambda: tiff_bytes(pixels(16, 32, 48), volumetric=True, tile=(16, 16, 16)),
    "NPY": lambda: npy_bytes(STACK),
    "NPY, Fortran, big-endian": lambda: npy_bytes(np.asfortranarray(STACK.astype(">u2"))),
    "NPY, (y, x, s)": lambda: npy_bytes(COLOUR),
    "NPY, (y, x, s), Fortran": lambda: npy_bytes(np.asfortranarray(COLOUR)),
    "NPY, (z, y, x, s)": lambda: npy_bytes(COLOURS),
    "NPY, (z, y, x, s), Fortran": lambda: npy_bytes(np.asfortranarray(COLOURS)),
    "NPY, (1, 5, 40, 50)": lambda: npy_bytes(STACK[None]),
}


def regions(shape):
    """Return a strategy of regions: of each axis the first pixel and one past the last."""
    bounds = [st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(sorted) for n in shape]
    return st.tuples(*bounds).map(lambda pairs: tuple(slice(a, b if b > a else a + 1) for a, b in pairs))


def readings(whole):
    """Yield the shape that a document may state of an array, with the axes that are wanted of the tile."""
    if whole.ndim == 2:
        stated = dict(zip("yx", whole.shape, strict=True))
        yield from ((None, ("y", "x")), (stated, ("y", "x")), (stated | {"z": 1}, ("z", "y", "x")))
    elif whole.ndim == 3 and whole.shape[-1] in (3, 4):
        stated = dict(zip("yx", whole.shape, strict=False))
        yield from ((stated, ("y", "x", "s")), (stated, ("z", "y", "x", "s")))
    elif whole.ndim == 3:
        stated = dict(zip("zyx", whole.shape, strict=True))
        yield from ((None, ("z", "y", "x")), (stated, ("z", "y", "x")), (stated, ("y", "x", "z")))
    else:
        stated = dict(zip("zyx", whole.shape, strict=False))
        yield from ((None, ("z", "y", "x", "s")), (stated, ("z", "y", "x", "s")))


@pytest.mark.parametrize("write", [*PLANES.values(), *VOLUMES.values()], ids=[*PLANES, *(f"z {n}" for n in VOLUMES)])
def test_a_part_equals_that_part_of_the_whole(write, read_layout, read_part):
    """Any region of any file, read from its own ranges only, is what the whole file has there."""
    data = write()
    seen = 0
    for stated, dims in readings(decode(data, request())):
        wanted = request(stated)
        whole = decode(data, wanted, dims)
        found, asked = read_layout(data, wanted)
        assert asked[0] == (0, HEADER_BYTES)
        assert len(asked) <= 6
        if found is None:
            continue
        seen += 1
        _equal_everywhere(data, wanted, dims, whole, found, read_part)
    assert seen >= 1


def _equal_everywhere(data, wanted, dims, whole, found, read_part):
    @settings(max_examples=settings.default.max_examples // 4)  # of each of some 200 files and readings
    @given(regions(whole.shape))
    def check(region):
        cut = part(found, wanted, dims, region)
        got = read_part(data, cut)
        np.testing.assert_array_equal(got, whole[region], strict=True)
        assert got.dtype.isnative
        bounds = [edge for range_ in cut.ranges for edge in range_]
        assert bounds == sorted(set(bounds)), "the ranges are not sorted, disjoint and apart"
        assert bounds[-1] <= found.size <= len(data)

    check()


MUTATIONS = 12  # of each file


def mutated(data, rng):
    """Return `data` with a flipped bit, a block of zeros or ones, or its end cut off; mostly near its start."""
    changed = bytearray(data)
    reach = min(len(changed), 600) if rng.random() < 0.7 else len(changed)
    at, kind = int(rng.integers(reach)), rng.integers(3)
    if kind == 0:
        changed[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        n = len(changed[at : at + 4])
        changed[at : at + 4] = bytes([int(rng.choice([0, 1, 255]))]) * n
    else:
        del changed[int(rng.integers(1, len(changed))) :]
    return bytes(changed)


def attempt(function, *args):
    """Return what `function` gives, or None where it raises an error of slicedfs; any other one fails the test."""
    try:
        return function(*args)
    except (CodecError, MissingExtraError):
        return None


@pytest.mark.parametrize("write", PLANES.values(), ids=PLANES)
def test_parts_of_damaged_files_are_right_or_an_error(write, read_layout, read_part):
    """A damaged file gives an error of slicedfs, or the pixels that it has when it is read whole: nothing else.

    By its own layout as by that of the sound file, where the head of the damaged one confirms it.
    """
    sound, rng = write(), np.random.default_rng(7)
    stated, dims = list(readings(decode(sound, request())))[-1]
    wanted = request(stated, max_bytes=1 << 22, format="NUMPY" if sound[:1] == b"\x93" else "TIFF")
    shape = decode(sound, wanted, dims).shape
    learned, _ = read_layout(sound, wanted)
    read = 0
    for data in [sound, *(mutated(sound, rng) for _ in range(MUTATIONS))]:
        starts = [int(rng.integers(n)) for n in shape]
        region = tuple(slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(starts, shape, strict=True))
        whole = attempt(decode, data, wanted, dims)
        own = attempt(read_layout, data, wanted)
        layouts = [own[0]] if own else []
        if learned.repeats and learned.confirms(data[: learned.head.stop]):
            layouts.append(learned)
        for found in layouts:
            cut = None if found is None else attempt(part, found, wanted, dims, region)
            got = None if cut is None or found.size > len(data) else attempt(read_part, data, cut)
            if got is not None and whole is not None:
                np.testing.assert_array_equal(got, whole[region], strict=True)
                read += 1
    assert read >= 1


@pytest.mark.parametrize("write", VOLUMES.values(), ids=VOLUMES)
def test_parts_of_damaged_stacks_are_of_the_right_shape_or_an_error(write, read_layout, read_part):
    """A damaged stack gives an error of slicedfs, or pixels of the shape asked for: planes may be inferred."""
    sound, rng = write(), np.random.default_rng(8)
    stated, dims = list(readings(decode(sound, request())))[-1]
    wanted = request(stated, max_bytes=1 << 22, format="NUMPY" if sound[:1] == b"\x93" else "TIFF")
    region = tuple(slice(n // 3, n // 2 + 1) for n in decode(sound, wanted, dims).shape)
    read = 0
    for data in [sound, *(mutated(sound, rng) for _ in range(MUTATIONS))]:
        found = attempt(read_layout, data, wanted)
        cut = attempt(part, found[0], wanted, dims, region) if found and found[0] else None
        got = attempt(read_part, data, cut) if cut and found[0].size <= len(data) else None
        if got is not None:
            assert got.shape == tuple(part_.stop - part_.start for part_ in region)
            read += 1
    assert read >= 1 or read_layout(sound, wanted)[0] is None
