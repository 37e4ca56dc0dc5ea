"""What GDAL says many times is heard once."""

from __future__ import annotations

import logging
import pickle
import struct
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rasters import draw

from geoseg.geotiff import open_raster


def looping(path):
    """Write a TIFF of which GDAL says each time that its directories loop."""
    data = bytearray(draw(path).read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    path.write_bytes(data)
    return path


def test_a_warning_of_gdal_is_heard_once(tmp_path, caplog):
    for name in ("a.tif", "b.tif"):
        raster = open_raster(looping(tmp_path / name))
        for _ in range(3):
            pickle.loads(pickle.dumps(raster)).read(raster.frame.window)  # noqa: S301
    texts = [r.getMessage() for r in caplog.records if r.name == "rasterio._env"]
    assert 1 <= len(texts) == len(set(texts))


def short_of_samples(path):
    """Write a TIFF whose samples are more than it says, which GDAL says with its name and without.

    As Landsat scenes are that other tools have written.
    """
    data = bytearray(draw(path, bands=4, photometric="RGB").read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, *_ = struct.unpack_from("<HHI", data, entry)
        if tag == 262:
            struct.pack_into("<H", data, entry + 8, 1)
    path.write_bytes(data)
    return path


def test_a_warning_is_heard_once_though_a_second_has_no_name(tmp_path, caplog):
    for name in ("a.tif", "b.tif"):
        raster = open_raster(short_of_samples(tmp_path / name))
        pickle.loads(pickle.dumps(raster)).read(raster.frame.window)  # noqa: S301
    texts = [r.getMessage() for r in caplog.records if "ExtraSamples" in r.getMessage()]
    assert [text.partition(": ")[0][-5:] for text in texts] == ["a.tif", "b.tif"]


def heard(raster):
    """Read in a worker, and return what GDAL was heard to say."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("rasterio").addHandler(handler)
    raster.read(raster.frame.window)
    return said


def test_workers_do_not_say_it_again(tmp_path, monkeypatch):
    raster = open_raster(looping(tmp_path / "a.tif"))
    monkeypatch.syspath_prepend(str(sys.modules[__name__].__file__).rsplit("/", 1)[0])
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(heard, raster).result() == []
