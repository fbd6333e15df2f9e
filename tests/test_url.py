"""Join, canonical form, origin, keys and redaction of URLs."""

import copy
import os
import pickle
import re
from urllib.parse import quote, urljoin

import pytest
from hypothesis import assume, example, given, reject, settings
from hypothesis import strategies as st

from slicedfs import url as urls
from slicedfs.errors import ManifestError

HTTP = "https://h/d/e.json"

# RFC 3986, section 5.4, written out; left out: "g:h" and "http:g" (here one needs "://" to be absolute) and "".
RFC_BASE = "http://a/b/c/d;p?q"
RFC_EXAMPLES = {
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g/",  # the RFC has no slash here; http makes them equal (section 6.2.3)
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s",
    ";x": "http://a/b/c/;x",
    "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y#s",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    ".g": "http://a/b/c/.g",
    "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/./y": "http://a/b/c/g;x=1/y",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "g#s/./x": "http://a/b/c/g#s/./x",
    "g#s/../x": "http://a/b/c/g#s/../x",
}

SAME_RULE = {  # what holds on every filesystem: reference -> path under the directory "r/d/"
    "t.tif": "r/d/t.tif",
    "./t.tif": "r/d/t.tif",
    "sub/t.tif": "r/d/sub/t.tif",
    "sub//t.tif": "r/d/sub//t.tif",
    "sub/../t.tif": "r/d/t.tif",
    "../n/n.json": "r/n/n.json",
    "../../../../t.tif": "t.tif",
    "%2e%2E/t.tif": "r/t.tif",
    ".%2e/t.tif": "r/t.tif",
    "/abs/t.tif": "abs/t.tif",
    "a b.tif": "r/d/a%20b.tif",
    "a%20b.tif": "r/d/a%20b.tif",
    "100%.tif": "r/d/100%25.tif",
    "é.tif": "r/d/%C3%A9.tif",
    "a:b.tif": "r/d/a:b.tif",
    "a::b.tif": "r/d/a::b.tif",
    "s;1.tif": "r/d/s;1.tif",
    "sub\\t.tif": "r/d/sub%5Ct.tif",
    "..\\t.tif": "r/d/..%5Ct.tif",
    "~/t.tif": "r/d/~/t.tif",
    "t[1].tif": "r/d/t%5B1%5D.tif",
    "...": "r/d/...",
    "http:t.tif": "r/d/http:t.tif",
    "x\u202ey": "r/d/x%E2%80%AEy",
    "\udcffs": "r/d/%FFs",
    "\ud800": "r/d/%ED%A0%80",
}
ROOTS = ["https://h/", "s3://b/", "s3a://b/", "gs://b/", "abfs://c@a.dfs.core.windows.net/", "file:///"]
ROOTS += ["memory://", "sftp://h:22/", "simplecache::s3://b/", "zip://", "hf://datasets/"]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("reference", SAME_RULE)
def test_one_rule_on_all_filesystems(root, reference):
    """A relative reference resolves in the same way whatever the filesystem."""
    assert urls.join(f"{root}r/d/e.json", reference) == root + SAME_RULE[reference]


@pytest.mark.parametrize("reference", RFC_EXAMPLES)
def test_rfc_3986_examples(reference):
    """The examples of RFC 3986, section 5.4, hold on http."""
    assert urls.join(RFC_BASE, reference, inherit_query=False) == RFC_EXAMPLES[reference]


SEGMENT = st.sampled_from(["a", "b.tif", "..", ".", "c;x=1", "%20", "...", "d-e_f~", "@x", "A,B"])


@settings(deadline=None)
@given(st.lists(SEGMENT, min_size=1, max_size=6).map("/".join), st.booleans())
def test_join_agrees_with_urljoin(reference, from_root):
    """On plain relative references and http, join equals urllib.parse.urljoin."""
    base = "http://h.example/one/two/e.json"
    reference = f"/{reference}" if from_root else reference
    assert urls.join(base, reference) == urljoin(base, reference)


