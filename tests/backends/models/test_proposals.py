"""Segments nobody asked for: those of Segment Anything's own automatic mask generator."""

from __future__ import annotations

import numpy as np
import pytest
import references
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils.amg import calculate_stability_score

import geoseg
from geoseg.backends.everything import Everything
from geoseg.backends.models import promptable, sam, sam2
from geoseg.backends.models.promptable import _stability
from geoseg.backends.models.upsampling import extents, upsampler
from geoseg.config import ModelOptions

SHAPE = (61, 83)


@pytest.fixture
def picture():
    return np.random.default_rng(5).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


@pytest.fixture
def points():
    x, y = np.meshgrid(np.arange(4, 83, 13), np.arange(4, 61, 13))
    return np.column_stack((x.ravel(), y.ravel())).astype(np.float32)


@pytest.mark.parametrize(
    ("sure", "stable", "same", "least"),
    [(0.001, 0.1, 0.7, 1), (0.001, 0.01, 0.98, 2), (0.001, 0.01, 1.0, 30), (0.05, 0.02, 1.0, 5)],
)
def test_segments_are_those_of_the_automatic_mask_generator(  # noqa: PLR0913, PLR0917
    saved, picture, points, monkeypatch, sure, stable, same, least
):
    monkeypatch.setattr(promptable, "SURE", sure)
    monkeypatch.setattr(promptable, "SAME_SEGMENT", same)
    monkeypatch.setattr(promptable, "STABLE", stable)
    monkeypatch.setattr(promptable, "OFFSET", 0.02)
    file = saved("segment-anything")
    reference = SamAutomaticMaskGenerator(
        references._own(file),
        points_per_side=None,
        point_grids=[points / SHAPE[::-1]],
        pred_iou_thresh=sure,
        stability_score_thresh=stable,
        stability_score_offset=0.02,
        box_nms_thresh=same,
    )
    expected = reference.generate(picture)
    (found,) = sam.sam(str(file), ModelOptions(device="cpu")).propose([picture], [points], [SHAPE])
    assert least <= len(expected) < 3 * len(points)
    assert len(found) == len(expected)
    for cutout, segment in zip(found, expected, strict=True):
        mask = np.zeros(SHAPE, bool)
        x0, y0, x1, y1 = cutout.box
        mask[y0:y1, x0:x1] = cutout.mask
        assert (mask != segment["segmentation"]).sum() <= 2
        x, y, width, height = segment["bbox"]
        assert cutout.box == (x, y, x + width + 1, y + height + 1)
        assert cutout.quality == pytest.approx(min(segment["predicted_iou"], 1), abs=1e-5)


def test_stability_inside_the_reach_is_that_of_the_whole():
    planes = torch.randn(30, 16, 16, generator=torch.Generator().manual_seed(1)) - 1
    up = upsampler(((16, 61, 61),), ((16, 83, 83),), "cpu")
    whole = torch.nn.functional.interpolate(planes[None], SHAPE, mode="bilinear")[0]
    expected = calculate_stability_score(whole, 0.0, 1.0)
    for plane, samples, stability in zip(planes, extents(planes, -1.0), expected, strict=True):
        found = _stability(up.values(plane, up.reach(samples)))
        assert found == pytest.approx(float(stability), abs=1e-6)


def test_points_make_no_difference_by_how_many_are_asked_at_once(
    saved, picture, points, monkeypatch
):
    monkeypatch.setattr(promptable, "SURE", 0.5)
    monkeypatch.setattr(promptable, "STABLE", 0.05)
    monkeypatch.setattr(promptable, "OFFSET", 0.1)
    segmenter = sam2.sam2(str(saved("sam2")), ModelOptions(device="cpu"))
    (many,) = segmenter.propose([picture], [points], [SHAPE])
    monkeypatch.setattr(promptable, "PROMPTS", 4)
    few = sam2.sam2(str(saved("sam2")), ModelOptions(device="cpu"))
    again, twice = few.propose([picture, picture], [points, points], [SHAPE, SHAPE])
    assert many
    assert [c.box for c in many] == [c.box for c in again] == [c.box for c in twice]


def test_a_run_outlines_everything(saved, picture, monkeypatch):
    monkeypatch.setattr(promptable, "SURE", 0.4)
    monkeypatch.setattr(promptable, "STABLE", 0.05)
    monkeypatch.setattr(promptable, "OFFSET", 0.1)
    backend = Everything(sam2.sam2(str(saved("sam2")), ModelOptions(device="cpu")))
    raster = geoseg.ArrayRaster(np.tile(picture, (3, 2, 1)).transpose(2, 0, 1))
    run = geoseg.segment(raster, "segment", backend=backend, tile=128, overlap=48, threshold=0.4)
    assert run.complete
    assert run.tiles > 1
    assert run.count


def test_no_points_give_no_segments(saved, picture):
    segmenter = sam2.sam2(str(saved("sam2")), ModelOptions(device="cpu"))
    none = np.zeros((0, 2), np.float32)
    assert segmenter.propose([picture], [none], [SHAPE]) == [[]]
