"""The table in README.md of what loads and what stays lazy: every row runs, without dask and with it.

A row is an expression on `image`, the array of conformance_set: 95 tiles. It runs on an array that was just opened, on
one opened with ``chunks={}``, and on the same pixels in memory, which gives the values to expect.
"""

import ast
import asyncio
import copy
import inspect
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import conformance_set
import numpy as np
import pytest
import xarray as xr

SET: Any = conformance_set  # it has no types
README = Path(__file__).parents[1] / "README.md"
HEADING = "## What loads, what stays lazy\n"
TILES = 2 * 3 * 4 * 2 * 2 - 1
"""Of `image`: two rounds, three channels, four planes of 2 x 2 tiles, and one of them is missing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    code: str
    """An expression on `image`."""
    plain: str
    """What it requests without dask: "lazy: N" (nothing, and N tiles when the result is loaded), "loads: N" (N tiles at
    once, and nothing more when the result is loaded), or "nothing"."""
    chunked: str
    """The same with ``chunks={}``."""
    then: str = "it"
    """How its result, `it`, is used afterwards: an expression that can be compared."""


OPERATIONS = [
    # looking at it
    Row("repr(image)", "nothing", "nothing", "'image' in it"),
    Row("image._repr_html_()", "nothing", "nothing", "'image' in it"),
    Row("image.nbytes", "nothing", "nothing"),
    Row("image.identical(image)", "nothing", "nothing"),
    # selecting
    Row("image.isel(r=0, c=1, z=2)", "lazy: 4", "lazy: 4"),
    Row("image.isel(y=slice(10, 20), x=slice(50, 60))", "lazy: 24", "lazy: 24"),
    Row("image.isel(z=[3, 0, 3])", "lazy: 47", "lazy: 47"),
    Row("image.isel(z=image.z > 1)", "lazy: 47", "lazy: 47"),
    Row("image.isel(r=0, c=0, z=0, y=spots, x=spots)", "lazy: 2", "lazy: 2"),
    Row("image.sel(r=1, x=slice(110, 120))", "lazy: 24", "lazy: 24"),
    Row('image.sel(x=110, y=-40, method="nearest")', "lazy: 24", "lazy: 24"),
    Row("image.sel(zc=0.5)", "lazy: 24", "lazy: 24"),
    Row("image[0, 1, :, ::-1]", "lazy: 16", "lazy: 16"),
    Row("image.loc[0, 1, 2]", "lazy: 4", "lazy: 4"),
    Row("image.head(x=5)", "lazy: 48", "lazy: 48"),
    Row("image.thin(z=2)", "lazy: 48", "lazy: 48"),
    Row("image.drop_sel(c=1)", "lazy: 63", "lazy: 63"),
    Row('image.sortby("x", ascending=False)', "lazy: 95", "lazy: 95"),
    Row('image.drop_duplicates("z")', "lazy: 95", "lazy: 95"),
    Row("image.reindex(c=[2, 0])", "lazy: 63", "lazy: 63"),
    Row("image.reindex(c=[2, 5], fill_value=0)", "loads: 31", "lazy: 31"),
    Row("list(image.isel(r=0, c=0))", "lazy: 16", "lazy: 16"),
    # the same pixels, in another form
    Row('image.transpose("x", "y", ...)', "lazy: 95", "lazy: 95"),
    Row("image.isel(r=[0]).squeeze()", "lazy: 48", "lazy: 48"),
    Row('image.rename(r="round")', "lazy: 95", "lazy: 95"),
    Row("image.assign_coords(r=[1, 2])", "lazy: 95", "lazy: 95"),
    Row('image.assign_attrs(stain="DAPI")', "lazy: 95", "lazy: 95"),
    Row('image.drop_vars("zc")', "lazy: 95", "lazy: 95"),
    Row('image.swap_dims(z="zc")', "lazy: 95", "lazy: 95"),
    Row('image.set_xindex("zc")', "lazy: 95", "lazy: 95"),
    Row("image.copy()", "lazy: 95", "lazy: 95"),
    Row("copy.deepcopy(image)", "lazy: 95", "lazy: 95"),
    Row("pickle.loads(pickle.dumps(image))", "lazy: 95", "lazy: 95"),
    Row('image.to_dataset("c")', "lazy: 95", "lazy: 95"),
    Row('image.expand_dims("fov")', "loads: 95", "lazy: 95"),
    Row('image.stack(plane=["c", "z"])', "loads: 95", "lazy: 95"),
    Row('image.broadcast_like(xr.DataArray([0, 1], dims="fov"))', "loads: 95", "lazy: 95"),
    Row('image.astype("float32")', "loads: 95", "lazy: 95"),
    Row('image.coarsen(y=8, x=8).construct(y=("y", "v"), x=("x", "u"))', "loads: 95", "lazy: 95"),
    Row("image.roll(z=1)", "loads: 95", "lazy: 95"),
    Row("image.shift(z=1, fill_value=0)", "loads: 72", "lazy: 72"),
    Row("image.pad(x=1)", "loads: 95", "lazy: 95"),
    # several arrays
    Row("xr.align(image, image.isel(x=slice(0, 9)))", "lazy: 96", "lazy: 96"),
    Row('xr.align(image.sel(c=[0]), image.sel(c=[1]), join="outer")', "loads: 64", "lazy: 64"),
    Row('xr.merge([image, image.copy()], compat="override")', "lazy: 95", "lazy: 95"),
    Row('xr.merge([image, image.copy()], compat="no_conflicts")', "loads: 190", "lazy: 95"),
    Row('xr.concat([image.sel(r=1), image.sel(r=0)], "r")', "loads: 95", "lazy: 95"),
    Row('image.to_dataset("c").to_dataarray("c")', "loads: 95", "lazy: 95"),
    Row("xr.DataTree(image.to_dataset()).isel(r=0)", "lazy: 48", "lazy: 48"),
    # computing
    Row("image + 1", "loads: 95", "lazy: 95"),
    Row("image.sel(r=0) - image.sel(r=1)", "loads: 95", "lazy: 95"),
    Row("np.sqrt(image)", "loads: 95", "lazy: 95"),
    Row("image.where(image.z > 1, drop=True)", "loads: 47", "lazy: 47"),
    Row("image.clip(max=1000)", "loads: 95", "lazy: 95"),
    Row('image.max("r")', "loads: 95", "lazy: 95"),
    Row('image.isel(z=1).mean(["y", "x"])', "loads: 24", "lazy: 24"),
    Row('image.isel(r=0, c=0).quantile(0.5, ["y", "x"])', "loads: 16", "lazy: 16"),
    Row('image.cumsum("z")', "loads: 95", "lazy: 95"),
    Row('image.diff("z")', "loads: 143", "lazy: 95"),
    Row("image.equals(image.copy())", "loads: 190", "nothing"),
    Row("image.isel(r=0, c=0, z=0).interp(x=110.4, y=-40)", "loads: 1", "lazy: 1"),
    Row("image.coarsen(y=8, x=8)", "lazy: 95", "lazy: 95", "it.max()"),
    Row("image.isel(r=0, c=0, z=0).coarsen(y=8, x=8).mean()", "loads: 4", "lazy: 4"),
    Row("image.rolling(z=2)", "lazy: 95", "lazy: 95", "it.max()"),
    Row("image.rolling(z=2).max()", "loads: 95", "lazy: 95"),
    Row('image.groupby("c")', "lazy: 95", "lazy: 95", "it.max()"),
    Row('image.groupby("c").max()', "loads: 95", "lazy: 95"),
    Row('xr.apply_ufunc(np.sqrt, image, dask="parallelized")', "loads: 95", "lazy: 95"),
    Row("dask.base.tokenize(image)", "loads: 95", "nothing", "type(it)"),
    # loading
    Row("image.isel(r=0, c=0, z=0).values", "loads: 4", "loads: 4"),
    Row("int(image.isel(r=0, c=0, z=0, y=5, x=7))", "loads: 1", "loads: 1"),
    Row("image.load()", "loads: 95", "loads: 95"),
    Row("image.compute()", "loads: 95", "loads: 95"),
    Row("await image.isel(r=0, c=0).load_async()", "loads: 16", "loads: 16"),
    Row("image.isel(r=0, c=0, z=0).plot.imshow()", "loads: 4", "loads: 4", "it.get_array().data"),
    Row("image.isel(r=0, c=0, z=0, y=5).plot()", "loads: 2", "loads: 2", "it[0].get_ydata()"),
    Row("image.isel(r=0, c=0, z=0).to_pandas()", "loads: 4", "loads: 4", "it.to_numpy()"),
    Row("image.chunk(z=2)", "lazy: 95", "lazy: 95"),
    Row("image.to_zarr(path, consolidated=False)", "loads: 95", "loads: 95", "stored(path)"),
    Row(
        "image.to_zarr(path, consolidated=False, compute=False)",
        "loads: 95",
        "lazy: 95",
        "(it.compute(), stored(path))[1]",
    ),
]


class Outcome(NamedTuple):
    """What a row did."""

    value: Any
    """What can be compared: loaded, a list where it was a tuple."""
    at_once: int
    """Tiles requested while the expression ran."""
    in_all: int
    """And when its result had been loaded."""


@pytest.fixture(autouse=True)
def agg(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plot into memory, and into a figure of its own for each test."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    from matplotlib import pyplot as plt

    yield
    plt.close("all")


def opened(chunks: dict[str, int] | None) -> xr.DataArray:
    """Open `image` anew, so that nothing is in memory; what was requested before is forgotten."""
    fs = SET.filesystem()
    image = xr.open_dataset(SET.URL, engine="slicedfs", storage_options=SET.OPTIONS, chunks=chunks)["image"]
    fs.clear()
    return image


def in_memory() -> xr.DataArray:
    """Give `image` as it should be, made without slicedfs."""
    image: xr.DataArray = SET.ref.copy(deep=True)
    return image.assign_coords(zc=("z", [0.0, 0.5, 1.0, 1.5]))


def stored(path: str) -> xr.DataArray:
    """Read what a row has written."""
    image: xr.DataArray = xr.open_zarr(path, consolidated=False)["image"]
    return image


def requested() -> int:
    """Count the tiles requested since `image` was opened."""
    return len(SET.tile_reads(SET.filesystem()))


def evaluate(row: Row, image: xr.DataArray, directory: Path) -> Outcome:
    """Run a row on `image`, then load its result."""
    import dask.base

    spots = xr.DataArray([0, 1, 63], dims="spot")
    names = {"image": image, "spots": spots, "path": str(directory / "image.zarr"), "stored": stored}
    names |= {"xr": xr, "np": np, "copy": copy, "pickle": pickle, "dask": dask}
    result = run(row.code, names)
    at_once = requested()
    return Outcome(loaded(run(row.then, names | {"it": result})), at_once, requested())


def run(code: str, names: dict[str, Any]) -> Any:
    """Evaluate one expression, which may await."""
    compiled = compile(code, "README.md", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(compiled, names)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def loaded(value: Any) -> Any:
    """Load what is lazy in `value`, piece by piece."""
    if isinstance(value, list | tuple):
        return [loaded(part) for part in value]
    return value.load() if isinstance(value, xr.DataArray | xr.Dataset | xr.DataTree) else value


def assert_same(value: Any, expected: Any) -> None:
    """Compare types, values, dims, coordinates and dtypes."""
    assert type(value) is type(expected)
    if isinstance(expected, list):
        for part, wanted in zip(value, expected, strict=True):
            assert_same(part, wanted)
    elif isinstance(expected, xr.DataArray | xr.Dataset | xr.DataTree):
        xr.testing.assert_equal(value, expected)
        assert dtypes(value) == dtypes(expected)
    else:
        np.testing.assert_array_equal(value, expected, strict=True)


def dtypes(value: Any) -> dict[Any, np.dtype[Any]]:
    """Give the dtype of every variable."""
    if isinstance(value, xr.DataArray):
        return dtypes(value.to_dataset(name="value"))
    return {name: variable.dtype for name, variable in value.variables.items()}


def counts(cell: str) -> tuple[int, int]:
    """Read a cell: tiles requested at once, and in all."""
    if cell == "nothing":
        return 0, 0
    match = re.fullmatch(r"(lazy|loads): ([1-9]\d*)", cell)
    assert match is not None, cell
    return (int(match[2]) if match[1] == "loads" else 0), int(match[2])


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.code)
def test_rows_request_what_they_say_and_give_what_memory_gives(row: Row, tmp_path: Path) -> None:
    """Each operation requests its number of tiles, at once or on load, and equals the same on the loaded array."""
    for name, chunks, cell in (("plain", None, row.plain), ("chunked", {}, row.chunked)):
        value, *tiles = evaluate(row, opened(chunks), tmp_path / name)
        assert (name, tuple(tiles)) == (name, counts(cell))
        assert_same(value, evaluate(row, in_memory(), tmp_path / f"{name} expected").value)


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "chunked"])
def test_all_tiles_are_requested_once(chunks: dict[str, int] | None) -> None:
    """`image` has 95 tiles, so that "95" in the table means all of it."""
    image = opened(chunks)
    assert requested() == 0
    image.load()
    paths = SET.tile_reads(SET.filesystem())
    assert len(paths) == len(set(paths)) == TILES == 95


def test_what_was_loaded_is_kept() -> None:
    """Without dask a second use of one array requests nothing; with dask it requests everything anew."""
    plain, chunked = opened(None), opened({})
    for image, after in ((plain, [95, 95, 95]), (chunked, [95, 190, 285])):
        SET.filesystem().clear()
        seen = []
        for _ in range(3):
            assert int(image.max()) == 60000
            seen.append(requested())
        assert seen == after


def test_selections_made_before_are_arrays_of_their_own() -> None:
    """A selection of an array that was loaded requests nothing, one that was made before that requests its tiles."""
    image = opened(None)
    before = image.isel(r=0)
    image.load()
    assert requested() == 95
    assert int(image.isel(r=0).max()) == 60000
    assert requested() == 95
    for _ in range(2):  # and keeps them
        assert int(before.max()) == 60000
        assert requested() == 95 + 48


def test_readme_has_every_row_and_no_other() -> None:
    """The table in README.md is this list, in its order."""
    section = README.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert lines == [f"| `{row.code}` | {row.plain} | {row.chunked} |" for row in OPERATIONS]
    assert len({row.code for row in OPERATIONS}) == len(OPERATIONS) >= 40