@pytest.mark.parametrize(
    ("base", "reference", "expected"),
    [
        (HTTP, "//o/t.tif", "https://o/t.tif"),
        ("s3://b/d/e.json", "//o/t.tif", "s3://o/t.tif"),
        (HTTP, "s3://b/a/../../x%20y z", "s3://b/x%20y%20z"),
        (HTTP, "HTTP://O:80/t.tif", "http://O:80/t.tif"),
        (HTTP, "https://o", "https://o/"),
        (HTTP, "file:///etc/passwd", "file:///etc/passwd"),
        (HTTP, "local:///etc/passwd", "file:///etc/passwd"),
        (HTTP, "file://localhost/etc/passwd", "file:///etc/passwd"),
        (HTTP, "file:/etc/passwd", "file:///etc/passwd"),
        (HTTP, "C:\\d\\t 1.tif", "file:///C:/d/t%201.tif"),
        (HTTP, "C:/d/t.tif", "file:///C:/d/t.tif"),
        ("file:///C:/d/e.json", "t.tif", "file:///C:/d/t.tif"),
        ("file:///d/e.json", "/abs/t.tif", "file:///abs/t.tif"),
        ("file:///d/e.json", "D:\\t.tif", "file:///D:/t.tif"),
        (HTTP, "data:text/plain,x", "data:text/plain,x"),
        (HTTP, "simplecache::file:///x", "simplecache::file:///x"),
        (HTTP, "zip://m.json::https://o/a.zip", "zip://m.json::https://o/a.zip"),
        (HTTP, "simplecache::t.tif", "simplecache::https://h/d/t.tif"),
        ("https://h", "t.tif", "https://h/t.tif"),
        ("https://u:p@h/d/e.json", "t.tif", "https://u:p@h/d/t.tif"),
        ("s3://b/d/e.json", "h#1.tif", "s3://b/d/h#1.tif"),
        ("s3://b/d/e.json", "q?1.tif", "s3://b/d/q?1.tif"),
        ("s3://b/d/e.json", "#1.tif", "s3://b/d/#1.tif"),
        ("s3://b/d/e.json", "h%231.tif", "s3://b/d/h%231.tif"),
        ("s3://b/d/../e.json", "t.tif", "s3://b/t.tif"),
        ("memory://d/e.json", "memory:///d/t.tif", "memory://d/t.tif"),
        ("github://org:repo@main/d/e.json", "t.tif", "github://org:repo@main/d/t.tif"),
    ],
)
def test_join_particular(base, reference, expected):
    """Absolute, network-path, drive, data and file references resolve as documented."""
    assert urls.join(base, reference) == expected


@pytest.mark.parametrize(
    ("base", "reference", "expected"),
    [
        ("simplecache::s3://b/d/e.json", "s3://b/x", "simplecache::s3://b/x"),
        ("simplecache::s3://b/d/e.json", "s3a://b/x", "simplecache::s3a://b/x"),
        ("simplecache::s3://b/d/e.json", "s3://other/x", "s3://other/x"),
        ("simplecache::s3://b/d/e.json", "//other/x", "s3://other/x"),
        ("zip://d/m.json::https://h/a.zip", "../t.tif", "zip://t.tif::https://h/a.zip"),
        ("zip://d/m.json::https://h/a.zip", "zip://x.tif", "zip://x.tif::https://h/a.zip"),
        ("zip://d/m.json::https://h/a.zip", "https://h/t.tif", "https://h/t.tif"),
        ("zip://d/m.json::https://h/a.zip", "a b::yy", "zip://d/a%20b%3A%3Ayy::https://h/a.zip"),
        (
            "simplecache::zip://m.json::https://h/a.zip?s=1",
            "t.tif",
            "simplecache::zip://t.tif::https://h/a.zip?s=1",
        ),
    ],
)
def test_chain_is_inherited_within_the_heads_origin(base, reference, expected):
    """References join the head; wrapper and archive stay as long as the head's origin does."""
    assert urls.join(base, reference) == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("t.tif", "https://h/d/t.tif?sig=1"),
        ("sub/t 1.tif", "https://h/d/sub/t%201.tif?sig=1"),
        ("../d/t.tif", "https://h/d/t.tif?sig=1"),
        ("/d/t.tif", "https://h/d/t.tif?sig=1"),
        ("https://h/d/t.tif", "https://h/d/t.tif?sig=1"),
        ("https://H:443/d/t.tif", "https://H:443/d/t.tif?sig=1"),
        ("t.tif?x=2", "https://h/d/t.tif?x=2"),
        ("t.tif?", "https://h/d/t.tif?"),
        ("t.tif#p", "https://h/d/t.tif?sig=1#p"),
        ("../t.tif", "https://h/t.tif"),
        ("%2e%2e/t.tif", "https://h/t.tif"),
        ("/t.tif", "https://h/t.tif"),
        ("/dd/t.tif", "https://h/dd/t.tif"),
        ("//o/d/t.tif", "https://o/d/t.tif"),
        ("https://o/d/t.tif", "https://o/d/t.tif"),
        ("https://h:444/d/t.tif", "https://h:444/d/t.tif"),
        ("http://h/d/t.tif", "http://h/d/t.tif"),
        ("https://h@o/d/t.tif", "https://h@o/d/t.tif"),
        ("s3://h/d/t.tif", "s3://h/d/t.tif"),
    ],
)
def test_query_is_inherited_in_origin_and_directory_only(reference, expected):
    """A signed query goes to references in the same origin and directory tree that carry none, nowhere else."""
    assert urls.join("https://h/d/e.json?sig=1#top", reference) == expected


