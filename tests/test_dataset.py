"""A map becomes pictures and masks: what readers find is what the polygons and the raster hold."""

from __future__ import annotations

import errno
import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from pycocotools.coco import COCO
from scenes import GEOREF, UTM, ByIdentity, apart, blobs, legend
from scipy import ndimage
from yolo import ultralytics

import geoseg
from geoseg import dataset
from geoseg.dataset import Choices, Dataset, build
from geoseg.errors import (
    ConfigError,
    GeosegError,
    MapError,
    OutputError,
    TileFailedError,
    WriteFailedError,
)
from geoseg.export.blank import create
from geoseg.export.edit import Editor
from geoseg.export.read import open_map

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = HEIGHT, WIDTH = 150, 170
IDS, COUNT = apart(blobs(*SIZE, np.random.default_rng(7)))
COUNT += 1
IDS[70:75] = COUNT  # a river
KINDS = ("object", "cover", "object")
CLASSES = (*(n % 3 for n in range(COUNT - 1)), 1)
NAMES = ["c0", "c1", "c2"]
SIDE = 24
FORMS = ("coco", "yolo")


class Failing(ByIdentity):
    def answer(self, tile):
        if (tile.window.x0, tile.window.y0) == (0, 0):
            raise RuntimeError("out of luck")
        return super().answer(tile)


def scene(path: Path, **changes: Any) -> Path:
    """Draw a picture that tells the model what is where; its first band is a colour, too."""
    size = [np.full(SIZE, number) for number in SIZE]
    data = np.stack([IDS, *size]).astype(changes.pop("dtype", "uint8"))
    profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 3, "crs": UTM}
    profile |= {"transform": GEOREF, "dtype": data.dtype, **changes}
    with rasterio.open(path, "w", **profile) as out:
        out.write(data)
    return path


def segment(folder: Path, model: Any = None, *, name: str = "map.gpkg", **options: Any) -> Path:
    """Make a map of the scene; objects of other tiles than the first, where it fails."""
    picture = folder / "scene.tif"
    if not picture.exists():
        scene(picture)
    out, model = folder / name, model or ByIdentity(CLASSES)
    geoseg.segment(picture, legend(*KINDS), backend=model, out=out, tile=64, overlap=16, **options)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    assert COUNT < 255
    return segment(tmp_path_factory.mktemp("made"))


def review(source: Path, folder: Path, states: dict[int, str | None], default: str | None) -> Path:
    """Return a copy of a map beside its raster, in which somebody has said what is right."""
    shutil.copy(source.parent / "scene.tif", folder / "scene.tif")
    out = folder / "reviewed.gpkg"
    out.write_bytes(source.read_bytes())
    with closing(sqlite3.connect(out)) as db, db:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (trigger,) in db.execute(triggers).fetchall():
            db.execute(f'DROP TRIGGER "{trigger}"')
        for column in ("review", "reviewed_by", "reviewed_at"):
            db.execute(f"ALTER TABLE features ADD COLUMN {column} TEXT")
        db.execute("UPDATE features SET review = ?", (default,))
        for number, state in states.items():
            db.execute("UPDATE features SET review = ? WHERE id = ?", (state, number))
    return out


