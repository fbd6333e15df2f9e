"""Which options belong to which origin."""

import pickle
from typing import Any

import pytest

from slicedfs.store import Store, StoreOptions
from slicedfs.store.access import Choice, choose

CANARY = "canary-7f3a"


def options(root: str, storage_options: Any = (), filesystems: Any = ()) -> StoreOptions:
    return StoreOptions(root, dict(storage_options), dict(filesystems))


@pytest.mark.parametrize(
    ("root", "url", "expected"),
    [
        ("s3://b/m.json", "s3://b/x/t.tif", {"key": "k"}),
        ("s3://b/m.json", "s3a://b/x/t.tif", {"key": "k"}),
        ("https://h/m.json", "https://H:443/t.tif", {"key": "k"}),
        ("https://h/m.json", "https://user:pw@h/t.tif", {"key": "k"}),
        ("gs://b/m.json", "gcs://b/t.tif", {"key": "k"}),
    ],
)
def test_storage_options_are_for_the_root_origin(root: str, url: str, expected: dict[str, str]) -> None:
    """Whatever lies in the origin of the root gets the storage_options."""
    assert choose(options(root, {"key": "k"}), url) == Choice("root", expected)


@pytest.mark.parametrize(
    ("root", "url", "expected"),
    [
        ("s3://b/m.json", "s3://other/t.tif", {"anon": True}),
        ("s3://b/m.json", "s3://b2/t.tif", {"anon": True}),
        ("s3://b/m.json", "gs://b/t.tif", {"token": "anon"}),
        ("s3://b/m.json", "az://b/t.tif", {"anon": True}),
        ("https://h/m.json", "http://h/t.tif", {}),
        ("https://h/m.json", "https://h:8443/t.tif", {}),
        ("https://h/m.json", "https://h.evil.org/t.tif", {}),
        ("https://h/m.json", "https://h@evil.org/t.tif", {}),
        ("file:///d/m.json", "s3://b/t.tif", {"anon": True}),
    ],
)
def test_other_origins_get_no_credentials(root: str, url: str, expected: dict[str, Any]) -> None:
    """An origin that only looks like the root's is read anonymously."""
    assert choose(options(root, {"key": "k"}), url) == Choice("anonymous", expected)


def test_root_without_options_uses_the_defaults_of_its_library() -> None:
    """The user's own document is read as fsspec would, with the credentials of the environment."""
    assert choose(options("s3://b/m.json"), "s3://b/t.tif") == Choice("root", {})


@pytest.mark.parametrize(
    ("given", "url", "expected"),
    [
        ({"s3": {"anon": True}}, "s3://b/m.json", {"anon": True}),
        ({"s3a": {"anon": True}}, "s3://b/m.json", {"anon": True}),
        ({"s3": {"anon": True}, "https": {"headers": {}}}, "s3://b/m.json", {"anon": True}),
        ({"https": {"headers": {}}}, "s3://b/m.json", {}),
        ({"http": {"headers": {"A": "1"}}}, "https://h/m.json", {"headers": {"A": "1"}}),
        ({"key": "k", "s3": {"secret": "s"}}, "s3://b/m.json", {"key": "k", "secret": "s"}),
        ({"client_kwargs": {"region_name": "r"}}, "s3://b/m.json", {"client_kwargs": {"region_name": "r"}}),
        (
            {"s3": {"anon": True}, "simplecache": {"cache_storage": "d"}},
            "simplecache::s3://b/m.json",
            {"s3": {"anon": True}, "simplecache": {"cache_storage": "d"}},
        ),
    ],
)
def test_options_keyed_by_protocol(given: dict[str, Any], url: str, expected: dict[str, Any]) -> None:
    """Options may be keyed by protocol; those of other protocols are left out, but for chains."""
    assert choose(options(url, given), url).given == expected


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("https://h/t.tif", "https"),
        ("http://h/t.tif", "anonymous"),
        ("s3://b/t.tif", "s3"),
        ("s3a://b/t.tif", "s3"),
        ("s3://special/t.tif", "s3://special"),
        ("s3://special2/t.tif", "s3"),
        ("s3://special/deep/t.tif", "s3://special/deep/"),
        ("s3://special/deeper/t.tif", "s3://special"),
        ("https://data.org/a/t.tif", "https://data.org/a"),
        ("https://DATA.org:443/a?x=1", "https://data.org/a"),
        ("https://data.org/ab/t.tif", "https"),
        ("https://data.org.evil.org/a/t.tif", "https"),
        ("memory://x/y/t.tif", "memory://x"),
        ("memory://xy/t.tif", "anonymous"),
        ("gs://my bucket/t.tif", "gs://my bucket/"),
    ],
)
def test_longest_prefix_wins(url: str, entry: str) -> None:
    """Filesystems are found by the longest prefix that ends at a path segment, then by the exact protocol."""
    keys = (
        "https", "s3", "s3://special", "s3://special/deep/", "https://data.org/a", "memory://x", "gs://my bucket/"
    )  # fmt: skip
    assert choose(options("file:///m.json", (), {key: {"from": key} for key in keys}), url).entry == entry


