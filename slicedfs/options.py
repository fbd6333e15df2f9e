"""How an array is read, as one frozen value: checked once, passed whole."""

from dataclasses import dataclass
from typing import Literal, get_args

from slicedfs.layout.coords import CONVENTIONS, PixelCoords

__all__ = ["ArrayOptions", "Combine", "OnMissing", "Verify"]

Verify = Literal["auto", "always", "never"]
OnMissing = Literal["raise", "fill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayOptions:
    """How the pixels and coordinates of a tile set are read."""

    pixel_coords: PixelCoords = "edges"
    """How ranges are read, see :func:`slicedfs.layout.coords.pixel_centers`."""
    fill_value: complex | None = None
    """Value of positions without a tile; None: 0 for integers and bool, NaN for floats."""
    on_missing: OnMissing = "raise"
    """What a listed file that is absent does: MissingTileError, or read as fill_value with one warning."""
    verify: Verify = "auto"
    """"auto" and "always": tiles with a sha256 are verified; "never": they are not."""
    max_bytes: int | None = None
    """Reads whose result is larger are refused; None: what is free in memory."""
    max_tile_bytes: int = 1 << 30
    """Tiles that declare a larger decoded size are refused before allocation."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises
        ------
        ValueError
            Naming the option, the value and the values that are possible.
        """
        _one_of("pixel_coords", self.pixel_coords, CONVENTIONS)
        _one_of("on_missing", self.on_missing, get_args(OnMissing))
        _one_of("verify", self.verify, get_args(Verify))
        for name in ("max_bytes", "max_tile_bytes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value <= 0):
                raise ValueError(f"{name} must be a positive number of bytes, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Combine:
    """How the tile sets of a collection become one array; false where they do not."""

    stack: str | None = None
    """Name of a new dim, along which each tile set has a position; None: none."""
    mosaic: bool = False
    """True: by their coordinates, on one pixel grid."""

    def __post_init__(self) -> None:
        """Check both fields.

        Raises
        ------
        TypeError, ValueError
        """
        if self.stack == "" or not isinstance(self.stack, str | None):
            raise TypeError(f"stack must be the name of a new dim, as 'fov', got {self.stack!r}")
        if self.mosaic not in (True, False):
            raise TypeError(f"mosaic must be True or False, got {self.mosaic!r}")
        if self.stack is not None and self.mosaic:
            raise ValueError(f"stack={self.stack!r} and mosaic=True exclude each other; pass one of them")

    def __bool__(self) -> bool:
        return self.stack is not None or self.mosaic


def _one_of(name: str, value: object, possible: tuple[str, ...]) -> None:
    if value not in possible:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, possible))}, got {value!r}")