def test_query_is_not_inherited_outside_http_or_when_switched_off():
    """s3 keys have no query to inherit, and redirects ask for none."""
    assert urls.join("s3://b/d/e.json?versionId=3", "t.tif") == "s3://b/d/t.tif"
    assert urls.join("https://h/d/e.json?sig=1", "t.tif", inherit_query=False) == "https://h/d/t.tif"
    assert urls.join("https://h/d/e.json?sig=1", "a b", inherit_query=False) == "https://h/d/a%20b"


@pytest.mark.parametrize("secret", ["a%2Fb%3D", "x[]=1&y={z}|^", "%2B+%20", "é%zz"])
def test_signed_query_keeps_its_bytes(secret):
    """What can be sent in a query is sent byte for byte; only spaces, controls and non-ASCII are encoded."""
    assert urls.join(HTTP, f"t.tif?{secret}") == "https://h/d/t.tif?" + secret.replace("é", "%C3%A9").replace(
        "%zz", "%25zz"
    )


@pytest.mark.parametrize(
    ("base", "reference", "fault"),
    [
        (HTTP, "", "is empty"),
        (HTTP, "a\tb", "control character"),
        (HTTP, "a\nb", "control character"),
        (HTTP, "a\0b", "control character"),
        (HTTP, "a\x7fb", "control character"),
        (HTTP, "a%00b", "control character"),
        (HTTP, "ht\ntps://o/x", "control character"),
        (HTTP, "http:\\\\h\\x", "backslash where"),
        (HTTP, "http:/\\h/x", "backslash where"),
        (HTTP, "http://h\\x/y", "backslash or space in its host"),
        (HTTP, "http://good\\@evil/y", "backslash or space in its host"),
        (HTTP, "//h\\x/y", "backslash or space in its host"),
        ("s3://b/d/e.json", "s3://b\\x/y", "backslash or space in its host"),
        (HTTP, "http://h h/y", "backslash or space in its host"),
        (HTTP, "http://", "no host or bucket"),
        (HTTP, "http:///x", "no host or bucket"),
        (HTTP, "s3:///x", "no host or bucket"),
        (HTTP, "http://?x", "no host or bucket"),
        (HTTP, "http://[::1/x", "no proper host and port"),
        (HTTP, "http://h:99999/x", "no proper host and port"),
        (HTTP, "http://h:x/x", "no proper host and port"),
        (HTTP, "http://h:\uff18\uff10/x", "no proper host and port"),
        (HTTP, "http://a@b@c/x", "no proper host and port"),
        (HTTP, "http://127%2e0.0.1/x", "no proper host and port"),
        (HTTP, "http://evil\uff0fgood/x", "no proper host and port"),
        (HTTP, "file://server/share/x", "names a host"),
        (HTTP, "file://etc/passwd", "names a host"),
        ("file:///d/e.json", "//o/x", "names a host"),
        ("memory://d/e.json", "//o/x", "names a host"),
        ("zip://d/e.json::https://h/a.zip", "//o/x", "names a host"),
    ],
)
def test_join_refuses(base, reference, fault):
    """References that programs read in different ways are refused, naming document, reference and fault."""
    with pytest.raises(ManifestError, match=rf"e\.json.* refers to '.*', which .*{fault}") as caught:
        urls.join(base, reference)
    assert caught.value.url == urls.redact(base)
    assert not re.search(r"[\x00-\x1f\x7f]", str(caught.value))


@pytest.mark.parametrize("base", ["d/e.json", "", "data:,x", "C:\\e.json"])
def test_base_must_be_absolute(base):
    """A document without an absolute URL cannot be the start of references."""
    with pytest.raises(ManifestError, match="is no absolute URL"):
        urls.Base(base)


