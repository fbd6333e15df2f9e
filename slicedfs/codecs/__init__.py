"""Bytes of a tile <-> pixels. Pure: no I/O; the caller fetches the ranges that :func:`probe` yields.

::

    tile.py       TileRequest (what the document says), TileHeader (what the file says), the Codec protocol
    decoding.py   probe(), decode(): the doors to headers and whole files
    layout.py     layout(), part(): the doors to parts of files; hinted(), hint_of()
    registry.py   which codec: stated format, extension, first bytes; register(), entry points
    fit.py        the file's axes against the document's
    regions.py    a region in the document's axes, as a window in the file's
    parts.py      Part, Cut: pieces of a file -> ranges; the rows of an array in one run of bytes
    guard.py      foreign exceptions -> CodecError; size limits
    npy.py  raw.py  tiff.py  png.py  jpeg.py  extra.py   one format each
    (extra.py: JPEG2000, WEBP, JPEGXL, AVIF through imagecodecs)
    tiff.py with tifflayout.py (where its pixels lie), tiffpages.py (its pages), tiffparts.py (strips and tiles),
    tiffproof.py (are its directories where they should be), directories.py, planes.py, sparse.py

A codec for another format: write a class as npy.py's, add it to registry.py or offer it as an entry point.
"""

from slicedfs.codecs.decoding import decode, probe
from slicedfs.codecs.fit import fit, fit_header
from slicedfs.codecs.layout import Layout, fits_size, hint_of, hinted, layout, part
from slicedfs.codecs.parts import LayoutError, Part
from slicedfs.codecs.registry import known_formats, register
from slicedfs.codecs.tile import HEADER_BYTES, MAX_TILE_BYTES, Bytes, Codec, TileHeader, TileRequest

__all__ = [
    "HEADER_BYTES",
    "MAX_TILE_BYTES",
    "Bytes",
    "Codec",
    "Layout",
    "LayoutError",
    "Part",
    "TileHeader",
    "TileRequest",
    "decode",
    "fit",
    "fit_header",
    "fits_size",
    "hint_of",
    "hinted",
    "known_formats",
    "layout",
    "part",
    "probe",
    "register",
]
