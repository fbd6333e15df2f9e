"""Collections and SpaceTx experiments."""

import pytest
from manifest.documents import URL, collection, read

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.model import CollectionDocument


def experiment(**changes):
    whole = {"version": "5.0.0", "images": {"primary": "p.json", "nuclei": "n/n.json"}, "codebook": "codebook.json"}
    return {key: value for key, value in {**whole, **changes}.items() if value is not ...}


def test_a_collection_keeps_names_references_and_their_order():
    """Contents are as written, in the order of the document."""
    document = read(collection(contents={"b": "../b.json", "a/x": "https://h/a.json?x=1", "é": "s p.json"}))
    assert isinstance(document, CollectionDocument)
    assert list(document.contents.items()) == [("b", "../b.json"), ("a/x", "https://h/a.json?x=1"), ("é", "s p.json")]
    assert (document.url, document.version, document.kind, document.codebook) == (URL, "0.1.0", "collection", None)
    assert document.extras is None
    assert document.unknown == {}


def test_an_empty_collection_is_a_collection():
    """Contents may be empty."""
    assert read(collection(contents={})).contents == {}


@pytest.mark.parametrize("extras", [None, {}, [], "text", 0, False, {"a": [1, {"b": None}]}])
def test_extras_of_any_type_are_kept(extras):
    """Extras are any JSON; null is None."""
    assert read(collection(extras=extras)).extras == extras
    assert type(read(collection(extras=extras)).extras) is type(extras)


def test_unknown_keys_are_kept():
    """Keys that the format does not define are as written."""
    assert read(collection(owner={"name": "x"}, note=None)).unknown == {"owner": {"name": "x"}, "note": None}


def test_contents_win_over_tiles():
    """A document with both is a collection, with a warning, whatever its tiles are."""
    with pytest.warns(ManifestWarning, match=r"fov\.json: has both `contents` and `tiles`") as caught:
        document = read(collection(tiles="nonsense"))
    assert len(caught) == 1
    assert list(document.contents) == ["fov_000", "fov_001"]
    assert document.unknown == {}


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([], r"contents must be an object of names and references, got \[\]\.$"),
        (["a.json"], r'contents must be an object of names and references, got \["a.json"\]\.$'),
        (None, r"contents must be an object of names and references, got null\.$"),
        ({"": "a.json"}, r'contents holds the name "", but a name must not be empty\.$'),
        ({"a": 1}, r"contents\.a must be a string \(a reference to a document\), got 1\.$"),
        ({"a b": None}, r'contents\["a b"\] must be a string .*, got null\.$'),
        ({"a": {"version": "0.1.0"}}, r"contents\.a must be a string .*, got an object with 1 keys\.$"),
    ],
)
def test_contents_of_another_form_are_refused(contents, message):
    """An error names the document, the place and the value."""
    with pytest.raises(ManifestError, match=rf"^s3://bucket/fov\.json: {message}"):
        read(collection(contents=contents))


def test_an_experiment_of_version_5_is_a_collection_of_its_images():
    """Image names lead to their references; the codebook is kept."""
    document = read(experiment(extras={"a": 1}, odd=2))
    assert document.contents == {"primary": "p.json", "nuclei": "n/n.json"}
    assert (document.kind, document.version, document.codebook) == ("experiment", "5.0.0", "codebook.json")
    assert (document.extras, document.unknown) == ({"a": 1}, {"odd": 2})


@pytest.mark.parametrize("key", ["primary_images", "hybridization_images"])
def test_older_experiments_call_their_images_primary(key):
    """The main image type is "primary" in every version, auxiliary ones keep their names."""
    old = experiment(images=..., **{key: "hyb.json"}, auxiliary_images={"nuclei": "n.json", "dots": "d.json"})
    document = read(old | {"version": "4.0.0"})
    assert document.contents == {"primary": "hyb.json", "nuclei": "n.json", "dots": "d.json"}
    assert document.kind == "experiment"
    assert document.unknown == {}


@pytest.mark.parametrize("changes", [{"auxiliary_images": None}, {"auxiliary_images": {}}, {"codebook": ...}])
def test_an_experiment_needs_neither_auxiliary_images_nor_a_codebook(changes):
    """What is not needed for the pixels may be missing."""
    document = read(experiment(images=..., primary_images="p.json", **changes))
    assert document.contents == {"primary": "p.json"}


def test_a_codebook_that_is_not_a_reference_is_kept_with_a_warning():
    """An inline codebook does not keep anybody from the pixels."""
    with pytest.warns(ManifestWarning, match=r"`codebook` is not a string"):
        document = read(experiment(codebook=[{"codeword": []}]))
    assert document.codebook is None
    assert document.unknown == {"codebook": [{"codeword": []}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ["p.json"]}, r"images must be an object of names and references, got \[\"p.json\"\]\.$"),
        ({"images": {"primary": 3}}, r"images\.primary must be a string .*, got 3\.$"),
        ({"images": None}, r"images must be an object of names and references, got null\.$"),
        ({"images": ..., "primary_images": {}}, r"primary_images must be a string .*, got \{\}\.$"),
        ({"images": ..., "primary_images": None}, r"primary_images must be a string .*, got null\.$"),
        ({"auxiliary_images": "n.json"}, r'auxiliary_images must be an object .*, got "n.json"\.$'),
        ({"primary_images": "other.json"}, r"primary_images names the image 'primary' a second time, with another"),
    ],
)
def test_images_of_another_form_are_refused(changes, message):
    """An error names the document, the place and the value."""
    with pytest.raises(ManifestError, match=rf"^s3://bucket/fov\.json: {message}"):
        read(experiment(**changes))


def test_an_image_may_be_named_twice_with_the_same_reference():
    """`images` and `primary_images` that agree are no error."""
    assert read(experiment(images={"primary": "p.json"}, primary_images="p.json")).contents == {"primary": "p.json"}
