"""Right-angled outlines never share area with another of their class, however they are batched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize
from scenes import ByIdentity, examples, legend, raster, seeds, truth

import geoseg
from geoseg import neighbours
from geoseg.errors import ConfigError, WriteFailedError
from geoseg.features import Drawn
from geoseg.frame import Frame
from geoseg.neighbours import settle
from geoseg.polygons import outlines
from geoseg.regularise import regularise
from geoseg.runs import runs_of

SIDE = 160


def town(random, count=25):
    """Draw turned houses, as close as chance wills; the later ones lie on the earlier."""
    ids = np.zeros((SIDE, SIDE), np.int32)
    for number in range(1, count + 1):
        w, h = random.uniform(8, 40, 2)
        house = shapely.affinity.rotate(shapely.box(0, 0, w, h), random.uniform(0, 90))
        x, y = random.uniform(0, SIDE - 20, 2)
        rasterize([(shapely.affinity.translate(house, x, y), number)], out=ids)
    return ids


def features(ids, classes=2):
    pixels = outlines(runs_of(ids, (0, 0)), int(ids.max()))
    pixels = pixels[~shapely.is_empty(pixels)]
    number = np.arange(len(pixels)) + 1
    regular = regularise(pixels, Frame(SIDE, SIDE, Affine.identity(), None))
    ones = np.ones(len(pixels))
    asked = {k: regular[k] for k in range(len(pixels)) if k % 7}
    return Drawn(number, number % classes, ones, number, ones, pixels, regular=asked)


def cut(drawn, sizes):
    """Cut a batch into batches of these sizes, and what is left."""
    stops = [0, *np.minimum(np.cumsum(sizes), len(drawn.number)).tolist(), len(drawn.number)]
    for a, b in pairwise(stops):
        columns = ("number", "cls", "score", "n_tiles", "seam_iou", "outline")
        part = {name: getattr(drawn, name)[a:b] for name in columns}
        yield Drawn(**part, regular={k - a: s for k, s in drawn.regular.items() if a <= k < b})


def wanted(drawn):
    """Ask every two, one after the other."""
    found = drawn.outline.copy()
    for i, shape in drawn.regular.items():
        rivals = [j for j in drawn.regular if j != i and drawn.cls[i] == drawn.cls[j]]
        meets = (
            a.relate_pattern(b, "T********")
            for j in rivals
            for a, b in [
                (shape, drawn.outline[j]),
                (shape, drawn.regular[j]),
            ]
        )
        found[i] = drawn.outline[i] if any(meets) else shape
    return found


@examples(15)
@given(seeds, st.lists(st.integers(0, 9), max_size=9), st.sampled_from([1, 7, 4096]))
def test_each_two_of_a_class_are_kept_apart(tmp_path_factory, random, sizes, at_once):
    drawn = features(town(random))
    folder, told = tmp_path_factory.mktemp("town"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "PAIRS", at_once)
        found = list(settle(cut(drawn, sizes), folder / "new", told.append))
    shapes = np.concatenate([part.outline for part in found])
    assert shapely.to_wkb(shapes).tolist() == shapely.to_wkb(wanted(drawn)).tolist()
    assert np.concatenate([part.number for part in found]).tolist() == drawn.number.tolist()
    assert told[-1] == len(drawn.number)
    for cls in (0, 1):
        mine = [k for k in drawn.regular if drawn.cls[k] == cls]
        united = shapely.union_all(shapes[mine]).area
        assert united == pytest.approx(shapely.area(shapes[mine]).sum(), rel=1e-9)


def test_some_are_taken_and_some_are_in_the_way(tmp_path):
    drawn = features(town(np.random.default_rng(3)), classes=1)
    (found,) = settle([drawn], tmp_path / "new", print)
    changed = [found.outline[k] is not drawn.outline[k] for k in drawn.regular]
    same = shapely.equals_exact(found.outline, drawn.outline)
    proposed = [k for k, s in drawn.regular.items() if s is not drawn.outline[k]]
    assert any(changed)
    assert 0 < same[proposed].sum() < len(proposed)
    assert found.regular == {}


def test_nothing_is_settled_too(tmp_path):
    nothing = features(np.ones((SIDE, SIDE), np.int32))
    assert list(settle([], tmp_path / "a", print)) == []
    (found,) = settle([replace(nothing, regular={})], tmp_path / "b", print)
    assert found.outline[0].area == SIDE**2


def test_a_disk_that_fails_is_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteFailedError, match=r"cannot keep outlines in .*; make room there"):
        list(settle([], tmp_path / "file" / "new", print))


# ------------------------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Town(ByIdentity):
    """Knows houses by their number; every third is of another class."""

    identity: str = "town"


IDS = town(np.random.default_rng(3))
COUNT = int(IDS.max())
MODEL = Town(tuple(int(n % 3 == 0) for n in range(1, COUNT + 1)))
HOUSES = legend("object", "object")


def segment(out, regularize="c0", classes=HOUSES, **options):
    options = {"tile": 60, "overlap": 20, **options}
    return geoseg.segment(
        raster(IDS), classes, backend=MODEL, out=out, regularize=regularize, **options
    )


def test_a_run_regularizes_the_classes_that_are_named(tmp_path):
    found = segment(tmp_path / "map.parquet").features()
    whole = {shapely.normalize(shape) for shape in truth(IDS, COUNT)}
    as_it_was = np.array([shapely.normalize(shape) in whole for shape in found.geometry])
    named = found["class"].to_numpy() == "c0"
    assert as_it_was[~named].all()
    assert 0 < as_it_was[named].sum() < named.sum()
    assert found.geometry.is_valid.all()
    assert found.area_ha.sum() == pytest.approx((IDS > 0).sum() / 100, rel=1e-3)


@pytest.mark.parametrize(
    "options", [{"tile": 400}, {"tile": 47, "overlap": 9}, {"workers": 2, "tile": 80}]
)
def test_it_does_not_depend_on_tiles(tmp_path, options):
    asked = {"columns": "truncated, means"}
    one = segment(tmp_path / "one.parquet", **asked).features()
    other = segment(tmp_path / "other.parquet", **asked, **options).features()
    same = [name for name in one.columns if name not in ("n_tiles", "seam_iou")]
    assert one[same].equals(other[same])


def test_what_is_regularized_is_left_alone_when_the_map_is_generalised(tmp_path):
    coarse = {"simplify": "2px", "smooth": True, "columns": "truncated"}
    plain = segment(tmp_path / "plain.parquet", columns="truncated").features()
    one = segment(tmp_path / "one.parquet", **coarse).features()
    other = segment(tmp_path / "other.parquet", **coarse, tile=47, overlap=9).features()
    same = [name for name in one.columns if name not in ("n_tiles", "seam_iou")]
    assert one[same].equals(other[same])
    named = plain["class"].to_numpy() == "c0"
    apart = one.symmetric_difference(plain).area / plain.area
    assert (apart[named] < 1e-9).all()
    assert (apart[~named] > 1e-9).all()


def test_pixels_decide_what_is_truncated(tmp_path):
    plain = segment(tmp_path / "plain.parquet", regularize="", columns="truncated").features()
    found = segment(tmp_path / "map.parquet", columns="truncated").features()
    assert plain.truncated.tolist() == found.truncated.tolist()
    assert plain.truncated.any()


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("c0, shed", HOUSES, r"'shed' is no class of the legend \(c0: object, c1: object\); "),
        ("c0", legend("cover", "object"), r"'c0' is a cover \(c1: object, c0: cover\); name obj"),
        ("c1", legend("cover", "cover"), r"'c1'.* kind = .object. in a legend file \(--legend\)$"),
        ("c9", legend(*["object"] * 9), r"'c9' .*c7: object, and 1 more\); name objects"),
    ],
)
def test_what_cannot_be_regularized_is_refused(tmp_path, name, classes, message):
    with pytest.raises(ConfigError, match=f"--regularize: {message}"):
        segment(tmp_path / "map.gpkg", name, classes)
    assert list(tmp_path.iterdir()) == []
