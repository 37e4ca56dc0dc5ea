"""Nothing is said of what lies under clouds, whatever the tiling."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize
from scenes import examples, instances
from scipy import ndimage

import geoseg
from geoseg import ArrayRaster, Instances, LandClass, Legend
from geoseg.backends import Backend
from geoseg.backends.clouds import Cloudless
from geoseg.backends.compose import load
from geoseg.export import COLUMNS

SAME = [c for c in COLUMNS if c not in ("n_tiles", "seam_iou")]
COVER = Legend(classes=(LandClass(name="bright", kind="cover"),))


def box_sum(plane: np.ndarray, radius: int) -> np.ndarray:
    """Return the sum over the square around each pixel; beyond the array there is nothing."""
    square = np.ones((2 * radius + 1,) * 2, np.int64)
    return ndimage.convolve(plane.astype(np.int64), square, mode="constant")


@dataclass(frozen=True)
class Around:
    """Says yes where there is much in one band around a pixel; knows only valid pixels."""

    band: int
    radius: int
    score: float = 0.9
    identity: str = "around"

    @property
    def halo_px(self):
        return self.radius

    def plane(self, data, valid):
        much = 4 * box_sum(np.where(valid, data[self.band], 0), self.radius)
        return much > box_sum(valid, self.radius)

    def segment(self, tiles):
        return [self.answer(t) for t in tiles]

    def answer(self, tile) -> Instances:
        mask = self.plane(tile.data, tile.valid)
        everywhere = (slice(0, mask.shape[0]), slice(0, mask.shape[1]))
        return instances([(everywhere, mask, 0)] if mask.any() else [], self.score)


def scene(height: int, width: int, seed: int) -> ArrayRaster:
    """Return two bands of 0 and 1: what is bright, and what is cloud."""
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.random((2, height, width)), (0, 2, 2))
    data = smooth > np.quantile(smooth, 0.7)
    return ArrayRaster(data.astype(np.uint8), random.random((height, width)) > 0.05)


def drawn(run, shape) -> np.ndarray:
    found = run.features().geometry
    # Without a CRS rows are counted from the top.
    return (
        rasterize(found, shape, transform=Affine.identity()) > 0 if len(found) else np.zeros(shape)
    )


@given(
    size=st.tuples(st.integers(20, 60), st.integers(20, 60)),
    seed=st.integers(0, 99),
    radii=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    tile=st.integers(24, 48),
)
@examples(12)
def test_a_map_without_clouds_does_not_depend_on_its_tiles(size, seed, radii, tile):
    source = scene(*size, seed)
    inner, masker = Around(0, radii[0]), Around(1, radii[1])
    backend = Cloudless(inner, masker)
    runs = [
        geoseg.segment(source, COVER, backend=backend, **cut)
        for cut in ({"tile": 4096}, {"tile": tile, "overlap": 2 * backend.halo_px})
    ]
    maps = [run.features() for run in runs]
    assert maps[0][SAME].equals(maps[1][SAME])
    assert list(maps[0].geometry.to_wkb()) == list(maps[1].geometry.to_wkb())
    data, valid = source.read(source.frame.window)
    clear = ~masker.plane(data, valid)
    expected = inner.plane(data, valid & clear) & valid & clear
    assert (drawn(runs[0], size) == expected).all()


def test_the_halo_is_the_sum_and_the_identity_names_both():
    backend = Cloudless(Around(0, 3), Around(1, 5, identity="masker"))
    assert isinstance(backend, Backend)
    assert backend.halo_px == 8
    assert "around" in backend.identity
    assert "masker" in backend.identity


def test_both_are_fitted_the_masker_to_clouds_and_shadows():
    seen = []

    class Fitting(Around):
        def fit(self, _raster, legend):
            seen.append([p for c in legend.classes for p in c.prompts])
            return Around(self.band, self.radius)

    Cloudless(Fitting(0, 1), Fitting(1, 1)).fit(scene(8, 8, 0), COVER)
    assert seen == [["bright"], ["cloud", "shadow"]]


def test_a_masker_that_is_not_sure_masks_nothing():
    source = scene(30, 30, 1)
    alone = geoseg.segment(source, COVER, backend=Around(0, 1))
    wrapped = geoseg.segment(
        source, COVER, backend=Cloudless(Around(0, 1), Around(1, 1, score=0.4))
    )
    assert (drawn(alone, (30, 30)) == drawn(wrapped, (30, 30))).all()


def test_it_works_with_the_built_in_backend_and_can_be_pickled():
    random = np.random.default_rng(0)
    data = random.integers(0, 255, (3, 60, 60)).astype(np.uint8)
    source = ArrayRaster(data, roles={"red": 1, "green": 2, "blue": 3})
    backend = Cloudless(load("spectral"), load("spectral"))
    fitted = backend.fit(source, Legend.parse("vegetation"))
    assert pickle.loads(pickle.dumps(fitted)) == fitted  # noqa: S301
    run = geoseg.segment(source, "vegetation", backend=backend)
    assert run.complete


@pytest.mark.parametrize("score", [0.4, 0.9])
def test_under_clouds_everywhere_there_is_nothing(score):
    source = ArrayRaster(np.ones((2, 20, 20), np.uint8))
    run = geoseg.segment(source, COVER, backend=Cloudless(Around(0, 0), Around(1, 0, score=score)))
    assert run.count == (score < 0.5)
