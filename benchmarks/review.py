"""How long does it take to review a map, and what does a kill in the middle lose?

    python benchmarks/review.py [--polygons 5000] [--kills 20] [--seed 0] [--json]

Draws a map of `--polygons` polygons and reviews all of it by `geoseg.review` in a process of its
own: accept, reject, relabel and redraw take turns, each is on the disk before the next. `seconds`
and `per_decision_ms` tell how long that takes, beside `probe_ms`: SQLite alone, one row of the same
file and one transaction each.

Then such a process is killed with SIGKILL `--kills` times at random moments, and goes on where it
was. `told` counts decisions of which the process had said that they are made, `lost` those of them
that are not in the file afterwards; `ahead` is the most that the file was ahead of what was said.
`damaged` counts files that SQLite finds damaged, whose spatial index is not that of the polygons,
or whose number of features is wrong. Needs POSIX. Exit code 1 if anything is lost or damaged.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import pyproj
import shapely
from affine import Affine

import geoseg
from geoseg.export.blob import bounds_of, teach
from geoseg.export.table import Target
from geoseg.export.write import write
from geoseg.features import Features
from geoseg.frame import Frame
from geoseg.legend import Legend
from geoseg.recipe import recipe_text, words_of
from geoseg.runfolder import alone

CRS = pyproj.CRS("EPSG:32633").to_wkt()
SPACING_PX, RADIUS_PX, PIXEL_M = 20, 8, 0.5
LEGEND = Legend.parse("hut, tree")


@dataclass
class Tally:
    """What was seen."""

    polygons: int = 0
    seconds: float = 0.0
    per_decision_ms: float = 0.0
    probe_ms: float = 0.0
    kills: int = 0
    told: int = 0
    lost: int = 0
    ahead: int = 0
    damaged: int = 0


def frame_of(count: int) -> Frame:
    """Return the grid of a raster that holds so many polygons."""
    side = SPACING_PX * (int(np.ceil(np.sqrt(count))) + 1)
    transform = Affine(PIXEL_M, 0, 500_000, 0, -PIXEL_M, 5_000_000)
    return Frame(side, side, transform, CRS)


def features(count: int, frame: Frame) -> Features:
    """Return round things on a grid, of two classes, with scores in no order."""
    draw = np.random.default_rng(count)
    columns = frame.width // SPACING_PX - 1
    i, angle = np.arange(count), np.linspace(0, 2 * np.pi, 16, endpoint=False)
    radius = draw.uniform(RADIUS_PX / 2, RADIUS_PX, (count, 16))
    x = SPACING_PX * (1 + i[:, None] % columns) + radius * np.cos(angle)
    y = SPACING_PX * (1 + i[:, None] // columns) + radius * np.sin(angle)
    outlines = shapely.polygons(np.stack([x, y], axis=-1))
    area_m2, perimeter_m = frame.measure(outlines)
    shapes = shapely.multipolygons(shapely.transform(outlines, frame.to_crs).reshape(-1, 1))
    ones, none = np.ones(count, int), np.full(count, np.nan)
    score = draw.permutation(count) / count
    return Features(i + 1, i % 2, score, area_m2 / 1e4, perimeter_m, ones, none, shapes)


def draw_map(path: Path, count: int) -> Path:
    """Write a map as a run would."""
    frame = frame_of(count)
    facts = {"backend": "drawn", "tile": 1024, "overlap": 128, "legend": LEGEND.model_dump()}
    recipe = recipe_text(facts, [], frame, words_of())
    with alone(path) as place:
        write(Target(path, CRS, LEGEND, recipe), [features(count, frame)], [], place)
    return path


def decide(path: Path) -> Iterator[tuple[int, str]]:
    """Review what is open, in turns; yield the id and what was said of it, once it is made."""
    with geoseg.review(path, by="script") as review:
        for turn in cycle(range(4)):
            current = review.current
            if current is None:
                return
            if turn == 0:
                review.accept()
            elif turn == 1:
                review.reject()
            elif turn == 2:
                review.relabel("hut" if current.cls == "tree" else "tree")
            else:
                review.redraw(current.geometry.buffer(1.0))
            yield current.id, ("accepted", "rejected", "edited", "edited")[turn]


def states(path: Path) -> dict[int, str | None]:
    """Return what is said of each polygon, as another program reads it after a kill."""
    with closing(sqlite3.connect(path)) as db:
        # Rolls back what was broken off.
        names = {row[1] for row in db.execute("PRAGMA table_info(features)")}
        if "review" not in names:
            return {}
        return dict(db.execute("SELECT id, review FROM features"))


def is_sound(path: Path, count: int) -> bool:
    """Tell whether a file is whole, and its index and counts those of its polygons."""
    with closing(sqlite3.connect(path)) as db:
        teach(db)
        whole = db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        tree = db.execute("SELECT rtreecheck('rtree_features_geom')").fetchone()[0] == "ok"
        counted = db.execute(
            "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = 'features'"
        ).fetchone()[0]
        rows = db.execute(
            "SELECT f.geom, r.minx, r.miny, r.maxx, r.maxy FROM features f "
            "JOIN rtree_features_geom r ON r.id = f.fid"
        ).fetchall()
    real = np.array([bounds_of(blob) for blob, *_ in rows])
    kept = np.array([box for _, *box in rows])
    # Single precision, rounded outwards.
    close = np.allclose(kept, real, rtol=1e-6, atol=0)
    around = (kept[:, :2] <= real[:, :2]).all() and (kept[:, 2:] >= real[:, 2:]).all()
    return whole and tree and counted == len(rows) == count and bool(close and around)


def start(path: Path) -> subprocess.Popen[str]:
    """Start a process that reviews, and says each decision when it is made."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_once(path: Path, after: int, tally: Tally, count: int, pause_s: float) -> bool:
    """Kill a review after so many decisions, and a moment; tells whether some are open still."""
    before = sum(state is not None for state in states(path).values())
    process = start(path)
    lines = [line for _, line in zip(range(after), process.stdout or (), strict=False)]
    time.sleep(pause_s)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    # The last line may be cut.
    lines += rest[: rest.rfind("\n") + 1].splitlines()
    told = dict(line.split() for line in lines)
    found = states(path)
    made = sum(state is not None for state in found.values())
    tally.kills += 1
    tally.told += len(told)
    tally.lost += sum(found.get(int(number)) != state for number, state in told.items())
    tally.ahead = max(tally.ahead, made - before - len(told))
    tally.damaged += not is_sound(path, count)
    return made < count


