"""What holds for all tests of reading: speeds are guessed, never measured, so that no decision hangs on a clock."""

import pytest

from slicedfs.store import pace as paces


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every origin be one of 50 ms and 50 MB/s, and no request be sent twice."""
    monkeypatch.setattr(paces.Pace, "seen", lambda *_, **__: None)
    monkeypatch.setattr(paces, "_HEDGE_S", 1000.0)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every origin be one of 1 ms: a round trip costs 50 kB."""
    monkeypatch.setattr(paces, "_GUESS_S", 0.001)
