"""What nodes show of themselves, as text and as HTML; thumbnails; and the public names."""

import base64
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image
from smallsets import Bench, plane, tile, tile_set

import slicedfs
from slicedfs.errors import MissingTileError
from slicedfs.show.summary import plain


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Give files in memory."""
    with Bench("repr") as made:
        yield made


def opened(bench: Bench, path: str = "set.json") -> Any:
    """Open a node, and forget the request that this took."""
    node = slicedfs.open(bench.url(path), storage_options=bench.options)
    bench.fs.clear()
    return node


class Page(HTMLParser):
    """The tags and the visible text of a piece of HTML; fails where tags do not pair up."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: set[str] = set()
        self.rows: dict[str, str] = {}
        self.pictures: list[dict[str, str | None]] = []
        self.text = ""
        self._name = ""
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))
        else:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.stack[-1:] == ["th"]:
            self._name = data
        elif self.stack[-1:] == ["td"]:
            self.rows[self._name] = data


TAGS = {"div", "strong", "table", "tr", "th", "td"}


# text


def test_tile_set_as_text(bench: Bench) -> None:
    """A tile set shows its counts, how many positions are empty, and the size of its tiles."""
    bench.put_set([tile(f"t{i}.npy", r=i // 2, c=i % 2) for i in range(3)], {"r": 2, "c": 2})
    assert repr(opened(bench)) == (
        "<slicedfs.TileSet recording://b/set.json: r=2 c=2, 3 tiles, 1 of 4 positions empty>"
    )
    bench.put_set([tile("t0.npy", r=0), tile("t1.npy", r=1)], {"r": 2}, default_tile_shape={"x": 3, "y": 2})
    assert repr(opened(bench)) == "<slicedfs.TileSet recording://b/set.json: r=2, 2 tiles, tiles of 2x3 px>"
    uneven = [tile("t0.npy", r=0), tile("t1.npy", r=1) | {"tile_shape": {"y": 4, "x": 3}}]
    bench.put_set(uneven, {"r": 2}, default_tile_shape={"x": 3, "y": 2})
    assert repr(opened(bench)) == "<slicedfs.TileSet recording://b/set.json: r=2, 2 tiles, tiles of 2 shapes>"


def test_names_stay_on_their_line(bench: Bench) -> None:
    """Control characters of names are escaped in the text."""
    bench.put_set([tile("t0.npy", r=0)], {"r": 1})
    bench.put(root={"version": "0.1.0", "contents": {"a\n\x1b[31mb\ud800": "set.json"}})
    node = opened(bench, "root.json")["a\n\x1b[31mb\ud800"]
    assert repr(node) == r"<slicedfs.TileSet a\n\x1b[31mb\ud800: r=1, 1 tiles>"
    assert repr(opened(bench, "root.json")).endswith(r"collection of 1: 'a\n\x1b[31mb\ud800'>")
    assert plain("x" * 201) == "x" * 200 + "…"


# HTML


def test_tile_set_as_html(bench: Bench) -> None:
    """A tile set shows dims with their labels, tiles, formats, size, ranges, and the names of its extras."""
    tiles = [tile(f"t{i}.npy", {"xc": [10 * i, 10 * i + 3], "yc": [0, 2]}, r=i, c=4) for i in range(3)]
    tiles[0]["tile_format"] = "TIFF"
    more = {"default_tile_format": "NUMPY", "default_tile_shape": {"y": 2, "x": 3}, "extras": {"made": 1, "by": 2}}
    bench.put_set(tiles, {"r": 4, "c": 1}, **more)
    page = Page(opened(bench)._repr_html_())
    assert page.text.startswith("slicedfs.TileSet")
    assert page.tags == TAGS
    assert page.rows == {
        "url": "recording://b/set.json",
        "version": "0.1.0",
        "dims": "r: 4 (0 … 3), c: 1 (4)",
        "tiles": "3 (1 of 4 positions empty)",
        "tile size": "2 x 3 px",
        "format": "TIFF (1), NUMPY (2)",
        "pixels": "18 (their dtype is known once it is opened)",
        "xc from … to": "0 … 23",
        "yc from … to": "0 … 2",
        "extras": "made, by",
    }


def test_html_reads_nothing(bench: Bench) -> None:
    """Neither repr makes a request; once a header has been read, the size in bytes is known."""
    bench.put_set([tile(f"t{i}.npy", r=i) for i in range(2)], {"r": 2}, default_tile_shape={"y": 2, "x": 3})
    node = opened(bench)
    node._repr_html_(), repr(node)
    assert bench.read == []
    node.to_dataset()
    bench.fs.clear()
    assert Page(node._repr_html_()).rows["pixels"] == "12 of uint16, 24 B"
    assert bench.read == []


@pytest.mark.parametrize(
    ("hint", "expected"), [("<f4", "6 of float32, 24 B"), ("nonsense", "6 (their dtype is known once it is opened)")]
)
def test_stated_dtype(bench: Bench, hint: str, expected: str) -> None:
    """A dtype that the document states is used; one that is none is not."""
    extras = {"slicedfs": {"dtype": hint}}
    bench.put_set([tile("t0.npy", r=0)], {"r": 1}, default_tile_shape={"y": 2, "x": 3}, extras=extras)
    assert Page(opened(bench)._repr_html_()).rows["pixels"] == expected


def test_little_is_stated(bench: Bench) -> None:
    """What a document does not state is said to be so; labels with gaps are listed."""
    bench.put_set([tile(f"t{r}.npy", r=r) for r in (1, 5, 9)], {"r": 3}, extras="text")
    rows = Page(opened(bench)._repr_html_()).rows
    assert rows["dims"] == "r: 3 (1, 5, 9)"
    assert (rows["tiles"], rows["tile size"], rows["format"]) == ("3", "not stated", "by file name")
    assert rows["pixels"] == "not known: the document does not state the shape of all tiles"
    assert rows["extras"] == "text"
    bench.put(set=tile_set([], {}))
    rows = Page(opened(bench)._repr_html_()).rows
    assert (rows["dims"], rows["tiles"], rows["tile size"], rows["format"]) == ("none", "0", "none", "none")


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([3, 4, 5, 6], 4, "4 (3 … 6)"),
        ([1, 2, 4, 8, 16, 32, 64], 7, "7 (1, 2, 4, 8, 16, 32, … 64)"),
        ([0, 2], 3, "3 (0 … 2)"),
        ([0, 10**12], 2, "2 (0, 1000000000000)"),
    ],
)
def test_labels(bench: Bench, labels: list[int], count: int, expected: str) -> None:
    """Labels are the range of the count where all lie in it, else those that the tiles have."""
    bench.put_set([tile(f"t{i}.npy", r=label) for i, label in enumerate(labels)], {"r": count})
    assert Page(opened(bench)._repr_html_()).rows["dims"] == f"r: {expected}"


def test_mosaics_have_no_empty_positions(bench: Bench) -> None:
    """Several tiles at one position are no reason to call another one empty."""
    tiles = [tile(f"t{i}.npy", {"xc": [3 * i, 3 * i + 3], "yc": [0, 2]}, r=0, c=0) for i in range(3)]
    bench.put_set(tiles, {"r": 1, "c": 1})
    assert Page(opened(bench)._repr_html_()).rows["tiles"] == "3"


HOSTILE = '<script>alert("1")</script>&amp;\n\u202e\x00'


def test_hostile_text_is_escaped(bench: Bench) -> None:
    """Names, extras, formats and references of a document are text in HTML, whatever they hold."""
    extras = {HOSTILE: HOSTILE, "'\"><img src=x onerror=alert(1)>": 1}
    hostile = tile("t0.npy", {HOSTILE: [0, 3]}, **{HOSTILE: 0}) | {"tile_format": HOSTILE}
    bench.put_set([hostile], {HOSTILE: 1}, extras=extras, version="0.1.0")
    bench.put(root={"version": "0.1.0", "contents": {HOSTILE: "set.json", "<b>": HOSTILE}, "extras": extras})
    root = opened(bench, "root.json")
    for node in (root, root[HOSTILE]):
        html = node._repr_html_()
        page = Page(html)
        assert page.tags == TAGS
        assert '<script>alert("1")</script>&amp;' in page.text
        assert not re.search("[\x00\n\u202e]", html)


def test_secrets_do_not_show(bench: Bench) -> None:
    """Signatures in references do not show."""
    references = {"a": "https://user:password@h.example/a.json?sig=secret"}
    bench.put(root={"version": "0.1.0", "contents": references})
    html = opened(bench, "root.json")._repr_html_()
    assert "https://h.example/a.json?sig=…" in html
    assert "secret" not in html
    assert "password" not in html


def test_collection_as_html(bench: Bench) -> None:
    """A collection shows its kind and its first twenty members, and reads none of them."""
    bench.put(root={"version": "0.1.0", "contents": {f"fov_{i:02}": f"fov/{i}.json" for i in range(25)}})
    node = opened(bench, "root.json")
    page = Page(node._repr_html_())
    assert (page.rows["kind"], page.rows["members"], page.rows["url"]) == (
        "collection",
        "25",
        "recording://b/root.json",
    )
    assert page.rows["fov_19"] == "fov/19.json"
    assert "fov_20" not in page.rows
    assert "… 5 more" in page.text
    assert bench.read == []


# thumbnails


def pictures(html: str) -> list[np.ndarray[Any, Any]]:
    """Decode the pictures of a piece of HTML."""
    found = []
    for picture in Page(html).pictures:
        source = picture["src"]
        assert source is not None
        head, _, data = source.partition(",")
        assert head == "data:image/png;base64"
        found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
    return found


def test_thumbnails(bench: Bench) -> None:
    """Tiles spread over the set are read, each once, and stretched from black to white."""
    bench.put_set([tile(f"t{i}.npy", r=i) for i in range(8)], {"r": 8})
    node = opened(bench)
    _ = node.to_dataset()
    bench.fs.clear()
    found = node.thumbnails(4)
    assert sorted(bench.read) == ["t0.npy", "t0.npy", "t2.npy", "t4.npy", "t6.npy"]  # the header, and four tiles
    assert found.labels == ("r=0", "r=2", "r=4", "r=6")
    pixels = np.asarray(found)
    assert (pixels.shape, pixels.dtype, len(found)) == ((4, 2, 3), np.dtype("uint8"), 4)
    # 1 … 6 between the 1st percentile, 1.05, and the 99.8th, 5.99: (2 - 1.05) / 4.94 * 255 = 49.0, and so on.
    np.testing.assert_array_equal(pixels[0], [[0, 49, 101], [152, 204, 255]])
    for picture, expected in zip(pictures(found._repr_html_()), pixels, strict=True):
        np.testing.assert_array_equal(picture, expected)
    assert repr(found) == "<Thumbnails of 4 tiles, 2 x 3 px>"


def test_thumbnails_are_thinned_out(bench: Bench) -> None:
    """Large tiles show every nth pixel, at most size_px of them; there are no more thumbnails than tiles."""
    bench.put_set([tile("t0.npy", r=0)], {"r": 1})
    large = np.arange(300 * 500).reshape(300, 500) % 7
    bench.put(t0=large.astype("uint8"))
    found = np.asarray(opened(bench).thumbnails(9, size_px=100))
    assert found.shape == (1, 100, 100)
    np.testing.assert_array_equal(found[0] == 255, large[::3, ::5] == 6)
    assert (found == 255).any()


def test_thumbnails_of_stacks_and_colours(bench: Bench) -> None:
    """Of a stack the middle plane shows, of samples the colours."""
    bench.put_set([tile("t0.npy", r=0)], {"r": 1})
    stack = np.zeros((5, 2, 3), "uint16")
    stack[2, 1, 1] = 9
    bench.put(t0=stack)
    np.testing.assert_array_equal(np.asarray(opened(bench).thumbnails())[0], [[0, 0, 0], [0, 255, 0]])
    buffer = io.BytesIO()
    colours = np.zeros((4, 5, 3), "uint8")
    colours[1, 2] = (255, 255, 0)
    Image.fromarray(colours).save(buffer, "PNG")
    bench.fs.files["b/t.png"] = buffer.getvalue()
    bench.put(set=tile_set([tile("t.png", r=0)], {"r": 1}))
    found = np.asarray(opened(bench).thumbnails())
    assert found.shape == (1, 4, 5, 3)
    np.testing.assert_array_equal(found[0], colours)


def test_thumbnails_of_mosaics(bench: Bench) -> None:
    """Tiles of a mosaic show each by itself; smaller ones are padded."""
    tiles = [tile("t0.npy", {"xc": [0, 3], "yc": [0, 2]}, r=0), tile("t1.npy", {"xc": [3, 5], "yc": [0, 1]}, r=0)]
    tiles[0]["tile_shape"], tiles[1]["tile_shape"] = {"y": 2, "x": 3}, {"y": 1, "x": 2}
    bench.put(t1=np.array([[1, 2]], "uint16"))
    bench.put_set(tiles, {"r": 1})
    found = np.asarray(opened(bench).thumbnails())
    np.testing.assert_array_equal(found, [[[0, 49, 101], [152, 204, 255]], [[0, 255, 0], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((1, 3), 7, "uint8"), [0, 0, 0]),
        (np.array([[False, True, False]]), [0, 255, 0]),
        (np.array([[np.nan, 1.0, 3.0]]), [0, 0, 255]),
        (np.full((1, 3), np.nan), [0, 0, 0]),
        (np.array([[-np.inf, 1.0, np.inf]]), [0, 0, 0]),
        (np.array([[0, 3j, -3]]), [0, 255, 255]),
    ],
    ids=str,
)
def test_thumbnails_of_odd_pixels(bench: Bench, pixels: Any, expected: list[int]) -> None:
    """Constant tiles and NaN are black, complex numbers show their size."""
    bench.put_set([tile("t0.npy", r=0)], {"r": 1})
    bench.put(t0=pixels)
    np.testing.assert_array_equal(np.asarray(opened(bench).thumbnails())[0], [expected])


def test_thumbnails_that_fail(bench: Bench) -> None:
    """Counts below 1 are refused, and a tile that is absent is an error."""
    bench.put_set([tile("t0.npy", r=0), tile("t1.npy", r=1)], {"r": 2})
    node = opened(bench)
    with pytest.raises(ValueError, match=r"^n must be an integer >= 1, got 0\.$"):
        node.thumbnails(0)
    with pytest.raises(ValueError, match=r"^size_px must be an integer >= 1, got 1\.5\.$"):
        node.thumbnails(size_px=1.5)
    del bench.fs.files["b/t1.npy"]
    with pytest.raises(MissingTileError, match=r"^recording://b/t1\.npy: there is no such file"):
        node.thumbnails()


def test_pixels_of_a_tile_are_as_expected() -> None:
    """The pixels that the expected values above are computed from."""
    np.testing.assert_array_equal(plane(0), [[1, 2, 3], [4, 5, 6]])


# public names


def test_public_names_in_any_order() -> None:
    """Every public name is there whatever is asked for first; ``explain`` is the function, not its module."""
    for first in ("Plan", "explain", "trace"):
        code = f"import slicedfs; slicedfs.{first}; print(callable(slicedfs.explain), callable(slicedfs.trace))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "True True\n"
    assert all(getattr(slicedfs, name) is not None for name in slicedfs.__all__)


def test_importing_is_cheap() -> None:
    """Neither the package nor its conveniences load tqdm, pandas, Pillow or dask before they are used."""
    code = (
        "import sys, slicedfs; slicedfs.trace, slicedfs.progress\n"
        "print([name for name in ('tqdm', 'pandas', 'PIL', 'dask', 'xarray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
