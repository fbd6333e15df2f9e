"""How much memory is free, as far as the system tells."""

import os
from pathlib import Path

__all__ = ["free_bytes"]


def free_bytes() -> int | None:
    """Return the bytes that can be allocated without swapping, within the process's cgroup; None where unknown.

    Sources: MemAvailable of /proc/meminfo (Linux, proc(5)); memory.max and memory.current of cgroup v2; elsewhere
    the free pages of POSIX sysconf.
    """
    known = [bytes_ for bytes_ in (_meminfo(), _cgroup(), _sysconf()) if bytes_ is not None]
    return min(known) if known else None


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _cgroup() -> int | None:
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        return None if limit == "max" else int(limit) - int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return None


def _sysconf() -> int | None:
    if Path("/proc/meminfo").exists() or not hasattr(os, "sysconf"):
        return None
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