@dataclass(frozen=True)
class Chip:
    side: str
    x: int
    y: int
    picture: np.ndarray
    masks: list[tuple[int, np.ndarray]]
    features: list[int]

    @property
    def inside(self) -> tuple[slice, slice]:
        height, width = self.picture.shape[:2]
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def chips(folder: Path, form: str) -> list[Chip]:
    """Read a data set as those who train with it do."""
    found = []
    for side in ("train", "val"):
        paths = sorted((folder / "images" / side).glob("*"))
        if form == "coco" and (folder / f"{side}.json").exists():
            with redirect_stdout(io.StringIO()):
                coco = COCO(folder / f"{side}.json")
            images = {image["file_name"]: image for image in coco.dataset["images"]}
            assert sorted(images) == [path.name for path in paths]
        for path in paths:
            y, x = (int(part[1:]) for part in path.stem.split("_"))
            picture = cv2.imread(str(path))[..., ::-1]
            height, width = picture.shape[:2]
            features = []
            if form == "coco":
                image = images[path.name]
                assert image["window"] == [x, y, width, height]
                assert (image["width"], image["height"]) == (width, height)
                labels = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
                masks = [(a["category_id"] - 1, coco.annToMask(a).astype(bool)) for a in labels]
                features = [a["feature"] for a in labels]
            else:
                text = (folder / "labels" / side / f"{path.stem}.txt").read_text()
                masks = [ultralytics(line, width, height) for line in text.splitlines()]
            found.append(Chip(side, x, y, picture, masks, features))
    return found


def parts(mask: np.ndarray) -> list[np.ndarray]:
    labels, count = ndimage.label(mask)
    return [labels == k for k in range(1, count + 1)]


def drawn(path: Path) -> list[tuple[int, str | None, np.ndarray]]:
    """Return class, review and pixels of each polygon of a map, drawn by GDAL."""
    layer = gpd.read_file(path, layer="features")
    said = layer["review"] if "review" in layer else [None] * len(layer)
    return [
        (
            NAMES.index(name),
            state,
            rasterio.features.rasterize([(shape, 1)], SIZE, transform=GEOREF).astype(bool),
        )
        for name, state, shape in zip(layer["class"], said, layer.geometry, strict=True)
    ]


def wanted(
    polygons: list[tuple[int, str | None, np.ndarray]], chip: Chip, form: str
) -> list[tuple[int, bytes]]:
    """Return class and pixels of what a chip should hold."""
    cut = [(number, mask[chip.inside]) for number, _, mask in polygons]
    found = [(n, [m] if form == "coco" else parts(m)) for n, m in cut if m.any()]
    return sorted((number, mask.tobytes()) for number, masks in found for mask in masks)


def told(chip: Chip) -> list[tuple[int, bytes]]:
    return sorted((number, mask.tobytes()) for number, mask in chip.masks)


