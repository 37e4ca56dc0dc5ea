"""A crash before any change of the disk: the next run ends with the same bytes, nothing is torn."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ByIdentity, apart, examples, legend, raster, voronoi

import geoseg
from geoseg.errors import GeosegError, OutputError
from geoseg.export.place import failed_path
from geoseg.pixels import Pixels

IDS, COUNT = apart(voronoi(24, 44, np.random.default_rng(3)))
SCENE, THINGS = raster(IDS), legend("object")
FORMATS = (".gpkg", ".parquet", ".fgb", ".geojson")


class Crashed(BaseException):
    """The process is no more."""


@dataclass
class Disk:
    """Lets a number of changes happen, and no more: not even those of a `finally`."""

    folder: str = ""
    left: int = 0
    """Changes that are still let happen."""
    watching: bool = False

    def audit(self, event: str, facts: tuple[Any, ...]) -> None:
        if self.watching and self._changes(event, facts):
            self.left -= 1
            if self.left < 0:
                raise Crashed

    def _changes(self, event: str, facts: tuple[Any, ...]) -> bool:
        if event == "open":
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
            return bool((facts[2] or 0) & writes) and str(facts[0]).startswith(self.folder)
        if event in ("os.remove", "os.rmdir"):
            # Whoever removes a tree names its files relative to an open folder.
            return facts[1] != -1 or str(facts[0]).startswith(self.folder)
        return event in ("os.rename", "os.mkdir") and str(facts[0]).startswith(self.folder)

    @contextmanager
    def crashing(self, folder: Path, after: int) -> Iterator[None]:
        self.folder, self.left, self.watching = str(folder), after, True
        try:
            yield
        finally:
            self.watching = False


DISK = Disk()
sys.addaudithook(DISK.audit)


@dataclass(frozen=True)
class Failing(ByIdentity):
    """Fails in the first tile."""

    def answer(self, tile: Pixels) -> geoseg.Instances:
        if tile.window.x0 == tile.window.y0 == 0:
            raise RuntimeError("out of luck")
        return super().answer(tile)


WELL, ILL = ByIdentity((0,) * COUNT), Failing((0,) * COUNT)


def make(out: Path, model: ByIdentity = WELL, **options: Any) -> geoseg.Run:
    return geoseg.segment(SCENE, THINGS, backend=model, out=out, tile=32, overlap=8, **options)


def crash(out: Path, after: int, model: ByIdentity = WELL, **options: Any) -> bool:
    """Make a map that crashes after so many changes; returns False if it ended before."""
    try:
        with DISK.crashing(out.parent, after):
            make(out, model, **options)
    except Crashed:
        return True
    except OutputError:
        # The one before it was complete.
        assert out.exists()
    return False


def end(out: Path, model: ByIdentity = WELL, **options: Any) -> None:
    """Give the same command again; where all is done it is told so."""
    try:
        make(out, model, **options)
    except GeosegError as error:
        if re.search("is already there|there is no unfinished run", str(error)) is None:
            raise


def content(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a map of each format as it is without a crash."""
    folder = tmp_path_factory.mktemp("whole")
    for ending in FORMATS:
        make(folder / f"map{ending}")
    return {ending: (folder / f"map{ending}").read_bytes() for ending in FORMATS}


@pytest.mark.parametrize(("ending", "old"), [(".gpkg", b"an older map"), (".parquet", None)])
def test_a_crash_anywhere_costs_nothing(tmp_path, whole, ending, old):
    crashes = 0
    for after in range(1000):
        out = tmp_path / str(after) / f"map{ending}"
        out.parent.mkdir()
        if old is not None:
            out.write_bytes(old)
        crashed = crash(out, after, overwrite=old is not None)
        assert content(out) in (old, whole[ending])
        end(out, overwrite=old is not None)
        assert content(out) == whole[ending]
        assert [p.name for p in out.parent.iterdir()] == [out.name]
        if not crashed:
            break
        crashes += 1
    # Three per file of a tile, at least.
    assert 3 * 2 < crashes < 999


@examples(15)
@given(st.lists(st.integers(0, 70), min_size=2, max_size=5))
def test_a_crash_may_follow_a_crash(tmp_path_factory, whole, crashes):
    out = tmp_path_factory.mktemp("often") / "map.fgb"
    for after in crashes:
        crash(out, after)
        assert content(out) in (None, whole[".fgb"])
    end(out)
    assert content(out) == whole[".fgb"]
    assert [p.name for p in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("ending", [".gpkg", ".geojson"])
def test_a_map_with_a_hole_is_never_seen_without_what_tells_of_it(tmp_path, whole, ending):
    path = tmp_path / "whole" / f"map{ending}"
    path.parent.mkdir()
    make(path, ILL)
    hollow, told = path.read_bytes(), content(failed_path(path))
    assert hollow != whole[ending]
    assert (told is None) == (ending == ".gpkg")
    for after in range(1000):
        out = tmp_path / str(after) / f"map{ending}"
        out.parent.mkdir()
        crashed = crash(out, after, ILL)
        assert (content(out), content(failed_path(out))) in (
            (None, None),
            (None, told),
            (hollow, told),
        )
        end(out, ILL)
        assert (content(out), content(failed_path(out))) == (hollow, told)
        if not crashed:
            break


def test_a_crash_while_failed_tiles_are_tried_again_costs_nothing(tmp_path, whole):
    ending = ".fgb"
    for after in range(1000):
        out = tmp_path / str(after) / f"map{ending}"
        out.parent.mkdir()
        make(out, ILL)
        hollow, told = content(out), content(failed_path(out))
        crashed = crash(out, after, retry_failed=True)
        assert (content(out), content(failed_path(out))) in (
            (hollow, told),
            (whole[ending], told),
            (whole[ending], None),
        )
        end(out, retry_failed=True)
        assert content(out) == whole[ending]
        assert [p.name for p in out.parent.iterdir()] == [out.name]
        if not crashed:
            break
