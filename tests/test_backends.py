"""The registry: what there is, what is missing, and what a backend must have."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from scenes import ByIdentity, legend, raster

import geoseg
from geoseg import backends
from geoseg.backends import BUILT_IN, Backend, BackendInfo, Fittable, available
from geoseg.backends.compose import load
from geoseg.errors import BackendError, MissingDependencyError


class Mine(ByIdentity):
    """What another package might bring."""

    def __init__(self):
        super().__init__((0,))


@pytest.fixture
def plugins(monkeypatch):
    def install(*points: tuple[str, str]):
        found = [EntryPoint(name, target, backends.ENTRY_POINTS) for name, target in points]
        monkeypatch.setattr(backends, "entry_points", lambda group: found if group else [])

    return install


def test_the_built_in_backend_is_there_and_is_one():
    assert "spectral" in available()
    engine = load("spectral")
    assert isinstance(engine, Backend)
    assert isinstance(engine, Fittable)


def test_every_registered_backend_says_what_it_does():
    for name, info in available().items():
        assert info.name == name
        assert info.summary
        assert ":" in info.target
    assert list(available()) == sorted(available())


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(BackendError, match=r"unknown backend 'spectrl'; did you mean 'spectral'"):
        load("spectrl")
    with pytest.raises(BackendError, match=r"takes one of: .*spectral"):
        load("zzz")


def test_a_plugin_is_found_and_loaded(plugins):
    plugins(("mine", f"{__name__}:Mine"))
    import sys

    sys.modules.setdefault(__name__, sys.modules[Mine.__module__])
    assert available()["mine"].target == f"{__name__}:Mine"
    assert isinstance(load("mine"), Backend)


def test_a_plugin_cannot_take_the_name_of_a_built_in(plugins):
    plugins(("spectral", "evil:Thing"))
    assert available()["spectral"] == BUILT_IN["spectral"]


def test_a_missing_package_names_the_extra_that_brings_it(plugins, monkeypatch):
    plugins(("gone", "no_such_package_here:Thing"))
    with pytest.raises(MissingDependencyError) as caught:
        load("gone")
    assert "needs the package 'no_such_package_here'" in str(caught.value)
    heavy = BackendInfo("heavy", "no_such_package_here.x:Thing", "heavy", extra="models")
    monkeypatch.setattr(backends, "BUILT_IN", {"heavy": heavy})
    with pytest.raises(MissingDependencyError, match=r'pip install "geoseg\[models\]"'):
        load("heavy")


@pytest.mark.parametrize("missing", ["identity", "halo_px", "segment"])
def test_an_object_that_lacks_something_is_told_what(missing, tmp_path):
    names = {"identity": "x", "halo_px": 0, "segment": lambda tiles: tiles}
    engine = type("Half", (), {k: v for k, v in names.items() if k != missing})()
    with pytest.raises(BackendError, match=f"Half is no backend: it lacks {missing} "):
        geoseg.segment(
            raster(np.ones((4, 4), np.int32)),
            legend("object"),
            backend=engine,
            out=tmp_path / "map.gpkg",
        )


def test_a_backend_is_fitted_once_with_the_whole_raster_and_every_threshold():
    seen = []

    class Fitting(ByIdentity):
        def fit(self, source, asked):
            seen.append((source, asked))
            return ByIdentity((0,), identity="fitted")

        def segment(self, _tiles):
            raise AssertionError("the unfitted backend was asked")

    source = raster(np.ones((40, 40), np.int32))
    run = geoseg.segment(
        source, legend("object"), backend=Fitting((0,)), tile=16, overlap=4, threshold=0.125
    )
    assert run.complete
    assert run.count == 1
    ((shown, asked),) = seen
    assert shown is source
    assert [c.threshold for c in asked.classes] == [0.125]
