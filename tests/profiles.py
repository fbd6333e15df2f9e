"""Hypothesis profiles: "ci" (the same bounded examples every time) and "thorough" (many, new ones every time).

``HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_xarray_properties.py`` chooses one.
"""

import os

from hypothesis import HealthCheck, settings

__all__: list[str] = []

settings.register_profile(
    "ci", max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough",
    max_examples=10_000,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
