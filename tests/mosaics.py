"""Random image sets, written with plain JSON, numpy, tifffile and Pillow, and the array that each of them is.

Nothing here knows how slicedfs places tiles: a set is drawn as integers (which label, which pixel), turned into files
and coordinates in one direction, and pasted tile by tile, in the order of the documents, in the other.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
import xarray as xr
from hypothesis import strategies as st
from PIL import Image

from slicedfs.testing import RecordingFileSystem

__all__ = ["Axis", "Case", "Piece", "World", "cases"]

WIDTHS = (1.0, 0.1, 0.65, 0.1083, 1 / 3, 12.5)
BASES = (0.0, 100.0, -50.25, 1 / 7, 12345.678)
FORMATS = {"NUMPY": "npy", "TIFF": "tif", "PNG": "png"}


@dataclass(frozen=True)
class Axis:
    """A drawn index axis."""

    dim: str
    labels: tuple[int, ...]
    """Of the whole axis, ascending."""
    count: int
    """As ``shape`` states it."""


@dataclass(frozen=True)
class Piece:
    """A drawn tile."""

    position: tuple[int, ...]
    """One number an index axis."""
    origin: tuple[int, ...]
    """First pixel along each image axis."""
    size: tuple[int, ...]
    format: str
    member: int
    """Of the collection."""
    noise: tuple[float, ...]
    """By how much its start lies beside the grid, in pixels, along each image axis."""


@dataclass(frozen=True)
class Case:
    """A drawn image set."""

    index: tuple[Axis, ...]
    """In the order of the array."""
    counted: tuple[str, ...]
    """Index dims in the order of ``shape``."""
    image_dims: tuple[str, ...]
    pieces: tuple[Piece, ...]
    """In the order of the documents."""
    convention: str
    suffix: str
    """"" or "c": of the names of coordinates."""
    widths: tuple[float, ...]
    """Of a pixel along each image axis, signed."""
    bases: tuple[tuple[float, ...], ...]
    """(members, image axes): where pixel 0 begins."""
    placed: tuple[bool, ...]
    """Along which image axes tiles state a range."""
    z_planes: tuple[tuple[float, float], ...]
    """Range of each plane, where z is no image axis and tiles state it; else ()."""
    z_is_label: bool
    combine: str
    """"" for one document, "stack" or "mosaic" for a collection."""
    members: int
    shapes: str
    """"own", "default" or "header": who states the shape of tiles."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Of the array."""
        first = ("fov",) if self.combine == "stack" else ()
        return (*first, *(axis.dim for axis in self.index), *self.image_dims)

    @property
    def is_mosaic(self) -> bool:
        """True where a position has several tiles, or documents are put side by side."""
        places = [(piece.member if self.combine == "stack" else 0, piece.position) for piece in self.pieces]
        return self.combine == "mosaic" or len(set(places)) < len(places)


