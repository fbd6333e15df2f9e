"""Bytes that are JSON, and bytes that are not."""

import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest.documents import URL, collection, encode, tile, tile_set

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.manifest import parse

GOOD = encode(collection())


def test_a_byte_order_mark_is_accepted():
    """A BOM of UTF-8 changes nothing."""
    assert parse(b"\xef\xbb\xbf" + GOOD, URL).contents == {"fov_000": "a.json", "fov_001": "b/c.json"}


def test_a_memoryview_is_read_like_bytes():
    """The bytes may lie in any buffer."""
    buffer = bytearray(b"xx" + encode(tile_set(tile(file="é.tif"))) + b"xx")
    assert list(parse(memoryview(buffer)[2:-2], URL).tiles.files) == ["é.tif"]


def test_names_outside_ascii_are_read():
    """UTF-8 and escapes mean the same."""
    written = '{"version": "0.1.0", "contents": {"é": "日本.json", "\\u00e8": "\\ud83d\\ude00"}}'
    assert parse(written.encode(), URL).contents == {"é": "日本.json", "è": "😀"}


def test_lone_surrogates_survive():
    """A broken escape in a name or reference is not the end of the document."""
    document = parse(b'{"version": "0.1.0", "contents": {"\\ud800": "\\udc00.json"}}', URL)
    assert document.contents == {"\ud800": "\udc00.json"}
    tiles = parse(encode(tile_set(tile(file="\udc00.tif"))), URL).tiles
    assert list(tiles.files) == ["\udc00.tif"]


def test_the_last_of_duplicate_keys_wins():
    """As in every JSON parser that slicedimage uses."""
    written = (
        '{"version": "9", "version": "0.1.0", "contents": {"a": "1.json", "a": "2.json"}, "extras": 1, "extras": 2}'
    )
    document = parse(written.encode(), URL)
    assert (document.version, document.contents, document.extras) == ("0.1.0", {"a": "2.json"}, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"fov\.json is not valid JSON at line 1, column 1: Expecting value\. The document is empty\.$"),
        (b" \n", r"The document is empty\.$"),
        (b"{\n  'a': 1}", r"at line 2, column 3: .* Texts take double quotes in JSON\.$"),
        (b'{"a": 1,\n}', r"is not valid JSON at line \d, column \d+: .* comma after the last value: remove it\.$"),
        (b'{"a": [1, 2,]}', r"There is a comma after the last value: remove it\.$"),
        (b'{"a": 1, // note\n "b": 2}', r"at line 1, column 10: .*JSON has no comments\.$"),
        (b'{"a": True}', r"at line 1, column 7: .* true, false and null in lower case\.$"),
        (b'{"shape": ["x": 2]}', r"at line 1, column 15: .*An object takes \{ \}, not \[ \]\.$"),
        (b'{"a": 1', r"at line 1, column 8: .*The document is cut off"),
        (b'{"a": [1, 2', r"The document is cut off"),
        (b'{"version": "0.1', r"at line 1, column 13: .*The document is cut off"),
        (b'{"a":\n {"NaN": "\\"NaN", "b":  NaN}}', r"at line 2, column \d+: NaN is not a number in JSON\. Write null"),
        (b'{"a": [-Infinity]}', r"at line 1, column 8: -Infinity is not a number in JSON"),
        (b'{"a": Infinity}', r"at line 1, column 7: Infinity is not a number in JSON"),
        (GOOD + b"x", r"at line 1, column \d+: Extra data"),
        (b"<!DOCTYPE html><html>", r"at line 1, column 1: .*It is HTML or XML: the server's page for an error"),
        (b"\xef\xbb\xbf <?xml version='1.0'?>", r"It is HTML or XML"),
        ('{"version": "0.1.0"}'.encode("utf-16"), r"is not in UTF-8 \(it looks like UTF-16 or UTF-32\)\. Save it as"),
        ('{"version": "0.1.0"}'.encode("utf-16-le"), r"it looks like UTF-16"),
        ('{"version": "é"}'.encode("latin-1"), r"is not in UTF-8: byte 13 is 0xe9\. Save it as UTF-8\.$"),
        (b"II*\0\x08\0\0\0", r"is a TIFF image, not a JSON document\. Open the document that lists the tiles\.$"),
        (b"\x89PNG\r\n", r"is a PNG image"),
        (b"\x93NUMPY\x01\x00", r"is a NumPy array"),
        (b"\x1f\x8b\x08\0", r"is gzip data"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", r"is nested too deeply to be a manifest\.$"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"holds a number of thousands of digits\.$"),
        (b'{"a": "NaN", "b": ' + b"9" * 5000 + b"}", r"holds a number of thousands of digits\.$"),
    ],
)
def test_what_is_not_json_is_told_where_and_why(data, message):
    """The error names the document and the place, and what to do where that is known."""
    with pytest.raises(ManifestError, match=message) as error:
        parse(data, URL)
    assert str(error.value).startswith(URL)
    assert error.value.url == URL


