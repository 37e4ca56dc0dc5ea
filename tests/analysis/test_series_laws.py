"""Counts are those of numpy, ponds those of scipy, and nothing depends on how strips are cut."""

from datetime import date, timedelta
from itertools import combinations, pairwise

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scenes import GEOREF, UTM, canonical, examples, seeds, truth
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg import ArrayRaster
from geoseg.analysis.changes import aligned
from geoseg.analysis.changes.aligned import Date
from geoseg.analysis.changes.seen import Seen
from geoseg.analysis.classed import open_classed
from geoseg.analysis.hydroperiod.counted import (
    CLASSES,
    FARTHEST_D,
    LEAST_KNOWN,
    NOT_SEEN,
    YEAR_D,
    Counted,
    Thresholds,
    tells_days,
)
from geoseg.analysis.hydroperiod.events import EVENTS, find_events, last_known
from geoseg.analysis.hydroperiod.lineages import link, ponds_in, watch
from geoseg.analysis.hydroperiod.outlines import drawn
from geoseg.analysis.hydroperiod.rasters import Growing
from geoseg.analysis.hydroperiod.stack import stack
from geoseg.analysis.hydroperiod.table import Told
from geoseg.analysis.hydroperiod.tally import Tally
from geoseg.area import Area
from geoseg.errors import ConfigError
from geoseg.frame import Frame, horizontal_wkt

THRESHOLDS = Thresholds(0.8, 0.3)
NOWHERE = np.zeros(0, object)


def numbered(wet):
    """Return water polygons as maps have them: 4-connected regions."""
    labels, count = ndimage.label(wet)
    if not count:
        labels[0, 0], count = 1, 1
    return labels.astype(np.int32), count


def scene(count, size, random):
    """Draw polygons by number, and what was seen, of several dates."""
    cloud = ndimage.gaussian_filter(random.random(size), 2)
    dates = []
    for _ in range(count):
        # Ponds lie where they lay before, more or less.
        here = cloud + 0.3 * ndimage.gaussian_filter(random.random(size), 1)
        labels, _ = numbered(here > np.quantile(here, random.uniform(0.5, 0.9)))
        gaps = ndimage.gaussian_filter(random.random(size), 3)
        seen = gaps > np.quantile(gaps, random.uniform(0, 0.4))
        dates.append((labels, seen))
    return dates


def stacked(dates, folder, area=None):
    height, width = dates[0][0].shape
    frame = Frame(width, height, GEOREF, horizontal_wkt(UTM))
    given_dates = []
    for labels, seen in dates:
        shapes = truth(labels, int(labels.max()))
        layer = gpd.GeoDataFrame(
            {"class": "water"}, geometry=shapes, crs=UTM, index=range(len(shapes))
        )
        raster = ArrayRaster(np.zeros((1, height, width), np.uint8), seen, GEOREF, UTM)
        given_dates.append(Date(open_classed(layer, "MAP"), Seen(raster, None, NOWHERE)))
    return stack(tuple(given_dates), None, frame, folder, area)


def nothing(*_):
    """Hear nothing."""


def ground(frame):
    x, y = np.meshgrid(np.arange(frame.width) + 0.5, np.arange(frame.height) + 0.5)
    return frame.pixels_m2(np.column_stack((x.ravel(), y.ravel()))).reshape(y.shape)


def told_of(found):
    lineages = link(found, nothing)
    watched = watch(found, lineages)
    known = watched.seen >= 0.9
    texts = tuple(f"20{k:02}" for k in range(found.count))
    ids = np.arange(found.offset[-1] + 1)
    events = find_events(found, lineages, watched, known)
    return Told(texts, ids, found.offset, lineages, watched, known, events)


sizes = st.tuples(st.integers(3, 40), st.integers(3, 40))