ODD = "abcABZ.:/\\?#%@[]&=;~ 0129'\"\x00\n\x1b\u202eé\ud800\uff0f"
TEXT = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=ODD, max_size=30),
    st.lists(
        st.sampled_from(
            ["http:", "s3:", "/", "//", "::", "..", "%2e", "@", "[", "]", "ab", "zip", "\\", "?", "#", ":80", "x"]
        ),
        max_size=12,
    ).map("".join),
)


@settings(deadline=None)
@given(TEXT, st.sampled_from([f"{root}r/d/e.json?q=1" for root in ROOTS]))
@example("http://[", HTTP)
def test_join_raises_nothing_but_manifest_error(reference, base):
    """Whatever a document says, join gives a proper URL, on which everything else works, or ManifestError."""
    try:
        joined = urls.join(base, reference)
    except ManifestError:
        return
    assert joined == reference or not re.search(r"[\x00-\x1f\x7f]", joined)
    assert all(isinstance(key, str) for key in urls.key_candidates(joined))
    for function in (urls.origin, urls.scheme, urls.host, urls.name, urls.extension, urls.http_url, urls.redact):
        assert isinstance(function(joined), str)


@pytest.mark.parametrize("reference", ["a::" * 50_000 + "b", "aa::" * 50_000 + "s3://b/x", "x://y::" * 50_000])
def test_endless_chains_are_split_in_linear_time(reference):
    """A document cannot keep the reader busy with chains of fifty thousand links (quadratic time would be hours)."""
    assert len(urls.elements(reference)) in {1, 50_001}
    assert urls.split_chain(urls.join(HTTP, reference)).prefix.count("::") in {0, 50_000}
    assert len(urls.redact(reference)) == 2001


@settings(deadline=None)
@given(TEXT)
def test_keys_stay_in_the_bucket(reference):
    """No spelling of ".." reaches another bucket: all keys of a relative reference begin with the bucket."""
    assume(not re.match(r"//|[A-Za-z][A-Za-z0-9+.-]*:|[A-Za-z0-9+.-]+::", reference) and "://" not in reference)
    try:
        joined = urls.join("s3://bucket/a/b/e.json", reference)
    except ManifestError:
        reject()
    for key in urls.key_candidates(joined):
        assert key.startswith("bucket/")
        assert not {".", ".."} & set(key.split("/"))


@pytest.mark.parametrize("reference", ["..%2f..%2f..%2fx", "a?b/../../../x", "%2e%2e%2f%2e%2e%2f%2e%2e%2fx"])
def test_encoded_parent_segments_do_not_climb(reference):
    """A slash that appears only by decoding, or behind "?", opens no way out of the bucket."""
    keys = urls.key_candidates(urls.join("s3://bucket/a/e.json", reference))
    assert keys[0] in {"bucket/x", "bucket/a/a"}
    assert all(key.startswith("bucket/") and "/../" not in key for key in keys)


def test_base_is_a_value():
    """A Base compares, hashes, copies and pickles by URL, and its repr shows no secret."""
    base = urls.Base("https://u:pw@h/d/e.json?sig=SECRET")
    twin = pickle.loads(pickle.dumps(base))
    assert twin == base == copy.copy(base)
    assert hash(twin) == hash(base)
    assert twin.join("t.tif") == "https://u:pw@h/d/t.tif?sig=SECRET"
    assert repr(base) == "Base('https://h/d/e.json?sig=…')"


