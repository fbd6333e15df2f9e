"""Collections, and SpaceTx experiments, which are collections of image types."""

from collections.abc import Iterator, Mapping
from typing import Any

from slicedfs.manifest.checks import Place, member
from slicedfs.manifest.kinds import EXPERIMENT_IMAGES, Kind, version_of
from slicedfs.model import CollectionDocument

__all__ = ["read_collection", "read_experiment"]

_COLLECTION_KEYS = frozenset(("version", "contents", "extras", "tiles"))
_EXPERIMENT_KEYS = frozenset((*EXPERIMENT_IMAGES, "version", "codebook", "extras"))
_PRIMARY = "primary"


def read_collection(document: Mapping[str, Any], place: Place) -> CollectionDocument:
    """Read a document with ``contents``; ``tiles`` beside it are left out, as the warning says."""
    return CollectionDocument(
        url=place.url,
        version=version_of(document, Kind.COLLECTION, place),
        contents=dict(_references(document["contents"], "contents", place)),
        extras=document.get("extras"),
        unknown={key: value for key, value in document.items() if key not in _COLLECTION_KEYS},
    )


def read_experiment(document: Mapping[str, Any], place: Place) -> CollectionDocument:
    """Read a SpaceTx experiment: image types -> references; the main one is called "primary" in every version.

    5.x lists ``images``; 4.x has ``primary_images`` (one reference) and ``auxiliary_images`` (an object), older ones
    ``hybridization_images`` instead (starfish, ``spacetx_format/schema/experiment_*``).
    """
    unknown = {key: value for key, value in document.items() if key not in _EXPERIMENT_KEYS}
    codebook = document.get("codebook")
    if codebook is not None and not isinstance(codebook, str):
        place.note("codebook", "`codebook` is not a string (a reference); it is kept as an unknown key.")
        unknown["codebook"], codebook = codebook, None
    return CollectionDocument(
        url=place.url,
        version=version_of(document, Kind.EXPERIMENT, place),
        contents=_images(document, place),
        kind="experiment",
        codebook=codebook,
        extras=document.get("extras"),
        unknown=unknown,
    )


def _images(document: Mapping[str, Any], place: Place) -> dict[str, str]:
    images: dict[str, str] = {}
    for key in EXPERIMENT_IMAGES:
        if document.get(key) is None and (key not in document or key == "auxiliary_images"):
            continue
        is_group = key in ("images", "auxiliary_images")
        entries = document[key] if is_group else {_PRIMARY: document[key]}
        for name, reference in _references(entries, key, place, is_group=is_group):
            if images.setdefault(name, reference) != reference:
                raise place.error(key, f"names the image {name!r} a second time, with another reference")
    return images


def _references(value: object, pointer: str, place: Place, *, is_group: bool = True) -> Iterator[tuple[str, str]]:
    """Yield names and references; `is_group` is False where `pointer` holds one reference under a fixed name."""
    if not isinstance(value, dict):
        raise place.error(pointer, "must be an object of names and references", value)
    for name, reference in value.items():
        if not name:
            raise place.error(pointer, 'holds the name "", but a name must not be empty')
        if not isinstance(reference, str):
            where = member(pointer, name) if is_group else pointer
            raise place.error(where, "must be a string (a reference to a document)", reference)
        yield name, reference
