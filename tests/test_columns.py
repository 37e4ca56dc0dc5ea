"""Further columns: what they say, in every format, tiling and area; and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
import spyndex
from scenes import GEOREF, UTM, ByIdentity, apart, blobs, legend, raster, truth
from scipy import ndimage

import geoseg
from geoseg import zonal
from geoseg.backends.spectral.indices import LETTERS, optical, value
from geoseg.bands import Band
from geoseg.columns import choose
from geoseg.detect import Job
from geoseg.errors import ConfigError, MissingDependencyError, TileFailedError
from geoseg.export import FORMATS
from geoseg.folder import LocalFolder
from geoseg.grid import Grid
from geoseg.raster import ArrayRaster
from geoseg.reread import known, reread
from geoseg.store import Store
from geoseg.stretch import fit_stretch
from geoseg.window import Window

RANDOM = np.random.default_rng(7)
IDS, COUNT = apart(blobs(90, 100, RANDOM))
VALID = (RANDOM.random(IDS.shape) < 0.99) | (IDS > 0)
RED, NIR = RANDOM.integers(300, 3000, (2, *IDS.shape)).astype(np.int32)
SCENE = replace(raster(IDS, valid=VALID), roles={"red": 4, "nir": 5})
SCENE = replace(SCENE, data=np.stack([IDS, IDS, IDS, RED, NIR, *SCENE.data[1:]]))
CUT = {"tile": 40, "overlap": 8}
ASKED = "means, ndvi, compactness, truncated"
NAMES = [
    *("mean_b1", "mean_b2", "mean_b3", "mean_red", "mean_nir", "mean_b6", "mean_b7"),
    *("mean_ndvi", "compactness", "truncated"),
]


@dataclass(frozen=True)
class First(ByIdentity):
    """Looks at the first band."""

    bad: tuple[Window, ...] = ()

    def answer(self, tile):
        if tile.window in self.bad:
            raise RuntimeError("out of luck")
        layers = (0, -2, -1)
        return super().answer(replace(tile, data=tile.data[list(layers)]))


MODEL = First((0,) * COUNT)


def segment(out=None, source=SCENE, model=MODEL, columns=ASKED, **options):
    things = legend("object")
    return geoseg.segment(
        source, things, backend=model, out=out, columns=columns, **{**CUT, **options}
    )


def test_columns_say_what_masks_and_geodesics_say(tmp_path):
    found = segment(tmp_path / "map.parquet").features()
    assert found.columns.tolist()[-len(NAMES) - 1 :] == [*NAMES, "geometry"]
    geod = pyproj.Geod(ellps="WGS84")
    lonlat = found.to_crs("EPSG:4326")
    ndvi = (NIR - RED) / (NIR + RED)
    unknown = np.pad(~VALID, 1, constant_values=True)
    assert len(found) == COUNT
    for row, shape in zip(found.itertuples(), lonlat.geometry, strict=True):
        mask = rasterio.features.rasterize([row.geometry], IDS.shape, transform=GEOREF) == 1
        assert row.mean_b1 == pytest.approx(IDS[mask].mean(), rel=1e-12)
        assert row.mean_red == pytest.approx(RED[mask].mean(), rel=1e-12)
        assert row.mean_ndvi == pytest.approx(ndvi[mask].mean(), abs=1e-6)
        area, length = geod.geometry_area_perimeter(shape)[0], geod.geometry_length(shape.boundary)
        assert row.compactness == pytest.approx(4 * np.pi * abs(area) / length**2, rel=1e-4)
        beside = ndimage.binary_dilation(np.pad(mask, 1)) & ~np.pad(mask, 1)
        assert row.truncated == (beside & unknown).any()
    assert 0 < found.truncated.sum() < COUNT


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_holds_them(tmp_path, ending):
    want = segment(tmp_path / "want.parquet").features()
    frame = segment(tmp_path / f"map{ending}").features().sort_values("id")
    assert frame["truncated"].dtype == bool
    for name in NAMES:
        np.testing.assert_allclose(
            frame[name].to_numpy(float), want[name].to_numpy(float), rtol=1e-13
        )


@pytest.mark.parametrize(
    "options", [{"tile": 200}, {"tile": 33, "overlap": 13}, {"workers": 2}, {"batch": 3}]
)
def test_they_do_not_depend_on_tiles(tmp_path, options):
    one, other = (
        segment(tmp_path / f"{n}.parquet", **o).features() for n, o in enumerate([{}, options])
    )
    same = ["id", *NAMES, "geometry"]
    assert one[same].equals(other[same])


def test_an_area_of_interest_comes_first(tmp_path):
    area = shapely.Polygon([GEOREF @ xy for xy in [(20.3, 11), (81, 30.5), (44.4, 77)]])
    found = segment(tmp_path / "map.parquet", aoi=area).features()
    assert found.columns.tolist()[-len(NAMES) - 2 :] == ["clipped", *NAMES, "geometry"]
    y, x = np.mgrid[: IDS.shape[0], : IDS.shape[1]]
    pixels = shapely.transform(shapely.box(x, y, x + 1, y + 1), _ground)
    ground = shapely.union_all(pixels[~VALID])
    for row in found.itertuples():
        weight = shapely.area(shapely.intersection(pixels, row.geometry))
        assert row.mean_red == pytest.approx((RED * weight).sum() / weight.sum(), rel=1e-5)
        shared = shapely.intersection(shapely.boundary(row.geometry), shapely.boundary(ground))
        assert row.truncated == (shared.length > 1e-6)
    # What reaches the raster's edge outside of the area does not count.
    assert {True, False} == set(found.truncated)
    edge = shapely.box(*GEOREF @ (0, 90), *GEOREF @ (100, 0)).boundary
    assert not found.intersects(edge).any()


def _ground(xy):
    return np.column_stack(GEOREF @ (xy[:, 0], xy[:, 1]))


def test_without_a_crs_there_is_no_area_but_means(tmp_path):
    found = segment(tmp_path / "map.parquet", replace(SCENE, crs=None)).features()
    assert found.compactness.isna().all()
    assert found.mean_red.notna().all()


def test_compactness_of_known_shapes(tmp_path):
    ids = np.zeros((40, 60), np.int32)
    ids[5:25, 5:25] = 1
    ids[5:6, 30:50] = 2
    ids[30:38, 5:13] = 3
    ids[32:36, 7:11] = 0
    model = First((0,) * 3)
    found = segment(tmp_path / "map.parquet", raster(ids), model, "compactness").features()
    holed = 4 * np.pi * 48 / (32 + 16) ** 2
    want = dict(zip(truth(ids, 3), [np.pi / 4, 4 * np.pi * 20 / 42**2, holed], strict=True))
    for shape, ratio in zip(found.geometry, found.compactness, strict=True):
        known_as = next(w for s, w in want.items() if s.equals(shape))
        assert ratio == pytest.approx(known_as, rel=1e-5)


def test_beside_a_failed_tile_nobody_knows(tmp_path):
    grid = Grid(Window(0, 0, 100, 90), 40, 8)
    valid = replace(SCENE, valid=np.ones_like(VALID))
    whole = segment(tmp_path / "whole.parquet", valid, columns="truncated").features()
    model = replace(MODEL, bad=(grid[4].read,))
    found = segment(tmp_path / "map.parquet", valid, model, "truncated").features()
    core = grid[4].core
    hole = shapely.box(*GEOREF @ (core.x0, core.y1), *GEOREF @ (core.x1, core.y0))
    border = found.intersection(hole.boundary).length > 0
    assert border.any()
    assert found.truncated[border].all()
    edge = shapely.box(*GEOREF @ (0, 90), *GEOREF @ (100, 0)).boundary
    inner = found.intersection(edge).length == 0
    assert not found.truncated[inner & ~found.intersects(hole)].any()
    assert whole.truncated.tolist() == (whole.intersection(edge).length > 0).tolist()


# ------------------------------------------------------------------------------ reading again


NOWHERE = Window(0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Torn(ArrayRaster):
    """Cannot be read in some pixels."""

    torn: Window = NOWHERE

    def read(self, window):
        if window.intersection(self.torn).area:
            raise TileFailedError("torn")
        return super().read(window)


def job(folder, source, failed=()):
    store = Store(LocalFolder(folder), Grid(source.frame.window, 40, 8))
    store.open({})
    for tile in failed:
        store.fail(tile, "torn")
    return Job(source, MODEL, legend("object"), fit_stretch(SCENE, SCENE.roles), store)


def test_what_failed_is_unknown_and_the_rest_is_read(tmp_path):
    torn = Window(40, 40, 41, 41)
    source = Torn(SCENE.data, None, GEOREF, UTM, torn=torn)
    tile = source.frame.window
    work = job(tmp_path, source, failed=[4])
    core = work.grid[4].core
    want = np.ones(tile.shape, bool)
    want[core.slices_in(tile)] = False
    assert known(work, tile).tolist() == want.tolist()
    data, valid = reread(work, tile)
    assert valid.tolist() == want.tolist()
    assert (data == np.where(want, SCENE.data, 0)).all()
    # Its pixels are there, where they can be read.
    intact = job(tmp_path / "intact", SCENE, failed=[4])
    assert (known(intact, tile) == want & VALID).all()
    assert (reread(intact, tile)[1] == VALID).all()


def test_what_was_read_before_must_be_read_again(tmp_path):
    source = Torn(SCENE.data, None, GEOREF, UTM, torn=Window(40, 40, 41, 41))
    with pytest.raises(TileFailedError, match="torn"):
        reread(job(tmp_path, source, failed=[0]), source.frame.window)


# ------------------------------------------------------------------------------- what is asked


def test_names_of_columns():
    assert choose(["Means", "NDVI"], SCENE).asked == ("means", "NDVI")
    assert choose(["ndvi"], SCENE).kinds == (("mean_ndvi", "double"),)
    assert choose(["ndvi", "NDVI", "truncated"], SCENE).kinds == (
        ("mean_ndvi", "double"),
        ("truncated", "bool"),
    )
    # Two of the catalogue that differ in case only are one column of a GeoPackage.
    both = replace(SCENE, roles={"red": 1, "nir": 2, "green": 3, "blue": 4, "swir1": 5, "swir2": 6})
    assert len(choose(["BAI", "BaI"], both).kinds) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mean", r"unknown column 'mean'; did you mean 'means'\? \(one of: means, compactness, "),
        (
            "kndvi",
            r"unknown column 'kndvi'; did you mean '.*'\? \(one of: .*spyndex catalogue, as ndvi",
        ),
        (
            "foo",
            r"unknown column 'foo' \(one of: means, compactness, nearest, truncated, or a spectral",
        ),
        ("evi", r"evi needs the bands blue, which the raster lacks \(known: red=4, nir=5\); name"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        segment(tmp_path / "map.gpkg", columns=f"truncated, {name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "item"), [("means,,ndvi", 2), (",", 1), ("means, ", 2), (["ndvi", " "], 2)]
)
@pytest.mark.parametrize("option", ["columns", "regularize"])
def test_an_empty_item_is_refused(tmp_path, option, names, item):
    with pytest.raises(ConfigError, match=f"^--{option}: item {item} of '.*' is empty; "):
        segment(tmp_path / "map.gpkg", **{option: names})
    assert list(tmp_path.iterdir()) == []


def test_nothing_asked_is_no_empty_item():
    assert segment(columns="").features().columns[-1] == "geometry"
    assert "mean_red" in segment(columns=(" means",), regularize=" ").features()


def test_without_the_package_means_are_refused(monkeypatch):
    monkeypatch.setattr(zonal, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"geoseg\[columns\]\""):
        choose(["means"], SCENE)
    assert choose(["compactness", "truncated"], SCENE).asked == ("compactness", "truncated")


def test_a_mask_is_no_band():
    @dataclass(frozen=True, eq=False)
    class Masked(ArrayRaster):
        bands: tuple[Band, ...] = (Band(interpretation="gray"), Band(interpretation="alpha"))

    assert choose(["means"], Masked(np.zeros((2, 5, 5)))).bands == (("b1", 0),)


def test_indices_are_not_clipped(tmp_path):
    """The backend's rules see -2..2; a mean of what was clipped would be wrong."""
    found = segment(tmp_path / "map.parquet", columns="ndvi, sr, bai").features()
    reflectance = np.stack([RED, NIR]) / 1e4
    ratio = reflectance[1] / reflectance[0]
    burned = 1 / ((0.1 - reflectance[0]) ** 2 + (0.06 - reflectance[1]) ** 2)
    assert ratio.max() > 2
    for row in found.itertuples():
        mask = rasterio.features.rasterize([row.geometry], IDS.shape, transform=GEOREF) == 1
        assert row.mean_sr == pytest.approx(ratio[mask].mean(), rel=1e-5)
        assert row.mean_bai == pytest.approx(burned[mask].mean(), rel=1e-4)


def test_every_index_that_may_be_asked_for_is_the_catalogue_s():
    reflectance = np.random.default_rng(2).uniform(0.05, 0.6, (len(LETTERS), 3, 4))
    planes = dict(zip(LETTERS.values(), reflectance.astype(np.float32), strict=True))
    letters = {letter: planes[role].astype(float) for letter, role in LETTERS.items()}
    constants = {n: c.default for n, c in spyndex.constants.items() if c.default is not None}
    assert len(optical()) > 200
    for name in optical():
        with np.errstate(all="ignore"):
            want = spyndex.computeIndex(name, {**letters, **constants})
        np.testing.assert_allclose(value(name, planes), want, rtol=2e-3, atol=1e-4, err_msg=name)
