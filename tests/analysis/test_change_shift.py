"""A shift is measured to a tenth of a pixel, whatever the grids; change is not taken for one."""

import numpy as np
import pytest
from affine import Affine
from scenes import UTM
from scipy import ndimage

from geoseg import ArrayRaster
from geoseg.analysis.changes.shift import measure_shift

PX = 10
SCENE = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((620, 660)), 1.3) * 900


def raster(picture, x0=0, y0=0, px=PX, valid=None, roles=None):
    """Return a raster whose corner is (x0, y0) pixels of PX from the scene's."""
    transform = Affine(px, 0, 500_000 + x0 * PX, 0, -px, 5_000_000 - y0 * PX)
    data = np.stack([picture, picture[::-1]]).astype(np.float32)
    return ArrayRaster(data[: 2 if roles else 1], valid, transform, UTM, roles or {})


def moved(dx, dy):
    return ndimage.shift(SCENE, (dy, dx), order=3, mode="nearest")[40:-40, 40:-40]


HERE = SCENE[40:-40, 40:-40]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (1, 0), (0.4, -0.3), (-2.7, 1.6), (6.5, -8.2)])
def test_a_shift_is_found(dx, dy):
    found = measure_shift(raster(HERE), raster(moved(dx, dy)))
    assert found.known
    assert found.agree == 1
    assert np.hypot(found.dx_px - dx, found.dy_px - dy) < 0.1
    np.testing.assert_allclose(found.metres, found.px * PX, rtol=2e-3)
    assert (found.warning() is not None) == (np.hypot(dx, dy) > 0.5)


def test_a_shift_is_found_between_grids():
    later = moved(0.8, -1.1)[13:500, 27:520]
    found = measure_shift(raster(HERE), raster(later, 27, 13))
    assert np.hypot(found.dx_px - 0.8, found.dy_px + 1.1) < 0.1
    half = ndimage.zoom(HERE, 0.5, order=1, grid_mode=True, mode="nearest")
    found = measure_shift(raster(half, px=2 * PX), raster(moved(1.5, 0)))
    assert np.hypot(found.dx_px - 1.5, found.dy_px) < 0.25


def test_change_is_no_shift():
    changed = HERE.copy()
    changed[100:260, 200:420] = 0
    changed[300:400, 50:300] *= -1
    found = measure_shift(raster(HERE), raster(changed * 3 + 500))
    assert found.known
    assert found.px < 0.05
    assert found.warning() is None


def test_what_cannot_be_told_is_said():
    noise = np.random.default_rng(1).standard_normal(HERE.shape)
    found = measure_shift(raster(HERE), raster(noise))
    assert not found.known
    assert found.warning() is None
    assert "cannot be told" in str(found)
    hidden = np.zeros(HERE.shape, bool)
    found = measure_shift(raster(HERE, valid=hidden), raster(HERE))
    assert found.windows == 0
    assert "0 windows" in str(found)
    assert measure_shift(raster(np.zeros((200, 200))), raster(HERE)).windows == 0


def test_bands_of_one_role_are_compared():
    one = raster(HERE, roles={"red": 1, "nir": 2})
    other = raster(moved(1, 0)[::-1], roles={"red": 2, "green": 1})
    found = measure_shift(one, other)
    assert found.band == "red"
    assert np.hypot(found.dx_px - 1, found.dy_px) < 0.1