def left(path: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((path / "geoseg.json").read_text())["left_out"]
    return found


def everything(folder: Path) -> dict[str, bytes]:
    paths = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


# ------------------------------------------------------------------------------ what is in it


@pytest.mark.parametrize("form", FORMS)
def test_masks_are_the_polygons_pixels_and_pictures_the_rasters(tmp_path, made, form):
    out = tmp_path / "data"
    result = build(made, form, out, Choices(chips=SIDE))
    found = chips(out, form)
    assert {chip.side for chip in found} == {"train", "val"}
    polygons = drawn(made)
    raster = np.stack([IDS, np.full(SIZE, HEIGHT), np.full(SIZE, WIDTH)], axis=-1)
    for chip in found:
        assert told(chip) == wanted(polygons, chip, form)
        assert np.array_equal(chip.picture, raster[chip.inside])
    images = {side: sum(c.side == side for c in found) for side in ("train", "val")}
    between = {} if sum(images.values()) == 56 else {"between train and val": 56 - len(found)}
    assert result == Dataset(out, images, result.labels, between, 0)
    if form == "coco":
        labels = {s: sum(len(c.masks) for c in found if c.side == s) for s in images}
        assert result.labels == labels
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_sides_do_not_touch_and_share_no_object_but_covers(tmp_path, made):
    covers = set()
    for seed in range(4):
        out = tmp_path / f"data{seed}"
        build(made, "coco", out, Choices(chips=SIDE, seed=seed))
        train, val = ([c for c in chips(out, "coco") if c.side == s] for s in ("train", "val"))
        for one in train:
            for other in val:
                assert max(abs(one.x - other.x), abs(one.y - other.y)) > SIDE
        shared = {f for c in train for f in c.features} & {f for c in val for f in c.features}
        layer = gpd.read_file(made, layer="features").set_index("id")
        assert set(layer.loc[sorted(shared), "class"]) <= {"c1"}
        covers |= shared
    # The river is on both.
    assert covers


def test_yolo_says_its_classes_and_where_pictures_are(tmp_path, made):
    out = tmp_path / "data"
    build(made, "yolo", out, Choices(chips=SIDE))
    assert (out / "data.yaml").read_text().splitlines() == [
        "# made by geoseg; a class and a polygon per line, a line per part of a mask",
        "train: images/train",
        "val: images/val",
        "names:",
        '  0: "c0"',
        '  1: "c1"',
        '  2: "c2"',
    ]
    pictures = sorted(p.with_suffix("").relative_to(out / "images") for p in out.rglob("*.png"))
    labels = sorted(p.with_suffix("").relative_to(out / "labels") for p in out.rglob("*.txt"))
    assert pictures == labels


@pytest.mark.parametrize("form", FORMS)
def test_all_may_be_for_training(tmp_path, made, form):
    out = tmp_path / "data"
    result = build(made, form, out, Choices(chips=64, val=0))
    assert (result.images, result.left_out) == ({"train": 9, "val": 0}, {})
    assert not [path for path in out.rglob("*") if path.stem == "val"]
    assert "val" not in (out / "data.yaml").read_text() if form == "yolo" else True
    assert len(chips(out, form)) == 9


@pytest.mark.parametrize("form", FORMS)
def test_how_it_is_read_does_not_matter_nor_when(tmp_path, made, form, monkeypatch):
    build(made, form, tmp_path / "one", Choices(chips=SIDE, seed=3))
    monkeypatch.setattr("geoseg.export.read.BATCH_ROWS", 7)
    build(made, form, tmp_path / "two", Choices(chips=SIDE, seed=3))
    one, two = everything(tmp_path / "one"), everything(tmp_path / "two")
    assert one == two


def test_one_stretch_serves_all_pictures(tmp_path):
    scene(tmp_path / "scene.tif", dtype="uint16")
    source = segment(tmp_path)
    build(source, "yolo", tmp_path / "data", Choices(chips=SIDE))
    facts = json.loads((tmp_path / "data" / "geoseg.json").read_text())
    low, high = facts["stretch"]["low"][0], facts["stretch"]["high"][0]
    assert low < high <= COUNT
    grey = np.rint(np.clip((IDS - low) * 255.0 / (high - low), 0, 255))
    for chip in chips(tmp_path / "data", "yolo"):
        assert np.array_equal(chip.picture[..., 0], grey[chip.inside])


# -------------------------------------------------------------------------- what is left out


@pytest.mark.parametrize("form", FORMS)
def test_only_accepted_leaves_out_where_nobody_has_looked(tmp_path, made, form):
    layer = gpd.read_file(made, layer="features")
    unseen = layer.cx[GEOREF.c : GEOREF.c + 300, :].id.tolist()
    states = dict.fromkeys(range(2, COUNT, 5), "edited") | dict.fromkeys(
        range(3, COUNT, 5), "rejected"
    )
    source = review(made, tmp_path, states | dict.fromkeys(unseen[:3]), "accepted")
    out = tmp_path / "data"
    result = build(source, form, out, Choices(chips=SIDE, only="accepted", val=0))
    ids = {n: shape for n, shape in zip(layer.id, layer.geometry, strict=True) if n in unseen[:3]}
    holes = rasterio.features.rasterize(ids.values(), SIZE, transform=GEOREF).astype(bool)
    kept = {(c.x, c.y) for c in chips(out, form)}
    for y in range(0, HEIGHT, SIDE):
        for x in range(0, WIDTH, SIDE):
            assert holes[y : y + SIDE, x : x + SIDE].any() == ((x, y) not in kept)
    assert result.left_out == {"with polygons that nobody has judged": 56 - len(kept)}
    polygons = [one for one in drawn(source) if one[1] in ("accepted", "edited")]
    for chip in chips(out, form):
        assert told(chip) == wanted(polygons, chip, form)


def test_only_kept_takes_all_but_what_was_rejected(tmp_path, made):
    source = review(made, tmp_path, dict.fromkeys(range(1, COUNT, 3), "rejected"), None)
    out = tmp_path / "data"
    result = build(source, "coco", out, Choices(chips=SIDE, only="kept", val=0))
    assert result.left_out == {}
    polygons = [one for one in drawn(source) if one[1] != "rejected"]
    for chip in chips(out, "coco"):
        assert told(chip) == wanted(polygons, chip, "coco")


def by_hand(folder: Path, made: Path, **words: Any) -> Path:
    """Return a map of the scene in which one polygon was drawn."""
    out, recipe = folder / "drawn.gpkg", open_map(made).made_by()
    asked = recipe.asked | words
    create(out, recipe.frame, legend(*KINDS), facts=recipe.fingerprint, words=asked)
    draw_one(out, ((30, 30), (40, 20), (80, 30), (40, 44)))
    return out


def draw_one(path: Path, pixels: tuple[tuple[int, int], ...], name: str = "c1") -> None:
    with Editor(path) as editor:
        shape = shapely.MultiPolygon([shapely.Polygon([GEOREF @ place for place in pixels])])
        editor.add({"class": name, "score": None}, shape)


def test_where_nothing_was_drawn_by_hand_nobody_says_that_nothing_is(tmp_path, made):
    source = by_hand(tmp_path, made)
    result = build(source, "coco", tmp_path / "data", Choices(chips=SIDE, val=0))
    assert result.left_out == {"where nothing was drawn": 51}
    used = {(c.x, c.y) for c in chips(tmp_path / "data", "coco")}
    assert used == {(24, 0), (24, 24), (48, 0), (48, 24), (72, 24)}


def test_pictures_show_the_composite_that_the_map_was_made_with(tmp_path, made):
    bands = {"red": 3, "green": 2, "nir": 1}
    source = by_hand(tmp_path, made, bands=bands, composite="nir,red,green")
    build(source, "coco", tmp_path / "data", Choices(chips=SIDE, val=0))
    raster = np.stack([IDS, np.full(SIZE, WIDTH), np.full(SIZE, HEIGHT)], axis=-1)
    found = chips(tmp_path / "data", "coco")
    assert found
    for chip in found:
        assert np.array_equal(chip.picture, raster[chip.inside])
    facts = json.loads((tmp_path / "data" / "geoseg.json").read_text())
    assert (facts["composite"], facts["stretch"]["bands"]) == ("nir,red,green", [1, 3, 2])


def test_a_composite_of_bands_that_nobody_knows_is_refused(tmp_path, made):
    source = by_hand(tmp_path, made, composite="nir,red,green")
    said = (
        r"^.*drawn\.gpkg was made with --composite nir,red,green, .* of scene\.tif .*--raster FILE"
    )
    with pytest.raises(MapError, match=said):
        build(source, "coco", tmp_path / "data", Choices(chips=SIDE, val=0))
    assert [p.name for p in tmp_path.iterdir()] == ["drawn.gpkg"]


ACROSS = ((1, 1), (160, 1), (160, 140), (1, 140))


@pytest.mark.parametrize(
    ("when", "name"),
    [("fit_stretch", "c0"), ("draw", "c0"), ("deal", "new"), ("open_labels", "c1")],
)
def test_a_map_that_changes_while_it_is_read_makes_no_data_set(
    tmp_path, made, monkeypatch, when, name
):
    source, out = by_hand(tmp_path, made), tmp_path / "data"
    choices = Choices(chips=SIDE, val=0, overwrite=True)
    build(source, "coco", out, choices)
    before, real = everything(out), getattr(dataset, when)

    def meanwhile(*given):
        draw_one(source, ACROSS, name)
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, when, meanwhile)
        with pytest.raises(MapError) as error:
            build(source, "coco", out, choices)
    assert str(error.value) == f"{source} was changed while it was read; run this again"
    assert everything(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "drawn.gpkg"]
    build(source, "coco", out, choices)
    assert everything(out) != before


