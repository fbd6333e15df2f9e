"""Image sets for tests: written and read back by slicedimage 4.1.1, never by slicedfs.

Every pixel tells where it belongs (:func:`encode`), so that a tile in the wrong place, a transposed tile or a shifted
crop shows. :func:`expected` gives a whole array from that rule alone; :func:`oracle` gives what slicedimage reads.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import numpy as np
import slicedimage  # type: ignore[import-untyped]
from numpy.typing import NDArray

__all__ = [
    "EXPERIMENT",
    "SAMPLES",
    "Layout",
    "OracleTile",
    "absolute_references",
    "encode",
    "expected",
    "oracle",
    "oracle_array",
    "oracle_tiles",
    "split_tiles",
    "write_collection",
    "write_experiment",
    "write_tile_set",
]

SAMPLES = Path(__file__).parent / "data" / "manifests"
"""Manifests of the real world: starfish's, slicedimage's own tests', spacetx-writer's; some with pixels.

The pixels of starfish-written/example_plot_format_structured_data are all 0: no test of pixels can rest on them.
"""

Array = NDArray[Any]
Labels = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a tile set shall hold."""

    labels: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"r": (0, 1), "c": (0, 1, 2), "z": (0, 1)})
    """index dim -> labels, in the order of the array's axes; labels below 8 keep all values distinct."""
    tile_shape: tuple[int, int] = (24, 40)
    """(y, x) of one tile, pixels."""
    dtype: str = "uint32"
    """dtype of the tiles; slicedimage writes PNG as uint8 and uint16 only."""
    missing: frozenset[tuple[int, ...]] = frozenset()
    """Positions without a tile, as labels in the order of `labels`."""
    grid: tuple[int, int] = (1, 1)
    """(rows, columns) of tiles at every position: a mosaic where not (1, 1)."""
    origin_um: tuple[float, float] = (0.0, 0.0)
    """(y, x) of the outer corner of the first pixel, micrometres."""
    pixel_um: float = 0.5
    """Size of a pixel, micrometres."""
    names: tuple[str, str, str] = ("zc", "yc", "xc")
    """Names of the coordinates: SpaceTx's, or slicedimage's geometric ("z", "y", "x")."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """``extras`` of the tile set."""

    @property
    def plane(self) -> tuple[int, int]:
        """(y, x) of all tiles at one position together."""
        return self.grid[0] * self.tile_shape[0], self.grid[1] * self.tile_shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array: one axis per index dim, then y and x."""
        counts = tuple(len(labels) for labels in self.labels.values())
        return (*counts, *self.plane)

    def positions(self) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """Give (labels, row, column) of every tile that exists."""
        for labels in product(*self.labels.values()):
            if labels not in self.missing:
                for row, column in product(range(self.grid[0]), range(self.grid[1])):
                    yield labels, row, column


EXPERIMENT: Mapping[str, Mapping[str, Layout]] = {
    "primary": {"fov_000": Layout(), "fov_001": Layout(origin_um=(0.0, 20.0))},
    "nuclei": {
        "fov_000": Layout(labels={"r": (0,), "c": (0,)}),
        "fov_001": Layout(labels={"r": (0,), "c": (0,)}, origin_um=(0.0, 20.0)),
    },
}
"""What the fixture `experiment` holds: two fields of view side by side, each 40 pixels of 0.5 um wide."""


def encode(labels: tuple[int, ...], shape: tuple[int, int], dtype: str = "uint32") -> Array:
    """Give the plane (y, x) at `labels`: ``1 + 1009 * (labels as digits in base 8) + y * width + x``.

    Never 0 in uint32, so that no pixel looks like fill. 1009 is odd: small types wrap around and planes still differ.
    """
    digits = 0
    for label in labels:
        digits = digits * 8 + label
    values = 1 + 1009 * digits + np.arange(shape[0] * shape[1], dtype=np.int64).reshape(shape)
    return values.astype(dtype)


def expected(layout: Layout) -> Array:
    """Give the whole array of `layout`; 0 where a tile is missing."""
    whole = np.zeros(layout.shape, layout.dtype)
    axes = [{label: i for i, label in enumerate(labels)} for labels in layout.labels.values()]
    for labels in product(*layout.labels.values()):
        if labels not in layout.missing:
            at = tuple(axis[label] for axis, label in zip(axes, labels, strict=True))
            whole[at] = encode(labels, layout.plane, layout.dtype)
    return whole