def test_storage_options_beat_filesystems_for_the_root() -> None:
    """For the root's origin its own storage_options count; without any, an entry of filesystems does."""
    entry = {"s3": {"from": "filesystems"}}
    with_both = options("s3://b/m.json", {"from": "storage_options"}, entry)
    assert choose(with_both, "s3://b/t.tif").given == {"from": "storage_options"}
    assert choose(options("s3://b/m.json", (), entry), "s3://b/t.tif").given == {"from": "filesystems"}


def test_options_are_copied_and_pickle() -> None:
    """Options are a value: later changes by the caller do not matter, and they travel."""
    given = {"key": "k"}
    made = StoreOptions("s3://b/m.json", given, concurrency=3)
    given["key"] = "changed"
    again = pickle.loads(pickle.dumps(Store(made))).options
    assert (again.root, again.storage_options, again.concurrency) == ("s3://b/m.json", {"key": "k"}, 3)
    assert pickle.dumps(again) == pickle.dumps(made)


def test_repr_shows_names_only() -> None:
    """The repr of options and store has the names of options, and no value of any."""
    made = StoreOptions(
        f"https://u:{CANARY}@h/m.json?sig={CANARY}",
        {"headers": {"Authorization": CANARY}},
        {f"https://x:{CANARY}@h2/": {"key": CANARY}},
    )
    assert CANARY not in repr(made)
    assert CANARY not in repr(Store(made))
    assert "storage_options=['headers']" in repr(Store(made))
    assert "'https://h/m.json?sig=…'" in repr(made)


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ({"concurrency": 0}, ValueError, "concurrency must be an integer >= 1, got 0"),
        ({"concurrency": True}, ValueError, "concurrency must be an integer >= 1, got True"),
        ({"concurrency": 2.5}, ValueError, "concurrency must be an integer >= 1, got 2.5"),
        ({"bytes_in_flight": -1}, ValueError, "bytes_in_flight must be an integer >= 1, got -1"),
        ({"max_tries": 0}, ValueError, "max_tries must be an integer >= 1, got 0"),
        ({"retry_s": 0}, ValueError, "retry_s must be seconds > 0, got 0"),
        ({"stall_s": float("nan")}, ValueError, "stall_s must be seconds > 0, got nan"),
        ({"storage_options": "anon"}, TypeError, "storage_options must be a dict, got a str"),
        ({"filesystems": ["s3"]}, TypeError, "filesystems must be a dict, got a list"),
        ({"filesystems": {"s3": "anon"}}, TypeError, r"filesystems\['s3'\] must be a dict of options .*, got a str"),
    ],
)
def test_bad_options(bad: dict[str, Any], error: type[Exception], text: str) -> None:
    """An option out of its range is refused when it is given, by name and value."""
    with pytest.raises(error, match=text):
        StoreOptions("s3://b/m.json", **bad)