def measure(folder: Path, count: int, tally: Tally) -> None:
    """Review a map undisturbed."""
    path = draw_map(folder / "plain.gpkg", count)
    began = time.perf_counter()
    tally.polygons = sum(1 for _ in decide(path))
    tally.seconds = round(time.perf_counter() - began, 2)
    tally.per_decision_ms = round(1000 * tally.seconds / count, 2)
    tally.damaged += not is_sound(path, count)
    tally.probe_ms = _probe(path)


def _probe(path: Path, times: int = 200) -> float:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        teach(db)
        db.execute("PRAGMA synchronous = EXTRA")
        began = time.perf_counter()
        for fid in range(1, times + 1):
            db.execute("UPDATE features SET review = 'seen' WHERE fid = ?", (fid,))
        return round(1000 * (time.perf_counter() - began) / times, 2)


def main() -> int:
    """Measure and kill; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polygons", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path)
    asked = parser.parse_args()
    if asked.child is not None:
        for number, state in decide(asked.child):
            print(number, state, flush=True)
        return 0
    tally, chance = Tally(), random.Random(asked.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure(folder, asked.polygons, tally)
        path = draw_map(folder / "killed.gpkg", asked.polygons)
        for _ in range(asked.kills):
            after = chance.randrange(2 * asked.polygons // max(1, asked.kills))
            if not kill_once(path, after, tally, asked.polygons, chance.random() / 100):
                path = draw_map(folder / "killed.gpkg", asked.polygons)
    print(json.dumps(asdict(tally)) if asked.json else tally)
    return int(tally.lost > 0 or tally.damaged > 0 or tally.ahead > 1)


if __name__ == "__main__":
    sys.exit(main())
