"""The fast path, the careful path and plain json must agree."""

import json
import warnings

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from manifest.documents import DIGEST, URL, assert_equal, encode, expected_tiles, read_quietly, said, tile, tile_set

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.manifest import parse, typed
from slicedfs.manifest import tiles as tiles_module
from slicedfs.manifest.checks import Place
from slicedfs.manifest.columns import Vocabulary
from slicedfs.manifest.tiles import read_tiles

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = FLOATS | st.integers(-(2**70), 2**70)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.sampled_from(["}, {", '"}, {"', "\\", "a b"])
SHAPES = st.sampled_from([[4, 5], {"y": 4, "x": 5}, {"x": 5, "y": 4}, [3, 4, 5], {"x": 1, "y": 2}])
EXTRAS = st.sampled_from([{}, None, [], {"a": 1}, [{"a": 1}, {"b": {}}], "}, {", 0])
DIGESTS = st.sampled_from([DIGEST, DIGEST.upper(), "0" * 64, "f" * 64])
ODD = {
    "indices": [
        None,
        [],
        {},
        {"r": -1, "c": 0},
        {"r": 1.0, "c": 0},
        {"r": True, "c": 0},
        {"c": 0},
        {"r": 2**63, "c": 0},
        {"r": 0, "c": 0, "x": "left"},
    ],
    "coordinates": [None, {}, {"xc": [1]}, {"xc": "1"}, {"xc": 1}, {"q": [1, 2]}, {"xc": [None, 1], "yc": 0}],
    "file": ["", None, 1, "\ud800.tif"],
    "sha256": ["", "x", DIGEST[1:], DIGEST[1:] + " ", 1, None],
    "tile_shape": [None, [1], [0, 1], {"x": 1}, "4x5", {"x": 1, "y": 1, "c": 1}],
    "tile_format": [None, "", 1],
    "extras": [1e400, "\ud800"],
    "odd": [None, {}, [{"a": 1}, {"b": 2}]],
}


@st.composite
def plain_tiles(draw):
    """Tiles as a writer makes them: all with the same keys, and values of the same types."""
    dims = draw(st.sets(TEXTS | st.sampled_from(["x", "y"]), max_size=3)) | {"r", "c"}
    names = draw(st.lists(TEXTS, unique=True, max_size=3))
    scalars = {name: draw(st.booleans()) for name in names}
    optional = {
        key: values
        for key, values in {
            "sha256": DIGESTS,
            "tile_shape": SHAPES,
            "tile_format": TEXTS,
            "extras": EXTRAS,
            "odd": EXTRAS,
        }.items()
        if draw(st.booleans())
    }
    one = st.fixed_dictionaries(
        {
            "coordinates": st.fixed_dictionaries(
                {name: NUMBERS if scalars[name] else st.lists(NUMBERS, min_size=2, max_size=2) for name in names}
            ),
            "indices": st.fixed_dictionaries({dim: st.integers(0, 2**63 - 1) for dim in sorted(dims)}),
            "file": TEXTS,
            **optional,
        }
    )
    return draw(st.lists(one, max_size=12))


@st.composite
def odd_tiles(draw):
    """Plain tiles, of which a few have other keys, or values that may break a rule."""
    tiles = draw(plain_tiles())
    for position in draw(st.lists(st.integers(0, 11), max_size=3)):
        if position < len(tiles):
            key = draw(st.sampled_from(sorted(ODD)))
            tiles[position] = tiles[position] | {key: draw(st.sampled_from(ODD[key]))}
            if draw(st.booleans()):
                del tiles[position][draw(st.sampled_from(sorted(tiles[position])))]
    return tiles


def outcome(value, counts):
    """Return the tiles, the warnings and the error that reading `value` gives."""
    place = Place(URL)
    try:
        return read_tiles(value, counts, place), place.notes, None
    except ManifestError as error:
        return None, {}, (str(error), error.pointer)


def outcomes(tiles, *, batch_bytes):
    """Read tiles both ways, in batches of about `batch_bytes`; the second is by the standard library alone."""
    text = json.dumps(tiles, allow_nan=True).replace("Infinity", "1e400")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles_module, "_BATCH_BYTES", batch_bytes)
        fast = outcome(msgspec.Raw(text.encode()), {"r": 3, "c": 1})
    return fast, outcome(json.loads(text), {"r": 3, "c": 1})


@settings(deadline=None)
@given(plain_tiles(), st.sampled_from([1, 40, 300, 1 << 19]))
def test_plain_tiles_read_as_the_standard_library_reads_them(tiles, batch_bytes):
    """Batches of any size, by structs, say what json.loads says."""
    document = tile_set(*tiles, shape={"r": 3, "c": 1}) | {"tiles": tiles}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles_module, "_BATCH_BYTES", batch_bytes)
        assert said(read_quietly(document).tiles) == expected_tiles(json.loads(encode(document)))


@settings(max_examples=300, deadline=None)
@given(odd_tiles(), st.sampled_from([1, 40, 300, 1 << 19]))
@example([tile(), tile(extras=[{"a": 1}, {"b": 2}])], 1)
@example([tile(odd=1), tile(odd=2)], 1)
@example([tile(), tile(coordinates={}, indices={"r": 1}, sha256=None, tile_shape=None), tile()], 1)
@example([tile(indices={"r": 1}), tile(indices={"r": 2, "t": 3}), tile()], 1)
@example([tile(file="}, {"), tile()], 1)
def test_both_paths_agree_on_all_tiles(tiles, batch_bytes):
    """Equal columns, equal warnings, or the same error at the same place."""
    fast, careful = outcomes(tiles, batch_bytes=batch_bytes)
    assert fast[1:] == careful[1:]
    assert_equal(fast[0], careful[0])