OTHER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM features").fetchone()[0])
if sys.argv[2] == "writes":
    db.execute("UPDATE gpkg_contents SET description = 'seen'")
    db.commit()
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("does", ["looks", "writes"])
def test_a_map_with_a_write_ahead_log_may_be_looked_at_and_not_changed(
    tmp_path, made, monkeypatch, does
):
    """As QGIS opens it: what is written is in the log, and the file is as before."""
    source = by_hand(tmp_path, made)
    with closing(sqlite3.connect(source)) as db:
        db.execute("PRAGMA journal_mode = wal")
    stat, real, choices = source.stat(), dataset.draw, Choices(chips=SIDE, val=0)
    words = [sys.executable, "-c", OTHER, str(source), does]

    def meanwhile(*given):
        other = subprocess.Popen(words, stdin=PIPE, stdout=PIPE, text=True)  # noqa: S603
        opened.enter_context(other)
        assert (other.stdout.readline(), other.stdout.readline()) == ("1\n", "done\n")
        return real(*given)

    monkeypatch.setattr(dataset, "draw", meanwhile)
    with ExitStack() as opened:
        if does == "writes":
            with pytest.raises(MapError, match="was changed while it was read"):
                build(source, "coco", tmp_path / "data", choices)
        else:
            assert build(source, "coco", tmp_path / "data", choices).labels["train"] == 5
        assert source.with_name("drawn.gpkg-wal").exists()
        assert source.stat().st_mtime_ns == stat.st_mtime_ns


