"""CLIPSeg's heat maps: those of its makers' code, once per picture, as covers and as objects."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import references
import torch
from scipy import ndimage

import geoseg
from geoseg.backends import Backend
from geoseg.backends.models.clipseg import CLIPSeg, clipseg
from geoseg.config import ModelOptions
from geoseg.errors import BackendError
from geoseg.legend import LandClass, Legend

SHAPES = ((61, 83), (64, 64), (40, 97), (61, 83))

CPU = ModelOptions(device="cpu")


def pictures():
    draw = np.random.default_rng(3)
    return [draw.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in SHAPES]


def raster():
    return geoseg.ArrayRaster(pictures()[0].transpose(2, 0, 1))


WATER = Legend(classes=(
    LandClass(name="water", prompts=("lake", "river water"), threshold=0.5),
    LandClass(name="boat", threshold=0.5),
))  # fmt: skip


@pytest.mark.parametrize("batch", [1, 4])
def test_evidence_is_the_heat_of_the_reference(saved, batch):
    backend = clipseg(str(saved("clipseg")), CPU).fit(raster(), WATER)
    shown = pictures()[:batch]
    found = backend.evidence(shown, [p.shape[:2] for p in shown])
    for picture, planes in zip(shown, found, strict=True):
        heat = references.heat(saved("clipseg"), picture, ["lake", "river water", "boat"])
        coarse = np.stack([heat[:2].max(axis=0), heat[2]])
        expected = references.resized(coarse[None], picture.shape[:2])[0]
        assert planes.shape == expected.shape
        assert planes.std() > 0.01
        np.testing.assert_allclose(planes, expected, atol=1e-5)


def test_a_tile_may_be_finer_than_its_picture(saved):
    backend = clipseg(str(saved("clipseg")), CPU).fit(raster(), WATER)
    (planes,) = backend.evidence(pictures()[:1], [(122, 166)])
    heat = references.heat(saved("clipseg"), pictures()[0], ["boat"])
    np.testing.assert_allclose(
        planes[1], references.resized(heat[None], (122, 166))[0, 0], atol=1e-5
    )


def test_covers_are_whole_and_objects_are_regions(saved):
    backend = clipseg(str(saved("clipseg")), CPU)
    assert isinstance(backend, Backend)
    level = np.median(references.heat(saved("clipseg"), pictures()[0], ["lake", "boat"]))
    classes = (
        LandClass(name="lake", kind="cover", threshold=level),
        LandClass(name="boat", kind="object", threshold=level),
    )
    run = geoseg.segment(raster(), Legend(classes=classes), backend=backend, tile=128, overlap=64)
    assert run.complete
    fitted = backend.fit(raster(), Legend(classes=classes))
    (planes,) = fitted.evidence([_shown(raster())], [SHAPES[0]])
    found = run.features()
    for cls, name in enumerate(("lake", "boat")):
        mine = found[found["class"] == name]
        assert len(mine) == ndimage.label(planes[cls] >= np.float32(level))[1]
        assert mine.geometry.area.sum() == (planes[cls] >= np.float32(level)).sum()


def _shown(source):
    """Return what a backend is shown of a whole raster."""
    seen = []

    class Spy:
        identity, halo_px = "spy", 0

        def segment(self, tiles):
            seen.extend(t.rgb() for t in tiles)
            return [geoseg.Instances.empty() for _ in tiles]

    geoseg.segment(source, "boat", backend=Spy(), tile=128, overlap=64)
    return seen[0]


def test_one_encoding_serves_all_phrases(saved, monkeypatch):
    backend = clipseg(str(saved("clipseg")), CPU).fit(raster(), WATER)
    encoder = backend._loaded.network.clip.vision_model.part
    calls, forward = [], encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    backend.evidence(pictures()[:2], SHAPES[:2])
    assert len(calls) == 1


def test_a_prompt_that_is_too_long_is_named_before_any_work(saved):
    long = Legend.parse("a small pond with a boat under the green bridge behind the house")
    with pytest.raises(BackendError, match=r"^prompt 'a small .*' is longer than the model can"):
        clipseg(str(saved("clipseg")), CPU).fit(raster(), long)


def test_unfitted_it_says_what_to_call(saved):
    with pytest.raises(BackendError, match="is not fitted; call fit"):
        clipseg(str(saved("clipseg")), CPU).segment([])


def test_a_copy_gives_equal_results(saved):
    backend = clipseg(str(saved("clipseg")), CPU).fit(raster(), WATER)
    packed = pickle.dumps(backend)
    assert len(packed) < 4000
    (a,) = backend.evidence(pictures()[:1], SHAPES[:1])
    (b,) = pickle.loads(packed).evidence(pictures()[:1], SHAPES[:1])  # noqa: S301
    np.testing.assert_array_equal(a, b)


def test_half_precision_runs(saved):
    half = ModelOptions(device="cpu", precision="bf16")
    (exact,), (found,) = (
        clipseg(str(saved("clipseg")), options).fit(raster(), WATER).evidence(
            pictures()[:1], SHAPES[:1]
        )
        for options in (CPU, half)
    )  # fmt: skip
    assert found.dtype == np.float32
    assert np.abs(found - exact).mean() < 0.02


def test_what_does_not_fit_is_halved(saved, monkeypatch):
    backend = clipseg(str(saved("clipseg")), CPU).fit(raster(), WATER)
    look = CLIPSeg._look

    def little(self, some):
        if len(some) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return look(self, some)

    monkeypatch.setattr(CLIPSeg, "_look", little)
    assert len(backend.evidence(pictures(), SHAPES)) == 4
    assert backend._portions.take_notes() == (
        "out of device memory: tiles at once 4 -> 2",
        "out of device memory: tiles at once 2 -> 1",
    )


def test_it_says_what_it_is(saved):
    backend = clipseg(str(saved("clipseg")), CPU)
    assert backend.identity.startswith("clipseg ")
    assert backend.facts()[0]["family"] == "clipseg"
    assert (backend.halo_px, backend.usual_tile_px, backend.usual_threshold) == (16, 352, 0.3)
    assert backend.wants_rgb
