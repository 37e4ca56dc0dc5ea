"""What never ends or crashes is stopped; what fails is left to fail."""

from __future__ import annotations

import pytest

from geoseg import probe
from geoseg.errors import RasterError

CODE = {
    "ends": "pass",
    "fails": "raise SystemExit(1)",
    "loops": "while True: pass",
    "crashes": "import os; os.abort()",
}


@pytest.mark.parametrize(
    ("kind", "words"),
    [("ends", ""), ("fails", ""), ("loops", r"a\.nc .* no end within 1 s"), ("crashes", "crashed")],
)
def test_what_becomes_of_an_open(monkeypatch, kind, words):
    monkeypatch.setattr(probe, "_OPEN", CODE[kind])
    monkeypatch.setattr(probe, "LIMIT_S", 1.0)
    if not words:
        probe.check_opens("a.nc", "/a.nc", "netCDF")
        return
    with pytest.raises(RasterError, match=words):
        probe.check_opens("a.nc", "/a.nc", "netCDF")
    probe.check_opens("a.tif", "/a.tif", "GTiff")


def test_a_module_of_the_folder_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "rasterio.py").write_text("open('ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    probe.check_opens("a.nc", str(tmp_path / "a.nc"), "netCDF")
    assert not (tmp_path / "ran").exists()
