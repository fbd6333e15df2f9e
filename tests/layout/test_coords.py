"""Physical coordinates follow the contract's two readings of a range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.layout.coords import pixel_centers

finite = st.floats(-1e6, 1e6)


@given(finite, finite, st.integers(1, 3000))
def test_centers_is_linspace(start, stop, size):
    """Reading as "centers" gives numpy.linspace bit for bit, as starfish does."""
    np.testing.assert_array_equal(pixel_centers(start, stop, size, "centers"), np.linspace(start, stop, size))


def test_edges():
    """Reading as "edges" puts pixel i at x0 + (i + 0.5)(x1 - x0)/n; reversed ranges descend."""
    np.testing.assert_array_equal(pixel_centers(100.0, 162.4, 96, "edges")[[0, 1, -1]], [100.325, 100.975, 162.075])
    np.testing.assert_array_equal(pixel_centers(2.0, 0.0, 4, "edges"), [1.75, 1.25, 0.75, 0.25])
    np.testing.assert_array_equal(pixel_centers(0.0, 1.0, 0, "edges"), [])


@pytest.mark.parametrize(("start", "step", "size"), [(100.0, 0.65, 2048), (1 / 3, 0.1, 999), (-7.1, 1e-3, 500)])
def test_edges_do_not_depend_on_float_noise(start, step, size):
    """Ranges computed in different ways give equal labels, so that arrays of two documents align."""
    ways = [
        (start, start + step * size),
        (start + 1e-13, start + sum([step] * size)),
        (float(np.nextafter(start, 1e9)), float(np.linspace(start, start + step * size, 7)[-1])),
    ]
    first, *others = [pixel_centers(a, b, size, "edges") for a, b in ways]
    for other in others:
        np.testing.assert_array_equal(first, other)


@given(finite, st.floats(1e-3, 1e3), st.integers(1, 3000))
def test_rounding_moves_less_than_a_millionth_pixel(start, step, size):
    """Rounding moves no label by more than 1e-6 pixel (beside float resolution)."""
    exact = start + (np.arange(size) + 0.5) * ((start + step * size - start) / size)
    off = np.abs(pixel_centers(start, start + step * size, size, "edges") - exact)
    assert (off <= 1e-6 * step + 4 * np.spacing(np.abs(exact))).all()