@settings(deadline=None)
@given(
    st.from_regex(r"[A-Za-z0-9._/-]{1,12}", fullmatch=True),
    st.sampled_from(["https://h/d/e.json?s=1", "simplecache::s3://b/e"]),
)
def test_fast_path_equals_slow_path(reference, base):
    """Plain references give what the careful way gives for the same reference after "./"."""
    assume(not reference.startswith("/"))
    assert urls.join(base, reference) == urls.join(base, f"./{reference}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/a%20b/e.json?sig=%2F#top", "https://h/a%20b/e.json?sig=%2F"),
        ("https://u:p@H:8080/e.json", "https://u:p@H:8080/e.json"),
        ("https://h/my dir/é.json", "https://h/my%20dir/%C3%A9.json"),
        ("/d/e.json", "file:///d/e.json"),
        ("/a b/100%/q?x#y.json", "file:///a%20b/100%25/q%3Fx%23y.json"),
        ("/a/../b/./e.json", "file:///b/e.json"),
        ("file:///my%20dir/e.json", "file:///my%2520dir/e.json"),
        ("file://localhost/d/e.json", "file:///d/e.json"),
        ("local:///d/e.json", "file:///d/e.json"),
        ("C:\\d\\e.json", "file:///C:/d/e.json"),
        ("C:/d/e.json", "file:///C:/d/e.json"),
        ("file:///C:/d/e.json", "file:///C:/d/e.json"),
        ("file://C:/d/e.json", "file:///C:/d/e.json"),
        ("s3://b/my%20dir/e.json", "s3://b/my%2520dir/e.json"),
        ("s3://b/my dir/e#1?.json", "s3://b/my%20dir/e%231%3F.json"),
        ("s3://b/a::b.json", "s3://b/a::b.json"),
        ("S3://b/a/../../e.json", "s3://b/e.json"),
        ("memory:///d/e.json", "memory://d/e.json"),
        ("simplecache::s3://b/a b.json", "simplecache::s3://b/a%20b.json"),
        ("simplecache::/d/a b.json", "simplecache::file:///d/a%20b.json"),
        ("zip://d/m%.json::https://h/a%20b.zip", "zip://d/m%25.json::https://h/a%20b.zip"),
        ("zip://m.json::simplecache::https://h/a.zip", "zip://m.json::simplecache::https://h/a.zip"),
        ("zip://m.json::/d/a b.zip", "zip://m.json::file:///d/a b.zip"),
        ("data:application/json,{}", "data:application/json,{}"),
    ],
)
def test_canonical(text, expected):
    """What the user typed becomes an absolute URL; outside http it is taken literally."""
    assert urls.canonical(text) == expected