@pytest.mark.parametrize(
    "inside",
    [b"NaN", b"[" * 100_000 + b"]" * 100_000, b"9" * 5000, b'"\xff"', b'"\xed\xa0\x80"', b"tru", b"[1,]", b'"\x01"'],
)
@pytest.mark.parametrize("key", [b"indices", b"extras", b"odd", b"tile_shape", b"file"])
def test_what_is_not_json_inside_a_tile_is_told_too(inside, key):
    """Nothing but ManifestError leaves, wherever the bytes are wrong."""
    good = encode(tile_set(tile(), tile(file="b.tif")))
    last = good.rindex(b'"file"')
    with pytest.raises(ManifestError, match=r"fov\.json"):
        parse(
            good[:last] + b'"' + key + b'": ' + inside + b", " + good[last:].replace(b'"file": "b.tif"', b'"z": 1'), URL
        )


def test_errors_show_no_secrets():
    """The query and the user's password are not in the message, nor in the attributes."""
    with pytest.raises(ManifestError, match=r"https://h/d/e\.json") as error:
        parse(b"[]", "https://user:pa55@h/d/e.json?X-Amz-Signature=s3cret")
    assert "s3cret" not in f"{error.value} {error.value.url} {error.value.args}"
    assert "pa55" not in f"{error.value} {error.value.url} {error.value.args}"


def test_warnings_show_no_secrets():
    """The query is not in a warning."""
    with pytest.warns(ManifestWarning, match=r"https://h/e\.json") as caught:
        parse(encode(tile_set(dimensions=...)), "https://h/e.json?sig=s3cret")
    assert "s3cret" not in str(caught[0].message)


def quietly(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifestWarning)
        try:
            parse(data, URL)
        except ManifestError as error:
            assert URL in str(error)  # noqa: PT017 - most inputs raise, some are documents


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["version", "contents", "tiles", "shape", "dimensions", "images", "extras", "default_tile_shape", "coordinates"]
)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_manifest_errors(data):
    """Noise is refused, not crashed on."""
    quietly(data)


@settings(deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=6), st.sampled_from(["0.1.0", "0.0.0", "5.0.0"]))
def test_any_fields_raise_nothing_but_manifest_errors(fields, version):
    """Documents with any value under any key are read or refused."""
    quietly(json.dumps(fields | {"version": version}).encode())


@settings(deadline=None)
@given(st.data())
def test_mutated_documents_raise_nothing_but_manifest_errors(data):
    """A document of which some bytes were changed, cut or doubled is read or refused."""
    good = encode(tile_set(tile(), tile(file="b.tif", odd=[{"a": 1}, {"b": 2}]), tile(file="c.tif")))
    for _ in range(data.draw(st.integers(1, 3))):
        i, j = sorted((data.draw(st.integers(0, len(good))), data.draw(st.integers(0, len(good)))))
        replacement = data.draw(st.sampled_from([b"", b"}, {", b'"', b"\\", b"-1", b"1e999", b"null", b"[", b"]]"]))
        good = good[:i] + replacement + (good[j:] if j - i < 40 else good[i:])
    quietly(good)
