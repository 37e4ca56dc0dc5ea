"""Laws of the built-in backend: answers are local, words are understood, evidence is sane."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.backends import Backend, Fittable
from geoseg.backends.spectral import (
    KNOWN_WORDS,
    Spectral,
    crowns,
    features,
    fitting,
    indices,
    rules,
)
from geoseg.backends.spectral.words import CONCEPTS, concept_of
from geoseg.bands import ROLES
from geoseg.errors import BackendError
from geoseg.instances import Instances
from geoseg.legend import LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.raster import ArrayRaster
from geoseg.stretch import Stretch
from geoseg.window import Window

RGB = {"red": 1, "green": 2, "blue": 3}
RGBN = {**RGB, "nir": 4}
SIX = {"blue": 1, "green": 2, "red": 3, "nir": 4, "swir1": 5, "swir2": 6}
STRETCH = Stretch((0, 1, 2), (0.0,) * 3, (255.0,) * 3)


def noise(bands: int, height: int, width: int, seed: int, dtype: str = "uint8") -> Any:
    """Return blobs and noise: every rule sees values on both sides of its thresholds."""
    random = np.random.default_rng(seed)
    coarse = random.random((bands, height // 8 + 2, width // 8 + 2))
    blobs = np.kron(coarse, np.ones((1, 8, 8)))[:, :height, :width]
    values = np.clip(blobs + random.normal(0, 0.08, blobs.shape), 0, 1)
    if dtype == "float32":
        return values.astype(np.float32)
    return (values * {"uint8": 255, "uint16": 9000}[dtype]).astype(dtype)


def raster(data: Any, roles: dict[str, int], gsd_m: float = 10.0, valid: Any = None) -> ArrayRaster:
    """Return an in-memory raster in UTM."""
    transform = Affine(gsd_m, 0, 500_000, 0, -gsd_m, 4_000_000)
    return ArrayRaster(data, valid, transform, "EPSG:32633", roles)


def pixels(source: ArrayRaster, window: Window, trust: Window | None = None) -> Pixels:
    """Read one window as a backend gets it."""
    trust = trust or window
    data, valid = source.read(window)
    return Pixels(window, data, valid, STRETCH, trust, window)


def drawn(found: Instances, tile: Pixels, keep: Window) -> list[Any]:
    """Return what lies inside `keep`: per instance class, pixels and evidence, in raster order."""
    rows, cols = keep.slices_in(tile.window)
    result = []
    for box, mask, cls, evidence in zip(
        found.boxes.tolist(), found.masks, found.classes.tolist(), found.evidence or (), strict=True
    ):
        assert evidence is not None
        x0, y0, x1, y1 = box
        plane = np.full(tile.valid.shape, -1, np.float32)
        plane[y0:y1, x0:x1][mask] = evidence[mask]
        cut = plane[rows, cols]
        where = np.argwhere(cut >= 0)
        if where.size:
            result.append((cls, where.tolist(), cut[cut >= 0].tolist()))
    return sorted(result)


def legend(words: str, kind: str | None = None) -> Legend:
    """Return a legend, all classes of one kind if given."""
    parsed = Legend.parse(words)
    if kind is None:
        return parsed
    return Legend(classes=tuple(c.model_copy(update={"kind": kind}) for c in parsed.classes))


CASES = [
    ("vegetation, water", RGBN, "uint8", 10.0, "cover"),
    ("forest, water, bare soil, grass", RGB, "uint8", 10.0, "cover"),
    ("forest, grass, building, water, shadow, soil", RGB, "uint8", 0.1, "cover"),
    ("forest, crop, wetland, cloud, built-up, burned, snow", SIX, "uint16", 10.0, "cover"),
    ("water, shadow, crop", SIX, "float32", 10.0, "cover"),
    ("tree", RGB, "uint8", 0.1, "object"),
    ("trees", RGBN, "uint8", 0.6, "object"),
]


@pytest.mark.parametrize(("text", "roles", "dtype", "gsd_m", "kind"), CASES)
@settings(max_examples=6, deadline=None)
@given(place=st.tuples(*[st.integers(0, 10_000)] * 5), holes=st.booleans())
def test_an_answer_does_not_depend_on_its_window(  # noqa: PLR0913, PLR0917
    text: str,
    roles: dict[str, int],
    dtype: str,
    gsd_m: float,
    kind: str,
    place: tuple[int, ...],
    holes: bool,  # noqa: FBT001
) -> None:
    height, width = 150, 170
    seed, a, b, c, d = place
    valid = np.random.default_rng(seed).random((height, width)) > 0.1 if holes else None
    source = raster(noise(len(roles), height, width, seed, dtype), roles, gsd_m, valid)
    backend = Spectral().fit(source, legend(text, kind))
    full = source.frame.window
    x0, y0 = a % (width - 1), b % (height - 1)
    core = Window(x0, y0, x0 + 1 + c % (width - x0), y0 + 1 + d % (height - y0))
    whole = pixels(source, full)
    part = pixels(source, core.grow(backend.halo_px, full))
    part = dataclasses.replace(part, trust=core)
    all_in_one, alone = backend.segment([whole])[0], backend.segment([part])[0]
    assert drawn(all_in_one, whole, core) == drawn(alone, part, core)


def test_connected_objects_keep_their_pixels_in_any_window() -> None:
    source = raster(noise(4, 160, 160, 3), RGBN, 10.0)
    backend = Spectral().fit(source, legend("pond, vegetation", "object"))
    full = source.frame.window
    core = Window(40, 30, 110, 120)
    union = []
    for window in (full, core.grow(backend.halo_px, full)):
        tile = pixels(source, window, core)
        found = drawn(backend.segment([tile])[0], tile, core)
        union.append(found)
    assert union[0]
    assert union[0] == union[1]


@pytest.mark.parametrize("gsd_m", [0.03, 0.07, 0.1, 0.3, 0.6, 1.0, 1.4, 5, 10, 30])
def test_the_halo_fits_the_default_overlap(gsd_m: float) -> None:
    source = raster(noise(4, 80, 80, 0), RGBN, gsd_m)
    for text, kind, most in (("tree", "object", 56), ("forest, water, building", "cover", 15)):
        backend = Spectral().fit(source, legend(text, kind))
        assert backend.halo_px <= most


def test_it_is_a_backend_that_can_be_pickled() -> None:
    source = raster(noise(4, 64, 64, 1), RGBN)
    backend = Spectral().fit(source, legend("vegetation, water"))
    again = pickle.loads(pickle.dumps(backend))  # noqa: S301
    assert isinstance(Spectral(), Backend)
    assert isinstance(Spectral(), Fittable)
    assert again == backend
    assert again.identity == backend.identity != Spectral().identity


def test_an_unfitted_backend_says_so() -> None:
    source = raster(noise(3, 8, 8, 1), RGB)
    with pytest.raises(BackendError, match="call fit"):
        Spectral().segment([pixels(source, source.frame.window)])


@pytest.mark.parametrize(
    ("typed", "concept"),
    [
        ("Trees", "tree"), ("woods", "forest"), ("Bare-Soil", "bare soil"), ("ponds", "water"),
        ("built_up", "built-up"), ("BUILDINGS", "built-up"), ("marshes", "wetland"),
        ("dense forest", "forest"), ("cities", "built-up"), ("clouds", "cloud"),
        ("green space", "vegetation"), ("burnt areas", "burned"), ("grasses", "grass"),
        ("reservoirs", "water"), ("small lakes", "water"), ("pastures", "grass"),
    ],
)  # fmt: skip
def test_words_are_understood_as_typed(typed: str, concept: str) -> None:
    assert concept_of(typed) == concept


def test_every_known_word_leads_to_a_concept() -> None:
    assert {concept_of(word) for word in KNOWN_WORDS} == set(CONCEPTS)


@pytest.mark.parametrize(("typed", "hint"), [("watter", "water"), ("zebra crossing", "vegetation")])
def test_an_unknown_word_names_known_ones_and_the_knob(typed: str, hint: str) -> None:
    with pytest.raises(BackendError, match=f"{typed}.*{hint}.*--backend"):
        Spectral().fit(raster(noise(3, 8, 8, 0), RGB), Legend.parse(typed))


def test_bands_without_roles_name_the_knobs() -> None:
    with pytest.raises(BackendError, match=r"8 bands.*--bands.*--sensor"):
        Spectral().fit(raster(noise(8, 8, 8, 0), {}), Legend.parse("water"))


def test_one_grey_band_says_nothing() -> None:
    with pytest.raises(BackendError, match=r"one band.*--backend"):
        Spectral().fit(raster(noise(1, 8, 8, 0), {}), Legend.parse("water"))


def test_rgb_cannot_say_burned() -> None:
    with pytest.raises(BackendError, match=r"'burned' needs bands .*nir.*red=1"):
        Spectral().fit(raster(noise(3, 8, 8, 0), RGB), Legend.parse("burned"))


@pytest.mark.parametrize("preset", ["deforestation", "landuse"])
def test_presets_work_on_plain_rgb(preset: str, caplog: pytest.LogCaptureFixture) -> None:
    backend = Spectral().fit(raster(noise(3, 60, 60, 0), RGB), Legend.load(preset))
    assert backend.plan is not None
    assert ("burned" in caplog.text) == (preset == "deforestation")


@pytest.mark.parametrize("preset", ["deforestation", "landuse", "wetland"])
@pytest.mark.parametrize("roles", [RGBN, SIX, {"swir1": 1, "nir": 2, "red": 3, "green": 4}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_presets_work_with_near_infrared(preset: str, roles: dict[str, int], dtype: str) -> None:
    source = raster(noise(len(roles), 60, 60, 0, dtype), roles)
    backend = Spectral().fit(source, Legend.load(preset))
    found = backend.segment([pixels(source, source.frame.window)])[0]
    assert len(found) > 0


def scene() -> ArrayRaster:
    """Return reflectance of four quarters: forest, water, bare soil, cloud."""
    spectra = np.array(
        [
            [0.03, 0.05, 0.03, 0.40, 0.15, 0.06],
            [0.05, 0.04, 0.03, 0.02, 0.01, 0.01],
            [0.10, 0.14, 0.20, 0.28, 0.38, 0.32],
            [0.60, 0.60, 0.62, 0.65, 0.50, 0.40],
        ]
    )
    quarters = np.kron(np.array([[0, 1], [2, 3]]), np.ones((30, 30), int))
    return raster(np.moveaxis(spectra[quarters], -1, 0).astype(np.float32), SIX)


def test_textbook_spectra_are_told_apart() -> None:
    source = scene()
    backend = Spectral().fit(source, Legend.parse("forest, water, bare soil, cloud"))
    evidence = backend.evidence(pixels(source, source.frame.window))
    winner = evidence.argmax(axis=0)
    assert (winner[[5, 5, 50, 50], [5, 50, 5, 50]] == [0, 1, 2, 3]).all()
    assert (evidence.max(axis=0)[[5, 5, 50, 50], [5, 50, 5, 50]] > 0.5).all()


def test_the_wider_class_means_the_rest_of_it() -> None:
    source = scene()
    backend = Spectral().fit(source, Legend.parse("vegetation, forest"))
    vegetation, forest = backend.evidence(pixels(source, source.frame.window))[:, 5, 5]
    assert forest > 0.5 > vegetation


def test_a_class_is_any_of_its_prompts() -> None:
    source = scene()
    asked = Legend(
        classes=(LandClass(name="either", prompts=("water", "bare soil"), kind="cover"),)
    )
    evidence = Spectral().fit(source, asked).evidence(pixels(source, source.frame.window))[0]
    assert (evidence[[5, 50], [50, 5]] > 0.5).all()
    assert (evidence[[5, 50], [5, 50]] < 0.5).all()


def test_a_threshold_of_the_class_moves_its_border() -> None:
    source = raster(noise(4, 100, 100, 5), RGBN)
    sizes = []
    for threshold in (0.2, 0.5, 0.9):
        asked = Legend(classes=(LandClass(name="vegetation", threshold=threshold),))
        tile = pixels(source, source.frame.window)
        backend = Spectral().fit(source, asked)
        sizes.append(int((backend.evidence(tile)[0] >= threshold).sum()))
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_nodata_is_never_anything() -> None:
    data = noise(4, 60, 60, 2, "float32")
    data[:, 10:20, 10:30] = np.nan
    source = raster(data, RGBN)
    tile = pixels(source, source.frame.window)
    found = Spectral().fit(source, Legend.parse("vegetation, water")).segment([tile])[0]
    for (x0, y0, x1, y1), mask in zip(found.boxes.tolist(), found.masks, strict=True):
        assert not (mask & ~tile.valid[y0:y1, x0:x1]).any()


def test_a_raster_without_a_valid_pixel_gives_nothing() -> None:
    source = raster(noise(3, 20, 20, 0), RGB, valid=np.zeros((20, 20), bool))
    backend = Spectral().fit(source, Legend.parse("vegetation"))
    assert len(backend.segment([pixels(source, source.frame.window)])[0]) == 0


def test_two_round_crowns_are_two() -> None:
    rows, cols = np.indices((80, 120))
    evidence = np.zeros((80, 120), np.float32)
    for x in (40, 72):
        away = np.hypot(rows - 40, cols - x)
        evidence = np.maximum(evidence, np.clip(1.3 - away / 24, 0, 1)).astype(np.float32)
    labels = crowns.delineate(evidence, evidence >= 0.5, crowns.CrownShape(5))
    assert labels.max() == 2
    assert labels[40, 40] != labels[40, 72]


def hills(seed: int) -> Any:
    """Return evidence (150, 150) with some hundred bumps, as crowns would make."""
    random = np.random.default_rng(seed)
    bumps = np.kron(random.random((22, 22)), np.ones((7, 7)))[:150, :150]
    return np.clip(bumps + random.normal(0, 0.1, bumps.shape), 0, 1).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    x=st.integers(0, 120),
    y=st.integers(0, 120),
    steps=st.sampled_from([4, 8, 16, 32]),
    box_px=st.sampled_from([3, 5, 9]),
)
def test_crowns_do_not_depend_on_the_window(
    seed: int, x: int, y: int, steps: int, box_px: int
) -> None:
    shape = crowns.CrownShape(box_px, steps, 0.4)
    evidence = hills(seed)
    full, core = Window(0, 0, 150, 150), Window(x, y, x + 30, y + 30)
    seen = []
    for window in (full, core.grow(shape.reach_px, full)):
        part = evidence[window.slices_in(full)]
        labels = crowns.delineate(part, part >= 0.4, shape)
        inside = labels[core.slices_in(window)]
        seen.append(sorted(np.argwhere(inside == k).tolist() for k in np.unique(inside) if k))
    assert seen[0] == seen[1]
    assert len(seen[0]) > 1


@given(width=st.integers(0, 12).map(lambda k: 2 * k + 1), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_a_box_sum_is_the_sum_over_the_box(width: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-9, 99, (17, 23)).astype(np.int32)
    half = width // 2
    around = np.pad(values, half)
    expected = sum(around[y : y + 17, x : x + 23] for y in range(width) for x in range(width))
    assert (features.box_sum(values, width) == expected).all()


def test_local_features_are_mean_and_spread_over_valid_pixels() -> None:
    random = np.random.default_rng(0)
    plane = np.round(random.random((21, 21)), 3).astype(np.float32)
    valid = random.random((21, 21)) > 0.2
    seen = features.Features({"red": plane}, valid)
    box = plane[6:13, 4:11][valid[6:13, 4:11]]
    assert seen["red@7"][9, 7] == pytest.approx(box.mean(), abs=1e-5)
    assert seen["red~7"][9, 7] == pytest.approx(box.std(), abs=1e-5)
    assert seen["red%7"][9, 7] == pytest.approx(box.std() / box.mean(), abs=1e-4)
    assert seen["red*red@7"][9, 7] == pytest.approx(plane[9, 7] * box.mean(), abs=1e-5)
    assert features.radius_px("red*red~7") == 3


def test_the_table_refers_to_what_exists() -> None:
    for rule in rules.table():
        assert rule.concept in CONCEPTS
        assert set(rule.others) <= set(CONCEPTS)
        assert features.roles_of(rule.features) <= set(ROLES)
        assert rule.note
        for term in rule.terms:
            if isinstance(term, rules.Threshold) and term.within:
                assert term.within[0] <= term.at <= term.within[1]


def test_indices_are_those_of_the_catalogue() -> None:
    red, nir = np.float32([[0.1]]), np.float32([[0.5]])
    assert indices.compute("NDVI", {"red": red, "nir": nir})[0, 0] == pytest.approx(0.4 / 0.6)


def test_a_threshold_moves_only_for_two_clear_groups_inside_its_bracket() -> None:
    random = np.random.default_rng(0)
    two = np.r_[random.normal(0.1, 0.03, 500), random.normal(0.6, 0.03, 500)]
    assert fitting.split(two, 0.2, (0.1, 0.5)) == pytest.approx(0.35, abs=0.12)
    assert fitting.split(two, 0.05, (0.0, 0.1)) == 0.05
    assert fitting.split(two[:500], 0.2, (0.1, 0.5)) == 0.2
    assert fitting.split(np.zeros(0), 0.2, (0.1, 0.5)) == 0.2