def test_canonical_of_relative_paths(tmp_path, monkeypatch):
    """Relative paths start in the working directory, "~" in the home directory, and a Path is as good as a str."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert urls.canonical("sub/e.json") == f"file://{tmp_path}/sub/e.json"
    assert urls.canonical(tmp_path / "e.json") == f"file://{tmp_path}/e.json"
    assert urls.canonical("~/e.json") == "file:///home/me/e.json"
    assert urls.canonical("zip://m.json::a.zip") == f"zip://m.json::file://{tmp_path}/a.zip"


@pytest.mark.skipif(os.name == "nt", reason="a drive there")
def test_posix_directory_that_looks_like_a_drive():
    """A directory named "C:" on POSIX stays one."""
    url = urls.canonical("/C:/d/e.json")
    assert url == "file:///C%3A/d/e.json"
    assert urls.key_candidates(urls.join(url, "t.tif"))[0] == "/C:/d/t.tif"


@pytest.mark.parametrize("text", ["", "/d/e\0.json", "http://", "https://h:x/e.json", "https://a b/e.json"])
def test_canonical_refuses(text):
    """Empty text, NUL and http URLs without a proper host are refused, saying what would be right."""
    with pytest.raises(ManifestError, match=r"is no URL or path|has (no|a) .*Write it as https://host/path"):
        urls.canonical(text)


@pytest.mark.parametrize("thing", [b"/d/e.json", 3, None])
def test_canonical_takes_text_only(thing):
    """Something else than a str or path of str is a TypeError."""
    with pytest.raises(TypeError, match="str"):
        urls.canonical(thing)


def test_root_candidates():
    """A root with escapes may also have been typed as a URL; http and plain names have one meaning."""
    assert urls.root_candidates("s3://b/my%20dir/e.json") == ("s3://b/my%2520dir/e.json", "s3://b/my%20dir/e.json")
    assert urls.root_candidates("file:///a%20b/e%23.json") == ("file:///a%2520b/e%2523.json", "file:///a%20b/e%23.json")
    assert urls.root_candidates("s3://b/100%.json") == ("s3://b/100%25.json",)
    assert urls.root_candidates("s3://b/a%00.json") == ("s3://b/a%2500.json",)
    assert urls.root_candidates("https://h/my%20dir/e.json") == ("https://h/my%20dir/e.json",)
    assert urls.root_candidates("/d/e.json") == ("file:///d/e.json",)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b/d/t.tif", ("b/d/t.tif",)),
        ("s3://b/my%20dir/c.npy", ("b/my dir/c.npy", "b/my%20dir/c.npy")),
        ("s3://b/d/lit%20.tif", ("b/d/lit .tif", "b/d/lit%20.tif")),
        ("s3://b/d/h#1.tif", ("b/d/h", "b/d/h#1.tif")),
        ("s3://b/d/q?1.tif", ("b/d/q", "b/d/q?1.tif")),
        ("s3://b/d/#1.tif", ("b/d/#1.tif",)),
        (
            "file:///my%20dir/h#1%20.tif",
            ("/my dir/h", "/my dir/h#1 .tif", "/my dir/h#1%20.tif", "/my%20dir/h#1%20.tif"),
        ),
        ("file:///d/t.tif", ("/d/t.tif",)),
        ("file:///d/%252E", ("/d/%2E", "/d/%252E")),
        ("file:///C:/d/t%20.tif", ("C:/d/t .tif", "C:/d/t%20.tif")),
        ("memory://d/t.tif", ("d/t.tif",)),
        ("zip://d/t%20.tif::https://h/a.zip", ("d/t .tif", "d/t%20.tif")),
        ("simplecache::gs://b/t.tif", ("b/t.tif",)),
        ("abfs://c@a.dfs.core.windows.net/d/t.tif", ("c/d/t.tif",)),
        ("sftp://u:p@h:22/d/t.tif", ("/d/t.tif",)),
        ("https://u@h/a%20b?x=1#f", ("https://u@h/a%20b?x=1",)),
        ("data:,x?y", ("data:,x?y",)),
    ],
)
def test_key_candidates(url, expected):
    """Keys come decoded once first, then as written, each once."""
    assert urls.key_candidates(url) == expected


NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."}
)


@settings(deadline=None)
@given(NAME, NAME)
def test_literal_names_survive(folder, name):
    """Any file name that a POSIX disk can hold comes back unchanged as the first key of its canonical URL."""
    path = f"/data/{folder}/{name}"
    assert urls.key_candidates(urls.canonical(path))[0] == path


def test_names_that_are_no_utf8_survive():
    """Bytes of a file name that are no UTF-8, as os.fsdecode gives them, come back as the same bytes."""
    path = os.fsdecode(b"/d/\xff\xfe.json")
    assert urls.canonical(path) == "file:///d/%FF%FE.json"
    assert os.fsencode(urls.key_candidates("file:///d/%FF%FE.json")[0]) == b"/d/\xff\xfe.json"


@settings(deadline=None)
@given(NAME.filter(lambda name: name.isprintable()), st.sampled_from(["/a b/e.json", "s3://b/100%/e.json"]))
def test_quoted_references_open_literal_names(name, root):
    """A name quoted by urllib resolves to the name itself beside the document, however odd its directory is."""
    joined = urls.join(urls.canonical(root), quote(name, safe=""))
    folder = {"/a b/e.json": "/a b/", "s3://b/100%/e.json": "b/100%/"}[root]
    assert urls.key_candidates(joined)[0] == folder + name


@settings(deadline=None)
@given(NAME.filter(lambda name: name.isprintable() and "::" not in name))
def test_unquoted_names_are_among_the_keys(name):
    """A name written without any quoting is found as well, "%", "#" and "?" included, in an odd directory too."""
    assume(not re.match(r"[A-Za-z]:\\|[A-Za-z][A-Za-z0-9+.-]+:\\|data:", name, re.IGNORECASE))  # drive, bad URL, data
    assume("%00" not in name and re.split(r"[?#]", name.lower().replace("%2e", "."))[0] not in {".", ".."})
    # Where some characters had to be encoded and some escapes not, no form tells which.
    assume(not re.search("%[0-9A-Fa-f]{2}", name) or not re.search(r"[^\w.,;#?%-]|[^\x00-\x7f]", name))
    assert f"/my dir/{name}" in urls.key_candidates(urls.join("file:///my%20dir/e.json", name))


@pytest.mark.parametrize(
    "literal",
    ["s3://b/k e%20y/t.tif", "gs://b/k e%20y/t#?.tif", "abfs://c@a.dfs.core.windows.net/d e/t.tif", "az://c/d/t.tif"],
)
def test_keys_are_those_of_fsspec(literal):
    """The first key of a canonical URL is what the fsspec filesystem itself makes of the literal text."""
    import fsspec

    cls = fsspec.get_filesystem_class(literal.partition(":")[0])
    assert urls.key_candidates(urls.canonical(literal))[0] == cls._strip_protocol(literal)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://H.Example/x", "https://h.example:443"),
        ("https://h.example:443/y?z", "https://h.example:443"),
        ("https://user:pw@h.example./y", "https://h.example:443"),
        ("http://h.example/", "http://h.example:80"),
        ("http://h.example:0080/", "http://h.example:80"),
        ("http://münchen.example/", "http://xn--mnchen-3ya.example:80"),
        ("http://straße.example/", "http://straße.example:80"),  # never equal to strasse.example
        ("http://[0:0::1]:8080/", "http://[::1]:8080"),
        ("https://good@evil/", "https://evil:443"),
        ("s3://Bucket/k", "s3://Bucket"),
        ("s3a://b/k", "s3://b"),
        ("gcs://b/k", "gs://b"),
        ("az://c/k", "abfs://c"),
        ("abfss://c@acct.dfs.core.windows.net/k", "abfs://c@acct"),
        ("abfs://c@acct.blob.core.windows.net/k", "abfs://c@acct"),
        ("abfs://c@acct.dfs.evil.example/k", "abfs://c@acct.dfs.evil.example"),
        ("file:///d/x", "file://"),
        ("local:///d/x", "file://"),
        ("memory://d/x", "memory://"),
        ("ssh://u@h/x", "sftp://h:22"),
        ("github://org:repo@main/x", "github://org:repo@main"),
        ("simplecache::s3a://b/k", "simplecache::s3://b"),
        ("zip://d/m::https://h/a.zip", "zip://::https://h/a.zip"),
    ],
)
def test_origin(url, expected):
    """Origin is where credentials belong: aliases folded, port explicit, userinfo dropped, chain kept."""
    assert urls.origin(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("simplecache::zip://m.json::https://h/a.zip", ("simplecache::", "zip://m.json", "::https://h/a.zip")),
        ("s3://b/a::b.tif", ("", "s3://b/a::b.tif", "")),
        ("http://[::1]:80/x", ("", "http://[::1]:80/x", "")),
        ("filecache::simplecache::/d/x", ("filecache::simplecache::", "/d/x", "")),
        ("x::file:///y", ("", "x", "::file:///y")),
        ("::", ("", "::", "")),
        ("ab::", ("", "ab::", "")),
        ("", ("", "", "")),
    ],
)
def test_split_chain(url, expected):
    """A "::" separates only before a URL or after leading wrapper names."""
    chain = urls.split_chain(url)
    assert (chain.prefix, chain.head, chain.suffix) == expected
    assert urls.is_chained(url) == bool(expected[0] or expected[2])


@settings(deadline=None)
@given(TEXT)
def test_split_chain_loses_nothing(text):
    """The parts of a chain, and its elements, put together are the text."""
    chain = urls.split_chain(text)
    assert chain.prefix + chain.head + chain.suffix == text
    assert "::".join(urls.elements(text)) == text


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "name", "extension"),
    [
        ("https://U@H.x:8443/d/A%20b.OME.TIF?x=.png", "https", "h.x", 8443, "A b.OME.TIF", ".tif"),
        ("http://[::1]/d/", "http", "::1", 80, "", ""),
        ("s3a://b/t.npy", "s3", "b", None, "t.npy", ".npy"),
        ("abfs://c@a.dfs.core.windows.net/.hidden", "abfs", "c", None, ".hidden", ""),
        ("file:///d/noext", "file", "", None, "noext", ""),
        ("zip://a/t.Tiff::https://h/a.zip", "zip", "", None, "t.Tiff", ".tiff"),
        ("data:,x", "data", "", None, "", ""),
    ],
)
def test_parts(url, scheme, host, port, name, extension):
    """Scheme, host, port, name and extension are those of the head, folded and decoded."""
    assert (urls.scheme(url), urls.host(url), urls.port(url)) == (scheme, host, port)
    assert (urls.name(url), urls.extension(url)) == (name, extension)
    assert (urls.is_http(url), urls.is_local(url)) == (scheme in {"http", "https"}, scheme == "file")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "https://user:pw@h/d/a%20b.tif?X-Amz-Signature=abc&versionId=3#f",
            "https://h/d/a%20b.tif?X-Amz-Signature=…&versionId=3",
        ),
        ("https://h/x?token", "https://h/x?…"),
        ("https://h/x?c2VjcmV0==", "https://h/x?…"),
        ("https://h/x?versionId=1;sig=s", "https://h/x?versionId=1&sig=…"),
        ("https://h/x?versionId=1%26sig=s", "https://h/x?versionId=…"),
        ("s3://b/my%20dir/e%23.json", "s3://b/my dir/e#.json"),
        ("az://c/k%3Fsig=s", "az://c/k?sig=…"),
        ("file:///d/what%3Fx=1.json", "file:///d/what?x=1.json"),
        ("abfs://c@acct.dfs.core.windows.net/k", "abfs://c@acct.dfs.core.windows.net/k"),
        ("zip://m.json::https://u:p@h/a.zip?sig=s", "zip://m.json::https://h/a.zip?sig=…"),
        ("https://h/\x1b[31m\u202ex", "https://h/\\x1b[31m\\u202ex"),
        ("s3://b/%1b[31m%0a", "s3://b/\\x1b[31m\\n"),
        ("s3://key:se/cret@b/x", "s3://b/x"),
        ("https://key:se?cret@h/x", "https://key:…?…"),
        ("//u:p@h/x?s=1", "//h/x?s=…"),
        ("u:p@h/x", "h/x"),
        ("see https://u:p@h/x?s=1", "see https://h/x?s=…"),
        ("data:image/png;base64,AAAA", "data:…"),
        ("https://h:8080/img@2x.png", "https://h:8080/img@2x.png"),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/n/k", "s3://arn:aws:s3:eu-west-1:1:accesspoint/n/k"),
        ("\ud800", "\\ud800"),
    ],
)
def test_redact(url, expected):
    """People see scheme, host and path, never userinfo, query values, fragments or control characters."""
    assert urls.redact(url) == expected


def test_redact_takes_anything_and_stays_short():
    """Things that are no text are shown by their repr, and endless URLs are cut."""
    assert urls.redact(None) == "None"
    assert urls.redact(b"https://u:p@h/x") == "b'https://h/x'"
    assert len(urls.redact("https://h/" + "x" * 100_000)) == 2001


CANARY = "CaNaRy"
SECRET = st.from_regex(r"[a-z+=~!$*()._%-]{0,5}", fullmatch=True).map(lambda text: f"{text}{CANARY}")
PLANTED = st.tuples(
    st.sampled_from(["http", "https", "s3", "gs", "az", "abfs", "file", "memory", "zip", "sftp", "github", "xy"]),
    SECRET,
    st.sampled_from(["h", "h.example:8080", "[::1]:80", "acct.dfs.core.windows.net", ""]),
    st.text(alphabet="ab/.%20é:@ \x1b", max_size=10),
    st.sampled_from(["sig", "X-Amz-Signature", "versionId=3&t", "a;b", "", "?", "x[]"]),
    SECRET,
    SECRET,
)


@settings(deadline=None)
@given(PLANTED, st.sampled_from(["", "simplecache::", "zip://m::"]))
def test_redact_never_shows_a_secret(planted, prefix):
    """A canary planted as password, query value or fragment never comes out, in a chain neither."""
    scheme, password, host, path, key, value, fragment = planted
    url = f"{prefix}{scheme}://user:{password}@{host}/{path}?{key}={value}#{fragment}"
    assert CANARY not in urls.redact(url)
    assert CANARY not in urls.redact(urls.redact(url))


@settings(deadline=None)
@given(
    PLANTED.filter(lambda planted: " " not in planted[3]),
    st.sampled_from(["{}", "url='{}'", "({}).", "<{}>", "GET {}\nx"]),
)
def test_redact_text_never_shows_a_secret(planted, form):
    """Nor does it come out of a message that quotes the URL."""
    scheme, password, host, path, key, value, fragment = planted
    text = form.format(f"{scheme}://user:{password}@{host}/{path}?{key}={value}#{fragment}")
    assert CANARY not in urls.redact_text(text)


@settings(deadline=None)
@given(TEXT)
def test_redact_never_raises(text):
    """Whatever the text, both redactions give printable text."""
    assert urls.redact(text).isprintable()
    assert urls.redact_text(text).replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "404, message='Not Found', url='https://h/d/x?sig=abc'",
            "404, message='Not Found', url='https://h/d/x?sig=…'",
        ),
        ("url=URL('https://u:p@h/x?a=b'), tries=3", "url=URL('https://h/x?a=…'), tries=3"),
        ("GET /d/x?X-Amz-Signature=abc&versionId=7 HTTP/1.1", "GET /d/x?X-Amz-Signature=…&versionId=7 HTTP/1.1"),
        ("proxy me:pw@proxy.example refused", "proxy proxy.example refused"),
        ("two: s3://b/k and http://h/x#frag.", "two: s3://b/k and http://h/x"),
        ("\x1b[31mred\x1b[0m\nline", "\\x1b[31mred\\x1b[0m\nline"),
        ("nothing to hide: 3 of 5", "nothing to hide: 3 of 5"),
    ],
)
def test_redact_text(text, expected):
    """Foreign messages keep their words and lose the secrets of the URLs in them."""
    assert urls.redact_text(text) == expected


def test_public_names():
    """Every exported name exists, once."""
    assert len(urls.__all__) == len(set(urls.__all__)) == 24
    assert all(hasattr(urls, name) for name in urls.__all__)
