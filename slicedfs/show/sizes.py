"""Sizes in bytes as people write them. Pure."""

import re

__all__ = ["parsed", "shown"]

_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{letter}{end}": 1000**power for power, letter in enumerate("kmgt", 1) for end in ("", "b")}
_UNITS |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)}


def shown(size: float) -> str:
    """Return `size` bytes for people: ``15 KiB``, ``144.7 KiB``, ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def parsed(size: int | str, name: str) -> int:
    """Return the bytes that `size` says: a number of bytes, or text as "128MiB", "64 MB", "1e6".

    Raises
    ------
    ValueError
        If it says no size, or one below 1 byte; the message calls it `name`.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([a-z]*)\s*", str(size), re.IGNORECASE)
    unit = _UNITS.get(match[2].lower()) if match else None
    try:
        value = int(float(match[1]) * unit) if match and unit and not isinstance(size, bool) else 0
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise ValueError(f"{name} must be a number of bytes >= 1 or a text such as '128MiB', got {size!r}.")
    return value