def write_tile_set(
    directory: Path,
    layout: Layout,
    *,
    name: str = "tileset",
    version: str = "0.1.0",
    tile_format: str = "TIFF",
    tile_directory: str = "",
) -> Path:
    """Write one tile set, ``{name}.json`` and its tiles, with slicedimage; return the document.

    `tile_directory` puts the tiles into a directory below the document.
    """
    with _quiet():
        return _write(
            _tile_set(layout, tile_format), directory / f"{name}.json", (version, tile_format, tile_directory)
        )


def write_collection(
    directory: Path,
    contents: Mapping[str, Any],
    *,
    name: str = "collection",
    version: str = "0.1.0",
    tile_format: str = "TIFF",
) -> Path:
    """Write a collection with slicedimage; return its document.

    `contents` maps names to a :class:`Layout`, or to a mapping of the same kind: a nested collection.
    """
    with _quiet():
        return _write(_collection(contents, tile_format), directory / f"{name}.json", (version, tile_format, ""))


def write_experiment(
    directory: Path,
    images: Mapping[str, Mapping[str, Layout]],
    *,
    version: str = "5.0.0",
    tile_set_version: str = "0.1.0",
    tile_format: str = "TIFF",
) -> Path:
    """Write a SpaceTx experiment, image type -> field of view -> layout; return ``experiment.json``.

    The collections are slicedimage's; the experiment and a codebook that maps nothing are plain JSON, as in the
    SpaceTx format (experiment schema 5.0.0, and 4.0.0 with ``primary_images`` where `version` starts with 4).
    """
    documents = {}
    for image, fields in images.items():
        write_collection(directory, fields, name=image, version=tile_set_version, tile_format=tile_format)
        documents[image] = f"{image}.json"
    experiment: dict[str, Any] = {"version": version, "codebook": "codebook.json", "extras": {}}
    if version.startswith("4."):
        experiment["primary_images"] = documents.pop("primary")
        experiment["auxiliary_images"] = documents
    else:
        experiment["images"] = documents
    codeword = {"codeword": [{"r": 0, "c": 0, "v": 1.0}], "target": "gene"}
    _dump(directory / "codebook.json", {"version": "0.0.0", "mappings": [codeword]})
    return _dump(directory / "experiment.json", experiment)


def absolute_references(document: Path, base_url: str) -> None:
    """Rewrite the references of one document to absolute URLs below `base_url`, percent-encoded."""
    content = json.loads(document.read_text())
    for tile in content.get("tiles", ()):
        tile["file"] = _absolute(base_url, tile["file"])
    for name, reference in content.get("contents", {}).items():
        content["contents"][name] = _absolute(base_url, reference)
    _dump(document, content)


def split_tiles(document: Path, directory: Path, base_url: str) -> None:
    """Move the tiles of a tile set to `directory`, which is served at `base_url`, where the document then refers."""
    references = [tile["file"] for tile in json.loads(document.read_text())["tiles"]]
    for reference in references:
        target = directory / reference
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(document.parent / reference, target)
    absolute_references(document, base_url)


class OracleTile(NamedTuple):
    """One tile as slicedimage 4.1.1 reads it."""

    labels: dict[str, int]
    coordinates: dict[str, tuple[float, float]]
    pixels: Array


def oracle_tiles(document: Path, path: str = "") -> list[OracleTile]:
    """Read every tile of a tile set with slicedimage 4.1.1, in the order of the document.

    Parameters
    ----------
    document
        A tile set, a collection, or a SpaceTx experiment (whose first step slicedimage cannot do; done here by hand).
    path
        The names that lead to the tile set, as "primary/fov_000"; empty where `document` is the tile set itself.
    """
    steps = path.split("/") if path else []
    content = json.loads(document.read_text())
    images = content.get("images") or {"primary": content.get("primary_images")} | content.get("auxiliary_images", {})
    reference = images[steps.pop(0)] if "codebook" in content else document.name
    with _quiet():
        node = slicedimage.Reader.parse_doc(reference, document.parent.as_uri())
        for step in steps:
            assert isinstance(node, slicedimage.Collection), f"{document}: nothing below {step!r}"
            node = node._partitions[step]
        return [OracleTile(dict(t.indices), dict(t.coordinates), np.array(t.numpy_array)) for t in node.tiles()]


def oracle(document: Path, path: str = "") -> dict[Labels, Array]:
    """Read a tile set with slicedimage 4.1.1: ``(("c", 0), ("r", 1), ("z", 0)) -> (y, x)``, dims sorted by name.

    ValueError where two tiles share their labels (a mosaic): use :func:`oracle_tiles`.
    """
    tiles = oracle_tiles(document, path)
    result = {tuple(sorted(tile.labels.items())): tile.pixels for tile in tiles}
    if len(result) != len(tiles):
        raise ValueError(f"{document}: {len(tiles)} tiles have {len(result)} positions.")
    return result