@pytest.mark.parametrize("count", [1, 15, 16, 17, 30])
def test_tiles_may_have_many_coordinates_with_long_names(count):
    """Structs read any number of them, of any length and alphabet, exactly."""
    names = [f"{'é' * (i * 9)}{i}" for i in range(count)]
    tiles = [
        tile(coordinates={name: [t + i / 7, -i] if i % 3 else t - i for i, name in enumerate(names)}) for t in range(3)
    ]
    text = encode(tiles)
    layout = typed.learn(memoryview(text))
    assert layout is not None
    batch = typed.read_batch(text, layout, 0, Vocabulary(), Place(URL))
    assert batch is not None
    assert {name: column.tolist() for name, column in batch.coordinates.items()} == {
        name: [[t + i / 7, -i] if i % 3 else [t - i, t - i] for t in range(3)] for i, name in enumerate(names)
    }


def plain(**changes):
    """Return the JSON of three tiles that structs can read."""
    return encode([tile(indices={"r": i, "c": 2}, **changes) for i in range(3)])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"coordinates": {"xc": 1, "yc": 2.5, "zc": [0, 1]}},
        {"coordinates": {}},
        {"sha256": ...},
        {"sha256": None},
        {"sha256": "does-not-exist"},
        {"sha256": " " + DIGEST[1:]},
        {"tile_shape": [4, 5]},
        {"tile_shape": None},
        {"tile_format": None},
        {"extras": [{"a": 1}, {"b": 2}]},
        {"extras": ...},
        {"fov": 3},
        {"file": "é.tif"},
    ],
)
def test_the_fast_path_takes_tiles_that_look_alike(changes):
    """What writers write does not fall back to the careful path."""
    text = plain(**changes)
    layout = typed.learn(memoryview(text))
    assert layout is not None
    batch = typed.read_batch(text, layout, 0, Vocabulary(), Place(URL))
    assert batch is not None
    assert batch.indices["r"].tolist() == [0, 1, 2]
    assert batch.indices["c"].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"odd": 1},
        {"file": ""},
        {"file": ...},
        {"indices": {"r": -1, "c": 2}},
        {"indices": {"r": 1}},
        {"indices": {"r": 1, "c": 2, "z": 0}},
        {"indices": {"r": 1.0, "c": 2}},
        {"indices": {"r": True, "c": 2}},
        {"indices": {"r": 2**63, "c": 2}},
        {"coordinates": {"xc": [0, 1], "yc": [0, 1]}},
        {"coordinates": {"xc": [0, 1], "yc": [0, 1], "zc": [0, 1]}},
        {"coordinates": {"xc": [0, None], "yc": [0, 1], "zc": 0}},
        {"sha256": 5},
        {"tile_shape": [0, 5]},
        {"tile_format": 5},
    ],
)
def test_the_fast_path_gives_up_on_any_deviation(changes):
    """One tile that differs is enough, and nothing is left behind."""
    text = encode([tile(), tile(**changes)])
    layout, vocabulary, place = typed.learn(memoryview(text)), Vocabulary(), Place(URL)
    assert layout is not None
    assert typed.read_batch(text, layout, 0, vocabulary, place) is None
    assert (vocabulary.shapes, vocabulary.formats, place.notes) == ({}, {}, {})


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"[ ]",
        b"[1]",
        b"[null]",
        b"[{}]",
        b'[{"indices": {}, "coordinates": []}]',
        b'[{"indices": {"a\\"b": 1}, "coordinates": {}}]',
        encode([tile(indices={f"d{i}": i for i in range(100)})]),
        encode([tile(extras="x" * 100_000)]),
    ],
)
def test_a_first_tile_that_structs_cannot_say_has_no_layout(text):
    """The careful path reads such documents, or says what is wrong."""
    assert typed.learn(memoryview(text)) is None


def test_one_odd_tile_costs_only_its_batch(monkeypatch):
    """Tiles before and after it are read by structs, and keep their numbers."""
    taken = []
    real = typed.read_batch

    def recorded(*arguments):
        batch = real(*arguments)
        taken.append((arguments[2], batch is not None))
        return batch

    monkeypatch.setattr(typed, "read_batch", recorded)
    monkeypatch.setattr(tiles_module, "_BATCH_BYTES", 2000)
    tiles = [tile(file=f"{i}.tif", **({"odd": 1} if i == 25 else {})) for i in range(60)]
    document = tile_set(*tiles)
    assert said(read_quietly(document).tiles) == expected_tiles(document)
    assert len(taken) > 5
    assert [first <= 25 for first, was_fast in taken if not was_fast] == [True]
    assert any(first > 25 for first, was_fast in taken if was_fast)


def test_warnings_are_not_repeated_when_a_document_is_read_again():
    """A document that splits up badly is read from the start, with the warnings of one reading."""
    text = encode(tile_set(tile(sha256="x"), tile(file="\ud800"), dimensions=...))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parse(text, URL)
    assert [w.category for w in caught] == [ManifestWarning, ManifestWarning]
