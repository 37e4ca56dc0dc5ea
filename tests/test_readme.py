"""The README does what it says."""

import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from geoseg import cli
from geoseg.demo import TILE, sample_tile

README = Path(__file__).resolve().parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a real scene of eight bands, as the examples want it."""
    with rasterio.open(sample_tile(TILE)) as source:
        data, profile = source.read(), source.profile
    wide = np.concatenate([data, data[:2]])
    wide[7] = data[3]
    with rasterio.open(tmp_path / "scene.tif", "w", **{**profile, "count": 8}) as target:
        target.write(wide)
        for number, role in enumerate(("blue", "green", "red", "nir", "swir1", "swir2"), 1):
            target.set_band_description(number, role)
    for name in ("earlier", "2019", "2020", "2021"):
        shutil.copy(tmp_path / "scene.tif", tmp_path / f"{name}.tif")
    x0, y0, x1, y1 = source.bounds
    halves = [shapely.box(x0, y0, (x0 + x1) / 2, y1), shapely.box((x0 + x1) / 2, y0, x1, y1)]
    for file, column, values in (
        ("districts", "name", ["west", "east"]),
        ("reference", "class", ["forest", "water"]),
    ):
        layer = gpd.GeoDataFrame({column: values}, geometry=halves, crs=source.crs)
        layer.to_file(tmp_path / f"{file}.gpkg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run(folder, monkeypatch):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("geoseg ")]
    assert len(commands) >= 4
    for command in commands:
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert not done.value.code, command
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
        signal.signal(number, handler)
    assert (folder / "map.gpkg").exists()
    assert (folder / "map.parquet").exists()


def test_the_python_runs(folder):
    found = blocks("python")
    assert len(found) >= 2
    for code in found:
        exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    assert (folder / "map.gpkg").exists()


def test_the_legend_is_one(folder):
    from geoseg import Legend

    text, _ = blocks("toml")
    (folder / "legend.toml").write_text(text, "utf-8")
    legend = Legend.load(folder / "legend.toml")
    assert legend.classes[0].prompts == ("wetland", "grass")


def test_the_model_card_is_one():
    from geoseg.backends.onnx.card import Card

    _, text = blocks("toml")
    card = Card.parse(text, "README.md")
    assert card.classes[0].words == ("water", "river", "lake")


def test_the_commands_for_models_are_ones(monkeypatch):
    """They need weights; what they are asked for must be options and backends there are."""
    from geoseg.backends import available
    from geoseg.backends.compose import _named, _parts

    asked = []
    monkeypatch.setattr("geoseg.run.segment", lambda *_, **options: asked.append(options))
    monkeypatch.setattr(cli, "_report", lambda *_, **__: None)
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    for line in lines:
        monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert not done.value.code, line
    assert len(asked) == 7
    for options in asked:
        for part in filter(None, _parts(options["backend"].removeprefix("everything:"))[::2]):
            assert _named(part)[0] in available()