def oracle_array(document: Path, path: str = "", *, dims: tuple[str, ...] = ("r", "c", "z")) -> Array:
    """Read a tile set with slicedimage 4.1.1 as one array (*dims, y, x), labels sorted; 0 where a tile is missing."""
    tiles = oracle(document, path)
    axes = [sorted({dict(labels)[dim] for labels in tiles}) for dim in dims]
    first = next(iter(tiles.values()))
    whole = np.zeros((*map(len, axes), *first.shape), first.dtype)
    for labels, pixels in tiles.items():
        at = tuple(axis.index(dict(labels)[dim]) for axis, dim in zip(axes, dims, strict=True))
        whole[at] = pixels
    return whole


def _collection(contents: Mapping[str, Any], tile_format: str) -> Any:
    collection = slicedimage.Collection()
    for name, part in contents.items():
        node = _tile_set(part, tile_format) if isinstance(part, Layout) else _collection(part, tile_format)
        collection.add_partition(name, node)
    return collection


def _tile_set(layout: Layout, tile_format: str) -> Any:
    height, width = layout.tile_shape
    counts = {dim: len(labels) for dim, labels in layout.labels.items()}
    # slicedimage emits `dimensions` in the order of a frozenset: at random from run to run, and so do real writers.
    tile_set = slicedimage.TileSet(
        dimensions={*layout.labels, *layout.names, "y", "x"},
        shape=counts,
        default_tile_shape={"y": height, "x": width},
        default_tile_format=slicedimage.ImageFormat[tile_format],
        extras=dict(layout.extras),
    )
    for labels, row, column in layout.positions():
        tile_set.add_tile(_tile(layout, labels, (row, column)))
    return tile_set


def _tile(layout: Layout, labels: tuple[int, ...], cell: tuple[int, int]) -> Any:
    (height, width), (row, column) = layout.tile_shape, cell
    indices = dict(zip(layout.labels, labels, strict=True))
    z, y, x = layout.names
    coordinates = {
        y: _range_um(layout.origin_um[0], row * height, height, layout.pixel_um),
        x: _range_um(layout.origin_um[1], column * width, width, layout.pixel_um),
    }
    if "z" in indices:
        coordinates[z] = _range_um(0.0, 4 * indices["z"], 4, layout.pixel_um)
    tile = slicedimage.Tile(coordinates, indices, extras={"cell": [row, column]} if layout.grid != (1, 1) else None)
    plane = encode(labels, layout.plane, layout.dtype)
    tile.numpy_array = plane[row * height : (row + 1) * height, column * width : (column + 1) * width]
    return tile


def _range_um(origin_um: float, start_px: int, size_px: int, pixel_um: float) -> tuple[float, float]:
    return origin_um + start_px * pixel_um, origin_um + (start_px + size_px) * pixel_um


def _write(node: Any, document: Path, how: tuple[str, str, str]) -> Path:
    version, tile_format, tile_directory = how
    (document.parent / tile_directory).mkdir(parents=True, exist_ok=True)
    slicedimage.Writer.write_to_path(
        node,
        document.absolute(),
        pretty=True,
        version_class={kind.VERSION: kind for kind in slicedimage.VERSIONS}[version],
        writer_contract=_contract(tile_directory),
        tile_format=slicedimage.ImageFormat[tile_format],
    )
    return document


def _contract(tile_directory: str) -> Any:
    """Give a WriterContract that puts tiles below `tile_directory` and tells the cells of a mosaic apart.

    slicedimage names tiles by their indices alone, so the tiles of a mosaic would overwrite each other.
    """

    class Contract(slicedimage.WriterContract):  # type: ignore[misc]
        def tile_url_generator(self, tileset_url: str, tile: Any, ext: str) -> str:
            parts = urlsplit(str(super().tile_url_generator(tileset_url, tile, ext)))
            directory, _, name = parts.path.rpartition("/")
            cell = tile.extras.get("cell")
            stem = name.removesuffix(f".{ext}") + (f"-y{cell[0]}-x{cell[1]}" if cell else "")
            path = "/".join(part for part in (directory, tile_directory, f"{stem}.{ext}") if part)
            return urlunsplit(parts._replace(path=path))

    return Contract()


def _absolute(base_url: str, reference: str) -> str:
    return f"{base_url.rstrip('/')}/{quote(unquote(reference))}"


def _dump(path: Path, content: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False))
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence slicedimage's and imageio's own warnings: they are no business of the code under test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
