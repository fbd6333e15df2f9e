"""Bytes of a tile <-> pixels. Pure: no I/O; the caller fetches the ranges that :func:`probe` yields.

::

    tile.py       TileRequest (what the document says), TileHeader (what the file says), the Codec protocol
    decoding.py   probe(), decode(): the two doors
    registry.py   which codec: stated format, extension, first bytes; register(), entry points
    fit.py        the file's axes against the document's
    guard.py      foreign exceptions -> CodecError; size limits
    npy.py  tiff.py (directories.py, planes.py, sparse.py)  png.py  jpeg.py  extra.py   one format each
    (extra.py: JPEG2000, WEBP, JPEGXL, AVIF through imagecodecs)

A codec for another format: write a class as npy.py's, add it to registry.py or offer it as an entry point.
"""

from slicedfs.codecs.decoding import decode, probe
from slicedfs.codecs.fit import fit, fit_header
from slicedfs.codecs.registry import known_formats, register
from slicedfs.codecs.tile import HEADER_BYTES, MAX_TILE_BYTES, Codec, TileHeader, TileRequest

__all__ = [
    "HEADER_BYTES",
    "MAX_TILE_BYTES",
    "Codec",
    "TileHeader",
    "TileRequest",
    "decode",
    "fit",
    "fit_header",
    "known_formats",
    "probe",
    "register",
]
