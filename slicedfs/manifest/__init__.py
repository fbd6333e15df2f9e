"""Documents: JSON bytes <-> the model of :mod:`slicedfs.model`. Pure: no I/O, no reference is followed.

    text.py        bytes -> JSON values, and what is wrong with bytes that are not JSON
    checks.py      one value: is it what the format wants; errors and warnings with their place
    kinds.py       which kind of document, which versions; what a wrong document is
    collection.py  collections and SpaceTx experiments
    tileset.py     a tile set's own fields
    tiles.py       its array of tiles, in bounded batches: typed path first, careful path where that gives up
    typed.py       the fast path: tiles that all look like the first one
    careful.py     any tiles, one at a time, with the exact place of what is wrong
    columns.py     batches -> columns
    dump.py        model -> JSON bytes
    packed.py      the packed index of a tile set's columns -> model; lazily.py: columns made when they are asked for
    packing.py     model -> packed index

There is one model; versions differ in how a shape is written, and that is read by its type.
"""

from slicedfs.manifest.checks import Place
from slicedfs.manifest.collection import read_collection, read_experiment
from slicedfs.manifest.dump import dump
from slicedfs.manifest.kinds import Kind, kind_of
from slicedfs.manifest.packed import Made, Packed, is_packed, unpack
from slicedfs.manifest.packing import pack
from slicedfs.manifest.text import NotPlainError, load, split
from slicedfs.manifest.tileset import read_tile_set
from slicedfs.model import Document

__all__ = ["Made", "Packed", "dump", "is_packed", "pack", "parse", "unpack"]


def parse(data: bytes | memoryview, url: str) -> Document:
    """Read one document.

    Collections, tile sets and SpaceTx experiments of every version that slicedimage or starfish can write (slicedimage
    4.1.1, ``io/_v0_0_0.py`` and ``io/_v0_1_0.py``; starfish 0.4.0, ``spacetx_format/schema``).

    Parameters
    ----------
    data
        The bytes of the document: JSON in UTF-8, with or without a byte order mark, not compressed; or a packed index.
    url
        Where they were read from. It is stored in the result, and (redacted) named in messages.

    Returns
    -------
    CollectionDocument or TileSetDocument
        References are as written; nothing is resolved.

    Raises
    ------
    ManifestError
        The bytes are not JSON, or not a document of these kinds, or break a rule of the format. `pointer` names the
        place.

    Warns
    -----
    ManifestWarning
        The document is odd, but can be read. At most one warning for each oddity.
    """
    if is_packed(data):
        return unpack(data, url).document
    try:
        place = Place(url)
        document = _read(split(data), place)
    except NotPlainError:
        place = Place(url)
        document = _read(load(data, place), place)
    place.warn()
    return document


def _read(value: object, place: Place) -> Document:
    """Read a document that is loaded or split up."""
    kind, document = kind_of(value, place)
    if kind is Kind.TILE_SET:
        return read_tile_set(document, place)
    return read_collection(document, place) if kind is Kind.COLLECTION else read_experiment(document, place)