# drawing


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw an image set."""
    combine = draw(st.sampled_from(["", "", "stack", "mosaic"]))
    z = draw(st.sampled_from(["", "label", "coordinate", "inside"]))
    members = 1 if not combine else draw(st.integers(1, 3))
    index = draw(_index_axes(z))
    image_dims = ("z", "y", "x") if z == "inside" else ("y", "x")
    positions = list(np.ndindex(*(len(axis.labels) for axis in index)))
    plain = draw(st.booleans())
    places = draw(_same_place(positions, image_dims) if plain else _many_places(positions, image_dims))
    alike = len({size for _, _, size in places}) == 1
    convention = draw(st.sampled_from(["edges", "centers"]))
    if not plain and any(max(size[a] for *_, size in places) < 2 for a in range(len(image_dims))):
        convention = "edges"  # a mosaic of single pixels between centres has no pixel size
    noise = [0.0]  # in pixels; what differs by more than 1e-6 px is another range, unless a mosaic absorbs it
    if convention == "edges" or not plain:
        noise += [1e-9, *([] if plain or combine == "stack" else [2e-4])]
    pieces = draw(_pieces(places, (combine, members), z, noise))
    states_z = z == "coordinate" or (z == "label" and draw(st.booleans()))
    planes = sum(1 for axis in index if axis.dim == "z" for _ in axis.labels)
    step = draw(st.sampled_from([0.5, 0.3, 7.0]))
    first = tuple(draw(st.sampled_from(BASES)) for _ in image_dims)
    other = tuple(draw(st.sampled_from(BASES)) for _ in image_dims)
    return Case(
        index=index,
        counted=tuple(draw(st.permutations([axis.dim for axis in index if axis.dim != "z" or z == "label"]))),
        image_dims=image_dims,
        pieces=pieces,
        convention=convention,
        suffix=draw(st.sampled_from(["", "c"])),
        widths=tuple(draw(st.sampled_from(WIDTHS)) * draw(st.sampled_from([1, 1, -1])) for _ in image_dims),
        bases=tuple(other if combine == "stack" and member == 2 else first for member in range(members)),
        placed=tuple(not plain or draw(st.booleans()) for _ in image_dims),
        z_planes=tuple((k * step, k * step + draw(st.sampled_from([0, 0.2]))) for k in range(planes * states_z)),
        z_is_label=z == "label",
        combine=combine,
        members=members,
        shapes=draw(st.sampled_from(["own", "default", "header"][: 3 if z != "inside" else 2] if alike else ["own"])),
    )


@st.composite
def _index_axes(draw: st.DrawFn, z: str) -> tuple[Axis, ...]:
    """Draw index axes in the order of the array: r, c, others, z."""
    others = draw(st.permutations(["hyb", "t"]))[: draw(st.integers(0, 1))]
    dims = [dim for dim in ("r", "c") if draw(st.booleans())] + list(others)
    axes = []
    for dim in [*dims, *(["z"] if z in ("label", "coordinate") else [])]:
        count = draw(st.integers(1, 3))
        labels = tuple(range(count))
        if dim != "z" and draw(st.booleans()):
            labels = tuple(sorted(draw(st.sets(st.integers(0, 40), min_size=count, max_size=count))))
        axes.append(Axis(dim, labels, count))
    return tuple(axes)


@st.composite
def _same_place(draw: st.DrawFn, positions: list[Any], image_dims: tuple[str, ...]) -> list[Any]:
    """Draw one tile a position, all at pixel 0."""
    size = tuple(draw(st.integers(1, 5)) for _ in image_dims)
    return [(position, (0,) * len(image_dims), size) for position in draw(st.permutations(positions))]


@st.composite
def _many_places(draw: st.DrawFn, positions: list[Any], image_dims: tuple[str, ...]) -> list[Any]:
    """Draw several tiles for some positions: a lattice with uneven cuts, or anywhere and overlapping."""
    if draw(st.booleans()):
        least = [1, *(2 if axis == 1 else 1 for axis in range(1, len(image_dims)))]  # two cells at least
        cuts = [np.cumsum([0, *draw(st.lists(st.integers(1, 5), min_size=n, max_size=3))]) for n in least]
        cells = [
            (tuple(int(c[i]) for c, i in zip(cuts, at, strict=True)), at)
            for at in np.ndindex(*(len(c) - 1 for c in cuts))
        ]
        boxes = [(o, tuple(int(c[i + 1] - c[i]) for c, i in zip(cuts, at, strict=True))) for o, at in cells]
    else:
        corner = st.tuples(*(st.integers(0, 9) for _ in image_dims))
        extent = st.tuples(*(st.integers(1, 5) for _ in image_dims))
        boxes = draw(st.lists(st.tuples(corner, extent), min_size=2, max_size=5, unique=True))
    position = draw(st.sampled_from(positions))
    some = [(position, *box) for box in boxes[:2]]  # two tiles at one position make it a mosaic
    others = [(position, *box) for position in positions for box in boxes]
    some += draw(st.lists(st.sampled_from(others), max_size=10, unique=True).map(lambda all_: set(all_) - set(some)))
    return draw(st.permutations(some))


@st.composite
def _pieces(
    draw: st.DrawFn, places: list[Any], collection: tuple[str, int], z: str, noises: list[float]
) -> tuple[Piece, ...]:
    """Draw what files hold the tiles, in which document, and which of them are missing."""
    formats = [name for name in FORMATS if z != "inside" or name != "PNG"]
    mixed = draw(st.booleans())
    one = draw(st.sampled_from(formats))
    size = draw(st.sampled_from(noises))
    combine, members = collection
    pieces = []
    for place in places:
        for member in range(members) if combine == "stack" else [draw(st.integers(0, members - 1))]:
            noise = tuple(draw(st.sampled_from([0.0, size, -size])) for _ in place[1])
            format_ = draw(st.sampled_from(formats)) if mixed else one
            position, origin, size_px = place
            pieces.append(Piece(position, origin, size_px, format_, member, noise))
    pieces.sort(key=lambda piece: piece.member)  # stable: the order within each document stays the drawn one
    return tuple(pieces)


# writing


class World:
    """The files of a case in memory, and the arrays that they are."""

    def __init__(self, name: str, case: Case) -> None:
        self.case, self.fs = case, RecordingFileSystem(name=name)
        self.fs.reset()
        seen = [sorted({piece.position[i] for piece in case.pieces}) for i in range(len(case.index))]
        self.axes = [self._places(axis, at) for axis, at in zip(case.index, seen, strict=True)]
        """Of each index axis, the drawn position -> that in the array, which has as many as the contract says."""
        index = tuple(self._length(axis, of) for axis, of in zip(case.index, self.axes, strict=True))
        self.low = self._extreme(np.min, lambda piece: piece.origin)
        high = self._extreme(np.max, lambda piece: np.add(piece.origin, piece.size))
        used = sorted({piece.member for piece in case.pieces})
        self.names = [f"m{member}" for member in used]
        first = (len(used),) if case.combine == "stack" else ()
        shape = (*first, *index, *(high - self.low))
        self.pixels, self.owners = np.zeros(shape, np.uint16), np.full(shape, -1)
        self.has_tile = np.zeros((*first, *index), bool)
        for number, piece in enumerate(case.pieces):
            pixels = (500 * (number + 1) + np.arange(np.prod(piece.size))).reshape(piece.size).astype(np.uint16)
            self.fs.files[f"b/{self.file(number)}"] = encoded(pixels, piece.format)
            at = (*((used.index(piece.member),) if first else ()), *self.place(piece))
            corner = np.subtract(piece.origin, self.low)
            place = (*at, *map(slice, corner.tolist(), (corner + piece.size).tolist()))
            self.pixels[place], self.owners[place], self.has_tile[at] = pixels, number, True
        self._write()

    def _places(self, axis: Axis, seen: list[int]) -> dict[int, int]:
        """Return drawn position -> position in the array of an index axis: labels in range(count) are positions."""
        labels = [axis.labels[at] for at in seen]
        counts = max(labels) < axis.count and (axis.dim != "z" or self.case.z_is_label)
        return {at: label if counts else i for i, (at, label) in enumerate(zip(seen, labels, strict=True))}

    def _length(self, axis: Axis, places: dict[int, int]) -> int:
        by_count = axis.dim != "z" or self.case.z_is_label
        return axis.count if by_count and all(axis.labels[at] < axis.count for at in places) else len(places)

    def labels(self, number: int) -> Any:
        """Return the labels of an index axis, in the order of the array."""
        axis, places = self.case.index[number], self.axes[number]
        if axis.dim == "z" and not self.case.z_is_label:
            return np.array([np.mean(self.case.z_planes[at]) for at in places])
        length = self._length(axis, places)
        return np.arange(length) if length > len(places) else np.array([axis.labels[at] for at in places])

    def place(self, piece: Piece) -> tuple[int, ...]:
        """Return the position of a tile along the index axes of the array."""
        return tuple(places[at] for places, at in zip(self.axes, piece.position, strict=True))

    def file(self, number: int) -> str:
        """Return the file of a tile, relative to the directory of the documents."""
        return f"t{number}.{FORMATS[self.case.pieces[number].format]}"

    def open(self, **options: Any) -> xr.DataArray:
        """Open the set as the case asks; forget the requests that this took."""
        ways: dict[str, dict[str, Any]] = {"": {}, "stack": {"stack": "fov"}, "mosaic": {"mosaic": True}}
        how = ways[self.case.combine]
        options = {"pixel_coords": self.case.convention, **how, **options}
        url, name = "recording://b/root.json", self.fs.name
        dataset = xr.open_dataset(url, engine="slicedfs", storage_options={"name": name}, **options)
        self.fs.clear()
        return dataset["image"]

    @property
    def read(self) -> set[str]:
        """Names of the files that were read."""
        return {path.removeprefix("b/") for path in self.fs.paths}

    def ranges(self, piece: Piece, axis: int) -> list[float]:
        """Return the range that a tile states along an image axis."""
        width, base = self.case.widths[axis], self.case.bases[piece.member][axis]
        start, steps = piece.origin[axis] + piece.noise[axis], piece.size[axis] - (self.case.convention == "centers")
        return [base + width * start, base + width * (start + steps)]

    def _extreme(self, of: Any, get: Any) -> Any:
        return of([get(piece) for piece in self.case.pieces], axis=0)

    def _write(self) -> None:
        case = self.case
        documents = [self._tile_set(member) for member in sorted({piece.member for piece in case.pieces})]
        if not case.combine:
            self._put("root", documents[0])
            return
        for name, document in zip(self.names, documents, strict=True):
            self._put(name, document)
        self._put("root", {"version": "0.1.0", "contents": {name: f"{name}.json" for name in self.names}})

    def _put(self, name: str, document: Any) -> None:
        self.fs.files[f"b/{name}.json"] = json.dumps(document).encode()

    def _tile_set(self, member: int) -> dict[str, Any]:
        case = self.case
        counts = {axis.dim: axis.count for axis in case.index}
        size = dict(zip(case.image_dims, case.pieces[0].size, strict=True))
        return {
            "version": "0.1.0",
            "dimensions": [*reversed(case.dims)],
            "shape": {dim: counts[dim] for dim in case.counted},
            **({"default_tile_shape": size} if case.shapes == "default" else {}),
            "tiles": [self._tile(i, piece) for i, piece in enumerate(case.pieces) if piece.member == member],
        }

    def _tile(self, number: int, piece: Piece) -> dict[str, Any]:
        case = self.case
        named = zip(case.index, piece.position, strict=True)
        labels = {axis.dim: axis.labels[at] for axis, at in named}
        plane = labels.get("z") if case.z_is_label else labels.pop("z", None)
        coordinates: dict[str, Any] = {
            f"{dim}{case.suffix}": self.ranges(piece, axis)
            for axis, dim in enumerate(case.image_dims)
            if case.placed[axis]
        }
        if case.z_planes and plane is not None:
            low, high = case.z_planes[plane]
            coordinates[f"z{case.suffix}"] = low if low == high else [low, high]
        size = dict(zip(case.image_dims, piece.size, strict=True))
        stated = {"tile_shape": size} if case.shapes == "own" else {}
        format_ = {"tile_format": piece.format} if number % 2 else {}
        return {"file": self.file(number), "indices": labels, "coordinates": coordinates, **stated, **format_}


def encoded(pixels: Any, format_: str) -> bytes:
    """Return the file that another library writes."""
    file = io.BytesIO()
    if format_ == "NUMPY":
        np.save(file, pixels)
    elif format_ == "TIFF":
        with tifffile.TiffWriter(file) as writer:  # page by page: of a whole stack it would guess the axes
            for page in pixels.reshape(-1, *pixels.shape[-2:]):
                writer.write(page, photometric="minisblack", metadata=None)
    else:
        Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