def test_rejected_polygons_count_unless_somebody_says_otherwise_and_that_is_told(
    tmp_path, made, caplog
):
    source = review(made, tmp_path, {3: "rejected", 4: "rejected"}, None)
    caplog.clear()
    build(source, "coco", tmp_path / "data", Choices(chips=SIDE, val=0))
    assert "2 of the " in caplog.text
    assert "were rejected in a review, and count nevertheless" in caplog.text


def test_a_map_of_which_nobody_has_said_anything(tmp_path, made):
    with pytest.raises(MapError, match=r"has not been reviewed: review it with geoseg\.review"):
        build(made, "coco", tmp_path / "data", Choices(chips=SIDE, only="accepted"))
    source = review(made, tmp_path, {COUNT // 2: "accepted"}, None)
    with pytest.raises(MapError, match=r"no chip .* nobody has judged.*; .*pass --only kept$"):
        build(source, "coco", tmp_path / "data", Choices(chips=64, only="accepted"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("form", FORMS)
def test_chips_where_tiles_failed_are_left_out_and_told(tmp_path, form, run, caplog):
    source = segment(tmp_path, Failing(CLASSES))
    hole = gpd.read_file(source, layer="failed_tiles").geometry[0]
    x1, y1 = (round(v) for v in ~GEOREF @ (hole.bounds[2], hole.bounds[1]))
    caplog.clear()
    out = tmp_path / "data"
    words = ("export", source, "--to", form, "--chips", SIDE, "--out", out)
    code, _, err = run(*words)
    assert code == 1
    count = -(-x1 // SIDE) * -(-y1 // SIDE)
    assert f"{count} where tiles failed" in err
    assert caplog.messages[0].startswith(f"1 of the tiles of {source} failed; chips that share")
    assert all(c.x >= x1 or c.y >= y1 for c in chips(out, form))


def test_no_data_is_black_and_chips_of_it_are_none(tmp_path):
    picture = scene(tmp_path / "scene.tif", nodata=0)
    with rasterio.open(picture, "r+") as out:
        data = out.read()
        data[:, :30, :60] = 0
        out.write(data)
    source = segment(tmp_path)
    result = build(source, "coco", tmp_path / "data", Choices(chips=SIDE, val=0))
    assert result.left_out == {"without data": 2}
    found = {(c.x, c.y): c for c in chips(tmp_path / "data", "coco")}
    assert {(0, 0), (24, 0)}.isdisjoint(found)
    assert not found[48, 24].picture[:6, :12].any()
    assert found[48, 24].picture[6:, 12:, 1].all()


def test_outside_of_the_area_of_interest_all_is_black(tmp_path):
    corner = shapely.box(*(GEOREF @ (0, 90)), *(GEOREF @ (100, 0)))
    aoi = tmp_path / "aoi.gpkg"
    gpd.GeoDataFrame(geometry=[corner], crs=UTM).to_file(aoi)
    source = segment(tmp_path, aoi=aoi)
    result = build(source, "coco", tmp_path / "data", Choices(chips=SIDE, val=0))
    assert result.images["train"] == 5 * 4
    polygons = drawn(source)
    for chip in chips(tmp_path / "data", "coco"):
        inside = np.zeros(SIZE, bool)
        inside[:90, :100] = True
        assert np.array_equal(chip.picture[..., 1] > 0, inside[chip.inside])
        assert told(chip) == wanted(polygons, chip, "coco")
    aoi.unlink()
    with pytest.raises(MapError, match=r"aoi\.gpkg, of which .* is neither there"):
        build(source, "coco", tmp_path / "more", Choices(chips=SIDE))


def test_chips_that_cannot_be_read_are_left_out_and_told(tmp_path, made, monkeypatch, caplog):
    from geoseg.origin import open_origin

    class Torn:
        def __init__(self, raster):
            self._raster = raster

        def __getattr__(self, name):
            return getattr(self._raster, name)

        def read(self, window):
            if (window.x0, window.y0, window.width) == (48, 24, SIDE):
                raise TileFailedError("cannot read rows 24..48: torn")
            return self._raster.read(window)

    monkeypatch.setattr("geoseg.dataset.open_origin", lambda *a: Torn(open_origin(*a)))
    result = build(made, "yolo", tmp_path / "data", Choices(chips=SIDE, val=0))
    assert result.left_out == {"that cannot be read": 1}
    assert not result.complete
    assert caplog.messages == [
        "chips that cannot be read are left out: cannot read rows 24..48: torn"
    ]


def test_a_polygon_without_a_pixels_centre_is_told(tmp_path, made, caplog):
    source = tmp_path / "map.gpkg"
    source.write_bytes(made.read_bytes())
    shutil.copy(made.parent / "scene.tif", tmp_path)
    with closing(sqlite3.connect(source)) as db, db:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (trigger,) in db.execute(triggers).fetchall():
            db.execute(f'DROP TRIGGER "{trigger}"')
        names = [row[1] for row in db.execute("PRAGMA table_info(features)")]
        column = next(n for n in names if n in ("geom", "geometry"))
        x, y = GEOREF @ (3, 3)
        wkb = shapely.MultiPolygon([shapely.box(x, y, x + 1, y + 1)]).wkb
        head = b"GP\0\1" + (32633).to_bytes(4, "little")
        db.execute(f"UPDATE features SET {column} = ? WHERE id = 2", (head + wkb,))  # noqa: S608
    build(source, "coco", tmp_path / "data", Choices(chips=SIDE, val=0))
    assert caplog.messages == ["1 polygons hold no pixel's centre, and so have no label"]


# ------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "coco"), r"--to coco is a folder .* --out FOLDER, or give a file, as --to coco"),
        (("--to", "yolo", "--out", "d", "--chips", "15"), "--chips 15 px is too small; at least"),
        (("--to", "yolo", "--out", "d", "--chips", "9000"), "--chips 9000 px is too large; at"),
        (("--to", "yolo", "--out", "d", "--val", "1"), r"--val 1\.0 is no share of the chips"),
        (("--to", "yolo", "--out", "d", "--val", "nan"), "--val nan is no share"),
        (("--to", "yolo", "--out", "d", "--only", "seen"), "--only 'seen' is none of: accepted"),
        (("--to", "coco", "--out", "no/d"), "output folder .*no does not exist; make it first"),
        (("--to", "coco", "--out", "d", "--format", "coco"), "--format is not for --to coco"),
        (("--to", "coco", "--out", "d", "--datetime", "file"), "--datetime is not for --to coco"),
        (("--to", "a.fgb", "--out", "d"), "--out is for --to coco and --to yolo; leave it out"),
        (("--to", "voc", "--out", "d"), "--to voc is no format and no file; it takes coco or yolo"),
        (("--to", "coco.json", "--chips", "0"), "--chips 0 px is too small; at least"),
        (("--to", "coco.json", "--val", "0.3"), "--val is for --to coco and --to yolo; leave"),
        (("--to", "coco.json", "--seed", "0"), "--seed is for --to coco and --to yolo; leave"),
        (("--to", "coco", "--out", "d", "--chips", "170"), "none of 1 chips can be for validation"),
    ],
)
def test_what_cannot_be_or_does_nothing_is_refused_in_a_line(
    tmp_path, made, run, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("export", made, *words)
    assert (code, out) == (2, "")
    assert re.search(said, err), err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_another_raster_is_not_taken_for_that_of_the_map(tmp_path, made):
    scene(tmp_path / "other.tif", transform=GEOREF @ Affine.translation(1, 0))
    with pytest.raises(MapError, match=r"other\.tif is not on the pixel grid of"):
        build(made, "coco", tmp_path / "data", Choices(raster=str(tmp_path / "other.tif")))


@pytest.mark.parametrize(
    "words",
    [("--to", form, "--out", "d", *wrong) for form in FORMS
     for wrong in (("--chips", "0"), ("--raster", "nope.tif"))]
    + [("--to", "coco.json", "--raster", "nope.tif"), ("--to", "a.tif", "--raster", "nope.tif"),
       ("--to", "coco.json", "--chips", "0")],
)  # fmt: skip
def test_nothing_is_told_of_a_map_before_what_was_given_can_be_used(
    tmp_path, made, run, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)
    source = review(made, tmp_path, {1: "accepted"}, "rejected")
    with closing(sqlite3.connect(source)) as db, db:
        db.execute("UPDATE features SET class = 'of an edit' WHERE id = 2")
    code, _, err = run("export", source, *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("error: "), err


def test_a_raster_may_have_moved(tmp_path, made):
    source = tmp_path / "map.gpkg"
    source.write_bytes(made.read_bytes())
    picture = tmp_path / "elsewhere.tif"
    shutil.copy(made.parent / "scene.tif", picture)
    build(source, "coco", tmp_path / "one", Choices(chips=SIDE, raster=str(picture)))
    facts = json.loads((tmp_path / "one" / "geoseg.json").read_text())
    assert (facts["map"], facts["raster"]) == ("map.gpkg", "elsewhere.tif")


# --------------------------------------------------------------------- what is there already


def test_what_is_there_is_replaced_only_where_it_is_a_data_set(tmp_path, made):
    out = tmp_path / "data"
    out.mkdir()
    build(made, "coco", out, Choices(chips=SIDE))
    before = everything(out)
    with pytest.raises(OutputError, match="is not empty; give another --out, or pass --overwrite"):
        build(made, "yolo", out, Choices(chips=SIDE))
    note = out / "images" / "train" / "notes.txt"
    note.write_text("precious")
    with pytest.raises(OutputError, match=r"holds images/train/notes\.txt, which geoseg did not"):
        build(made, "yolo", out, Choices(chips=SIDE, overwrite=True))
    assert everything(out) == before | {"images/train/notes.txt": b"precious"}
    note.unlink()
    build(made, "yolo", out, Choices(chips=SIDE, overwrite=True))
    # Training leaves a cache, which is no loss.
    (out / "labels" / "train.cache").write_bytes(b"cache")
    build(made, "coco", out, Choices(chips=SIDE, overwrite=True))
    assert everything(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_folders_that_geoseg_did_not_write_stay(tmp_path, made):
    out = tmp_path / "data"
    (out / "images" / "train").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"has no geoseg\.json, so geoseg did not write it"):
        build(made, "coco", out, Choices(chips=SIDE, overwrite=True))
    shutil.rmtree(out)
    out.write_text("precious")
    with pytest.raises(OutputError, match="is there and is no folder"):
        build(made, "coco", out, Choices(chips=SIDE, overwrite=True))
    assert out.read_text() == "precious"


def test_a_link_leads_to_the_folder_that_is_written(tmp_path, made):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far", target_is_directory=True)
    result = build(made, "coco", tmp_path / "near", Choices(chips=SIDE))
    assert result.path == tmp_path / "near"
    assert (tmp_path / "near").is_symlink()
    assert (tmp_path / "far" / "train.json").is_file()


def test_a_folder_in_use_is_not_renamed(tmp_path, made, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="is a folder in use; give --out a folder in it"):
        build(made, "coco", Path(), Choices(chips=SIDE))


def test_a_run_that_is_stopped_leaves_what_was_there(tmp_path, made, monkeypatch):
    out = tmp_path / "data"
    build(made, "coco", out, Choices(chips=SIDE))
    before = everything(out)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("geoseg.export.dataset.replace._settle", stop)
    for place in (out, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            build(made, "yolo", place, Choices(chips=SIDE, overwrite=True))
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    assert everything(out) == before


def test_a_run_that_was_killed_when_it_replaced_is_undone_by_the_next(tmp_path, made):
    out = tmp_path / "data"
    build(made, "coco", out, Choices(chips=SIDE))
    before = everything(out)
    beside = tmp_path / "data.geoseg"
    (beside / "writing" / "made" / "images").mkdir(parents=True)
    out.rename(beside / "replaced")
    with pytest.raises(OutputError, match="is not empty"):
        build(made, "coco", out, Choices(chips=SIDE))
    assert everything(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    # Killed a moment later: the new one is there, the old one is not removed yet.
    shutil.copytree(out, beside / "replaced")
    build(made, "coco", out, Choices(chips=SIDE, overwrite=True))
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("broken", ["write_bytes", "write_text", "open"])
def test_a_full_disk_is_told_in_a_line_and_nothing_is_lost(tmp_path, made, monkeypatch, broken):
    out = tmp_path / "data"
    build(made, "yolo", out, Choices(chips=SIDE))
    before = everything(out)
    real = getattr(Path, broken)

    def full(self, *given, **named):
        if "made" in self.parts and (broken != "open" or self.suffix == ".txt"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, broken, full)
        with pytest.raises(WriteFailedError, match=r"cannot write .*data: the disk is full"):
            build(made, "yolo", out, Choices(chips=SIDE, overwrite=True))
    assert everything(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_all_that_is_refused_is_one_of_ours_and_a_line(tmp_path, made):
    for form in ("voc", ""):
        with pytest.raises(GeosegError, match=r"^a data set is one of: coco, yolo; not '") as error:
            build(made, form, tmp_path / "data")
        assert isinstance(error.value, ConfigError)


def test_the_summary_says_what_is_where(tmp_path, made, run):
    out = tmp_path / "data"
    code, _, err = run("export", made, "--to", "yolo", "--chips", SIDE, "--out", out)
    assert code == 0
    pattern = (
        r"\d+ images with \d+ labels for train and \d+ images with \d+ labels for val in .*data; "
        r"chips in neither: \d+ between train and val\n"
    )
    assert re.fullmatch(pattern, err)
    again = run("export", made, "--to", "yolo", "--out", out, "--chips", 64, "--overwrite", "-q")
    assert again[0] in (0, 2)
