"""What is written is the same for the same features, and holds whatever they say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from maps import FAULTS, Beside, target
from scenes import examples

from geoseg.errors import OutputError
from geoseg.export import FORMATS, check_output, write
from geoseg.export.place import failed_path
from geoseg.export.table import REASON_CHARS, plain

ENDINGS = pytest.mark.parametrize("ending", FORMATS)


def put(out: Path, found=None, failed=(), crs=FAULTS.CRS) -> int:
    found = FAULTS.features(20) if found is None else found
    return write(target(out, crs), found, list(failed), Beside(out.with_name("grow")))


def read(path: Path, **options: str) -> gpd.GeoDataFrame:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    # A GeoPackage has its styles as a second layer.
    return gpd.read_file(
        path, **{**({"layer": "features"} if path.suffix == ".gpkg" else {}), **options}
    )


def read_failed(out: Path) -> gpd.GeoDataFrame:
    if out.suffix == ".gpkg":
        return read(out, layer="failed_tiles")
    return read(failed_path(out))


@ENDINGS
def test_bytes_do_not_depend_on_the_process_or_the_name(tmp_path, ending):
    for name, hash_seed in (("a/map", "1"), ("b/Other name é%41", "2")):
        out = tmp_path / f"{name}{ending}"
        out.parent.mkdir()
        case = FAULTS.Case(ending, 3, naive=False)
        environment = {**FAULTS._ENVIRONMENT, "PYTHONHASHSEED": hash_seed, "TZ": f"UTC+{hash_seed}"}
        subprocess.run(case.command(out), check=True, env=environment)  # noqa: S603
    first, second = (
        FAULTS.look(tmp_path / f"{name}{ending}") for name in ("a/map", "b/Other name é%41")
    )
    assert first == second
    assert None not in first or ending == ".gpkg"


@ENDINGS
@pytest.mark.parametrize("letter", ["x", "é", "木"])
def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path, ending, letter):
    room = 255 - len(ending)
    out = tmp_path / (letter * (room // len(letter.encode())) + ending)
    check_output(out, overwrite=False, crs=FAULTS.CRS)
    assert put(out, failed=FAULTS.holes(2)) == 20
    assert len(read(out, **({"layer": "features"} if ending == ".gpkg" else {}))) == 20
    assert len(read_failed(out)) == 2
    put(out)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_name_that_no_disk_takes_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"output name of 260 bytes is too long.*take 255"):
        check_output(tmp_path / ("木" * 85 + ".gpkg"), overwrite=False, crs=None)


def test_long_names_do_not_share_their_failed_tiles():
    first, second = (failed_path(Path("x" * 240 + f"{n}.parquet")) for n in "12")
    assert first != second
    assert failed_path(Path("a/b.fgb")) == Path("a/b_failed_tiles.fgb")


HOSTILE = (
    "out\0of luck",
    "one\nline\r\nof\ttwo",
    "\ud800 alone",
    "é" * 1_000_000,
    "<b>'; DROP TABLE features; --",
    "\x1b[31mred",
)


@ENDINGS
def test_reasons_may_say_anything(tmp_path, ending):
    out = tmp_path / f"map{ending}"
    put(out, failed=[(f"t{n}", r, shapely.box(n, 0, n + 1, 1)) for n, r in enumerate(HOSTILE)])
    said = dict(zip(*read_failed(out)[["tile", "reason"]].to_numpy().T, strict=True))
    assert said["t0"] == "out of luck"
    assert said["t1"] == "one line of two"
    assert said["t2"] == "alone"
    assert said["t3"] == "é" * (REASON_CHARS - 1) + "…"
    assert said["t4"] == HOSTILE[4]
    assert said["t5"] == "[31mred"


@examples(100)
@given(st.text(st.characters(codec=None, categories=None), max_size=3000))
def test_plain_text_is_one_short_line_of_unicode(text):
    line = plain(text)
    assert len(line) <= REASON_CHARS
    assert len(line.encode("utf-8").splitlines()) <= 1
    assert "\0" not in line
    assert plain(line) == line


@ENDINGS
def test_what_is_not_finite_is_null(tmp_path, ending):
    (found,) = FAULTS.features(4)
    measures = np.array([np.inf, -np.inf, np.nan, 2.5])
    put(tmp_path / f"map{ending}", [replace(found, area_ha=measures)])
    area = read(tmp_path / f"map{ending}").set_index("id")["area_ha"]
    assert area.isna().to_dict() == {1: True, 2: True, 3: True, 4: False}
    assert area[4] == 2.5


def test_geojson_refuses_what_has_no_longitude(tmp_path):
    (found,) = FAULTS.features(1)
    far = shapely.transform(found.geometry, lambda xy: xy + 1e12)
    with pytest.raises(OutputError, match=r"no longitude and latitude.*use \.gpkg"):
        put(tmp_path / "map.geojson", [replace(found, geometry=far)])
    assert put(tmp_path / "map.gpkg", [replace(found, geometry=far)]) == 1


class Stop(BaseException):
    """As an interrupt is."""


@ENDINGS
@pytest.mark.parametrize("error", [KeyError("tile"), OSError(5, "a store"), Stop()])
def test_what_features_fail_with_is_not_taken_for_a_disk(tmp_path, ending, error):
    out = tmp_path / f"map{ending}"
    out.write_bytes(b"older")

    def found():
        yield from FAULTS.features(20)
        raise error

    with pytest.raises(type(error)) as caught:
        put(out, found())
    assert caught.value is error
    assert out.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


@ENDINGS
def test_what_a_killed_run_left_is_removed(tmp_path, ending):
    for name in ("features", "failed_tiles"):
        (tmp_path / "grow").mkdir(exist_ok=True)
        (tmp_path / "grow" / f"{name}{ending}").write_bytes(b"half")
    put(tmp_path / f"map{ending}", failed=FAULTS.holes(1))
    assert not (tmp_path / "grow").exists()


MEMORY = """
import resource, sys
from pathlib import Path
from maps import FAULTS, Beside, target
from geoseg.export import write
out = Path(sys.argv[1])
for count in (4096, 20 * 4096):
    write(target(out), FAULTS.features(count), [], Beside(out.with_name("grow")))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
@pytest.mark.parametrize("ending", [".gpkg", ".parquet"])
def test_memory_does_not_follow_the_number_of_features(tmp_path, ending):
    out = tmp_path / f"map{ending}"
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", MEMORY, out],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    few, many = map(int, done.stdout.split())
    # The features alone are some 30 MB as WKB.
    assert many - few < 20_000


@ENDINGS
def test_a_map_that_is_cut_says_so_in_every_format(tmp_path, ending):
    (found,) = FAULTS.features(5)
    out, clipped = tmp_path / f"map{ending}", np.arange(5) % 2 == 1
    cut = replace(target(out), extra=(("clipped", "bool"),))
    write(cut, [replace(found, extra={"clipped": clipped})], [], Beside(tmp_path / "grow"))
    stored = read(out).sort_values("id")["clipped"]
    assert stored.dtype == bool
    assert stored.tolist() == clipped.tolist()