@examples(20)
@given(size=sizes, count=st.integers(2, 5), random=seeds, cut=st.booleans())
def test_occurrence_is_that_of_numpy(size, count, random, cut, tmp_path):
    dates = scene(count, size, random)
    asked = np.ones(size, bool)
    area = None
    if cut:
        frame = Frame(size[1], size[0], GEOREF, horizontal_wkt(UTM))
        area = Area.of(
            np.array([shapely.box(1, 1, size[1] // 2 + 1, size[0])], object), frame.window
        )
        asked[:] = False
        asked[1:, 1 : size[1] // 2 + 1] = True
    found = stacked(dates, tmp_path, area)
    with Growing(tmp_path, found.frame, (None,) * count, THRESHOLDS) as growing:
        tally = Tally(found, growing, None)
        link(found, tally.hear)
    seen = np.stack([s for _, s in dates]) & asked
    wet = np.stack([labels > 0 for labels, _ in dates]) & seen
    with rasterio.open(growing.paths[0]) as source:
        occurrence, observed, wets = source.read()
    assert (observed == seen.sum(axis=0)).all()
    assert (wets == wet.sum(axis=0)).all()
    assert (np.isnan(occurrence) == (observed == 0)).all()
    some = observed > 0
    assert (occurrence[some] == (wets / np.maximum(observed, 1)).astype(np.float32)[some]).all()
    with rasterio.open(growing.paths[1]) as source:
        cls = source.read(1)
    wanted = np.full(size, NOT_SEEN)
    n, w = seen.sum(axis=0), wet.sum(axis=0)
    wanted[some] = 0
    wanted[some & (w > 0)] = 1
    wanted[some & (w / np.maximum(n, 1) >= 0.3)] = 2
    wanted[some & (w / np.maximum(n, 1) >= 0.8)] = 3
    assert (cls == wanted).all()
    m2 = ground(found.frame)
    hectares = tally.class_ha
    for k, name in enumerate(CLASSES):
        assert hectares[name] == pytest.approx(m2[(wanted == k) & asked].sum() / 1e4, rel=1e-6)
    assert hectares["not observed"] == pytest.approx(
        m2[asked & (wanted == NOT_SEEN)].sum() / 1e4, rel=1e-6
    )
    gaps = 1 - seen.sum(axis=(1, 2)) / asked.sum()
    np.testing.assert_allclose(tally.gap, gaps)
    np.testing.assert_allclose(tally.water_m2, [m2[w].sum() for w in wet], rtol=1e-6)


@examples(20)
@given(size=sizes, count=st.integers(2, 4), random=seeds)
def test_ponds_are_the_components_of_all_overlaps(size, count, random, tmp_path):
    dates = scene(count, size, random)
    found = stacked(dates, tmp_path)
    lineages = link(found, nothing)
    nodes = np.stack([
        np.where((labels > 0) & seen, labels + offset, 0)
        for (labels, seen), offset in zip(dates, found.offset.tolist(), strict=False)
    ])  # fmt: skip
    total = int(found.offset[-1])
    edges = [np.zeros((0, 2), int)]
    for one, other in combinations(nodes, 2):
        both = (one > 0) & (other > 0)
        edges.append(np.column_stack((one[both], other[both])))
    a, b = np.concatenate(edges).T
    graph = coo_array((np.ones(len(a)), (a, b)), (total + 1,) * 2)
    label = connected_components(graph, directed=False)[1]
    there = np.unique(nodes[nodes > 0])
    order = {}
    wanted = [order.setdefault(k, len(order) + 1) for k in label[there].tolist()]
    assert (lineages.of[there] == wanted).all()
    assert lineages.of.sum() == sum(wanted)
    assert lineages.count == len(order)


@examples(20)
@given(size=sizes, count=st.integers(2, 4), random=seeds)
def test_ponds_are_measured_as_numpy_would(size, count, random, tmp_path):
    dates = scene(count, size, random)
    found = stacked(dates, tmp_path)
    told = told_of(found)
    watched, lineages = told.watched, told.lineages
    pond = ponds_in(found, lineages, found.frame.window)
    m2 = ground(found.frame)
    ever = np.any([(labels > 0) & seen for labels, seen in dates], axis=0)
    assert ((pond > 0) == ever).all()
    for k, (labels, seen) in enumerate(dates):
        wet = (labels > 0) & seen
        # Not a pixel is lost between ponds, nor counted twice.
        assert watched.area_m2[k, 1:].sum() == pytest.approx(
            float(np.sum(found.m2(found.frame.window)[wet])), rel=1e-13
        )
        around = np.pad(seen, 1)
        shut = np.stack([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
        at_edge = wet & ~shut.all(axis=0)
        for p in range(1, lineages.count + 1):
            mine = pond == p
            assert watched.area_m2[k, p] == pytest.approx(m2[mine & wet].sum(), rel=1e-6)
            assert watched.seen[k, p] == pytest.approx(
                m2[mine & seen].sum() / m2[mine].sum(), rel=1e-6
            )
            assert watched.parts[k, p] == len(np.unique(labels[mine & wet]))
            assert watched.cut[k, p] == (mine & at_edge).any()
            if (seen | ~mine).all():
                assert watched.seen[k, p] == 1
    rows = next(told.tables())
    assert len(rows) == lineages.count * count
    unknown = rows["observed"] < 0.9
    assert rows.loc[unknown, ["area_ha", "n_parts", "event"]].isna().all(axis=None)
    assert rows.loc[~unknown, ["area_ha", "n_parts"]].notna().all(axis=None)
    for (_, row), parts in zip(rows.iterrows(), rows["parts"].fillna(""), strict=True):
        k = int(row["date"][2:])
        places = [int(i) - found.offset[k] for i in parts.split("+") if i]
        labels, seen = dates[k]
        assert set(places) == set(np.unique(labels[(pond == row["pond"]) & seen]).tolist()) - {0}


@examples(8)
@given(size=sizes, random=seeds, rows=st.integers(1, 6))
def test_nothing_depends_on_strips(size, random, rows, tmp_path):
    dates = scene(4, size, random)
    whole = told_of(stacked(dates, tmp_path))
    shapes = {p: canonical(s) for ps, ss in drawn(stacked(dates, tmp_path), whole)
              for p, s in zip(ps.tolist(), ss, strict=True)}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aligned, "HELD_PX", rows * size[1])
        cut_stack = stacked(dates, tmp_path)
        assert sum(1 for _ in cut_stack.windows()) == -(-size[0] // rows)
        cut = told_of(cut_stack)
        again = {p: canonical(s) for ps, ss in drawn(cut_stack, cut)
                 for p, s in zip(ps.tolist(), ss, strict=True)}  # fmt: skip
    one, other = next(whole.tables()), next(cut.tables())
    for name in one.columns:
        if name in ("area_ha", "observed"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-12)
        else:
            assert one[name].equals(other[name]), name
    pond = ponds_in(cut_stack, cut.lineages, cut_stack.frame.window)
    drawn_once = truth(pond, whole.lineages.count)
    assert again == shapes == {k + 1: canonical(s) for k, s in enumerate(drawn_once)}


@examples(30)
@given(
    steps=st.lists(st.integers(1, FARTHEST_D), min_size=7, max_size=12),
    random=seeds,
)
def test_days_per_year_are_the_trapezoid_of_each_pixel(steps, random):
    start = date(2020, 1, 1)
    days = [start + timedelta(days=d) for d in np.cumsum([0, *steps]).tolist()]
    assert tells_days(days) == ((days[-1] - days[0]).days >= int(YEAR_D))
    seen = random.random((len(days), 3, 4)) < 0.8
    wet = seen & (random.random(seen.shape) < 0.5)
    counted = Counted.none((3, 4), days)
    for k, day in enumerate(days):
        counted.add(seen[k], wet[k], day)
    if not tells_days(days):
        assert counted.days is None
        return
    for place in np.ndindex(3, 4):
        mine = [(day, wet[k][place]) for k, day in enumerate(days) if seen[k][place]]
        parts = [((b - a).days, (u + 0.0 + v) / 2) for (a, u), (b, v) in pairwise(mine)
                 if (b - a).days <= FARTHEST_D]  # fmt: skip
        known = sum(d for d, _ in parts)
        if known < LEAST_KNOWN * (days[-1] - days[0]).days:
            assert np.isnan(counted.days[place])
        else:
            wanted = YEAR_D * sum(d * w for d, w in parts) / known
            assert counted.days[place] == pytest.approx(wanted)


def test_days_need_days():
    far = [date(2020, 1, 1), date(2020, 1, 1) + timedelta(days=FARTHEST_D + 1), date(2021, 6, 1)]
    assert not tells_days(far)
    assert not tells_days([date(2020, 1, 1), None])


@pytest.mark.parametrize(("permanent", "seasonal"), [(0.5, 0.5), (0.2, 0.4), (1.1, 0.2), (0.9, 0)])
def test_thresholds_do_not_cross(permanent, seasonal):
    with pytest.raises(ConfigError, match=r"are not in order: 0 < seasonal < permanent <= 1"):
        Thresholds(permanent, seasonal)


def test_the_thresholds_themselves_belong_to_the_wetter_class():
    wet, observed = np.array([9, 1, 0, 7]), np.array([10, 4, 3, 10])
    found = Thresholds(0.9, 0.25).classes(wet / observed)
    assert [CLASSES[k] for k in found] == ["permanent", "seasonal", "never wet", "seasonal"]


def test_what_was_known_last_is_found():
    known = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 0], [1, 1, 0]], bool)
    assert last_known(known).tolist() == [[-1, -1, -1], [0, -1, 0], [0, -1, 1], [0, 2, 1]]
    assert EVENTS[0] == ""
