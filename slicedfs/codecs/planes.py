"""How many planes a TIFF file's first directory describes, and what they mean. Pure.

ImageJ (lines as "slices=3" after "ImageJ=1.11a"; channels vary fastest, then slices, then frames), tifffile
('{"shape": [6, 4, 5]}'), MetaMorph (the number of values of UIC2) and OME (SizeC, SizeZ, SizeT of the first Pixels
element).
"""

import json
import re
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["described_planes"]

Planes = tuple[tuple[str, int], ...]

_IMAGEJ_LINE = re.compile(r"^(images|channels|slices|frames)=([0-9]{1,9})\s*$", re.MULTILINE)
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]{0,4000}>")
_OME_SIZE = re.compile(r"\bSize([CZT])=\"([0-9]{1,9})\"")
_OME_ORDER = re.compile(r"\bDimensionOrder=\"XY([CZT]{3})\"")
_UIC2 = 33629  # MetaMorph: as many planes as the tag has values


def described_planes(page: "TiffPage", n_pages: int) -> Planes:
    """Return name and size of the axes that the planes make up; () for a single plane.

    Parameters
    ----------
    page
        The first directory.
    n_pages
        How many directories like it the file has. One: further planes that are described follow without directories.

    Raises
    ------
    ValueError
        The description contradicts the number of directories.
    """
    shaped = _shaped(page)
    described = _imagej(page) or shaped or _metamorph(page)
    n_described = prod(n for _, n in described)
    if n_described > 1:
        # After tifffile's first stack others may follow, each with a description of its own.
        if n_pages in (1, n_described) or (shaped and n_described < n_pages):
            return described
        raise ValueError(f"its description tells {n_described} planes, but it has {n_pages}")
    if n_pages == 1:
        return ()
    ome = _ome(page)  # one file may hold a part of what it describes
    return ome if prod(n for _, n in ome) == n_pages else (("z", n_pages),)


def _imagej(page: "TiffPage") -> Planes:
    if not page.description.startswith("ImageJ="):
        return ()
    found = {key: int(value) for key, value in _IMAGEJ_LINE.findall(page.description)}
    slices, frames, channels = (found.get(key, 1) for key in ("slices", "frames", "channels"))
    if channels == page.samplesperpixel and found.get("images", slices * frames) == slices * frames:
        channels = 1  # samples of a pixel are told as channels
    return _several(("t", frames), ("z", slices), ("c", channels))


def _shaped(page: "TiffPage") -> Planes:
    """Return the leading axes of tifffile's description; () where it does not fit the page."""
    text = page.description
    if not text.startswith('{"shape":'):
        return ()
    told = json.loads(text)
    shape = tuple(int(n) for n in told["shape"])
    n_leading = len(shape) - len(page.shape)
    axes = str(told.get("axes", "")).lower()
    if n_leading < 1 or shape[n_leading:] != page.shape:
        return ()
    names = axes if len(axes) == len(shape) else "q" * len(shape)
    return _several(*zip(names[:n_leading], shape[:n_leading], strict=True))


def _metamorph(page: "TiffPage") -> Planes:
    tag = page.tags.get(_UIC2)
    return () if tag is None else _several(("z", tag.count))


def _ome(page: "TiffPage") -> Planes:
    element = _OME_PIXELS.search(page.description)
    if element is None:
        return ()
    sizes = {key: int(value) for key, value in _OME_SIZE.findall(element[0])}
    order = _OME_ORDER.search(element[0])
    sizes["C"] = max(1, sizes.get("C", 1) // page.samplesperpixel)
    slowest_first = reversed(order[1] if order else "ZCT")
    return _several(*((key.lower(), sizes.get(key, 1)) for key in slowest_first))


def _several(*axes: tuple[str, int]) -> Planes:
    return tuple((dim, n) for dim, n in axes if n > 1)
