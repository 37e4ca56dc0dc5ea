"""How does a map become a raster of classes? Burnt strip by strip, then made a COG by GDAL.

A pixel belongs to a polygon that holds its centre. Where polygons overlap, the one with the larger
id counts, which lies later in the map. Values are 1, 2, ... in the order of the legend; 0 is
nodata. Names are in the metadata of the band (`CLASS_1`, ...), colours in its colour table.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.export.burn import Strip, burn, lean, strips
from geoseg.export.check import LostError
from geoseg.export.read import Map
from geoseg.export.single import put
from geoseg.export.style import rgb
from geoseg.export.write import Place
from geoseg.frame import Frame
from geoseg.legend import Legend


def write_cog(final: Path, found: Map, frame: Frame, place: Place) -> None:
    """Write the classes of a map as a cloud-optimised GeoTIFF.

    Args:
        final: The file.
        found: The map.
        frame: The pixels to burn it into, in the map's CRS.
        place: Where it grows.

    Raises:
        OutputError: It cannot be written.
        MapError: The map cannot be read.
    """

    def fill(folder: Path) -> tuple[Path, list[int]]:
        burnt = folder / "burnt.tif"
        sums = burn(burnt, frame, _dtype(found.legend), _painted(found, frame))
        page = folder / "burnt.vrt"
        page.write_bytes(_page(burnt.name, frame, found.legend))
        return page, sums

    put_cog(final, place, fill, strips(frame))


def put_cog(
    final: Path,
    place: Place,
    fill: Callable[[Path], tuple[Path, list[int]]],
    rows: Sequence[Strip],
) -> None:
    """Write a cloud-optimised GeoTIFF of what a raster holds.

    Args:
        final: The file.
        place: Where it grows.
        fill: Writes the raster into a folder; returns it, and a checksum (CRC-32) of all bands
            for each strip.
        rows: The strips, from top to bottom.

    Raises:
        OutputError: It cannot be written.
    """

    def make(part: Path) -> list[int]:
        with lean():
            return copy(part)

    def copy(part: Path) -> list[int]:
        try:
            whole, sums = fill(part.parent)
            rasterio.shutil.copy(
                whole,
                part,
                driver="COG",
                compress="DEFLATE",
                predictor="YES",
                overview_resampling="NEAREST",
                bigtiff="IF_SAFER",
            )
        except RasterioError as error:
            raise OSError(str(error.__cause__ or error)) from error
        return sums

    put(final, place, make, lambda part, sums: _check(part, sums, rows))


def _dtype(legend: Legend) -> str:
    return "uint8" if len(legend.classes) <= np.iinfo(np.uint8).max else "uint16"


def _painted(found: Map, frame: Frame) -> Iterator[tuple[NDArray[np.object_], NDArray[np.int64]]]:
    for batch in found.batches():
        yield in_pixels(batch, frame), class_values(batch, found)


def in_pixels(batch: pa.RecordBatch, frame: Frame) -> NDArray[np.object_]:
    """Return (n,) the polygons of rows in pixel corner coordinates."""
    shapes = shapely.from_wkb(batch.column("geometry").to_numpy(zero_copy_only=False))
    moved: NDArray[np.object_] = shapely.transform(shapes, frame.to_pixels)
    return moved


def class_values(batch: pa.RecordBatch, found: Map) -> NDArray[np.int64]:
    """Return (n,) the numbers, 1 and up, that the classes of rows have in the legend."""
    value_of = {c.name: number for number, c in enumerate(found.legend.classes, 1)}
    return np.array([value_of[name] for name in batch.column("class").to_pylist()], np.int64)


def _page(burnt: str, frame: Frame, legend: Legend) -> bytes:
    """Return a VRT that gives what was burnt its place, names and colours."""
    size = {"rasterXSize": str(frame.width), "rasterYSize": str(frame.height)}
    root = ET.Element("VRTDataset", size)
    if frame.crs is not None:
        ET.SubElement(root, "SRS").text = frame.crs
    if frame.crs is not None or frame.transform != Affine.identity():
        place = ", ".join(repr(float(v)) for v in frame.transform.to_gdal())
        ET.SubElement(root, "GeoTransform").text = place
    kind = {"uint8": "Byte", "uint16": "UInt16"}[_dtype(legend)]
    band = ET.SubElement(root, "VRTRasterBand", dataType=kind, band="1")
    names = ET.SubElement(band, "Metadata")
    for number, land_class in enumerate(legend.classes, 1):
        ET.SubElement(names, "MDI", key=f"CLASS_{number}").text = land_class.name
    ET.SubElement(band, "NoDataValue").text = "0"
    ET.SubElement(band, "ColorInterp").text = "Palette"
    table = ET.SubElement(band, "ColorTable")
    colours = [(0, 0, 0, 0), *((*rgb(c.colour), 255) for c in legend.classes)]
    for colour in colours:
        ET.SubElement(table, "Entry", {f"c{k}": str(v) for k, v in enumerate(colour, 1)})
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = burnt
    ET.SubElement(source, "SourceBand").text = "1"
    page: bytes = ET.tostring(root, encoding="utf-8")
    return page


def _check(part: Path, sums: list[int], rows: Sequence[Strip]) -> None:
    """Compare a closed file with what was burnt.

    Raises:
        LostError: A pixel is another, or the file cannot be read.
    """
    try:
        with rasterio.open(part) as source:
            for (y0, y1), wanted in zip(rows, sums, strict=True):
                where = RasterioWindow(0, y0, source.width, y1 - y0)
                if zlib.crc32(source.read(window=where).tobytes()) != wanted:
                    raise LostError(f"rows {y0}..{y1} are not in the file as they were burnt")
    except RasterioError as error:
        raise LostError(f"what was written cannot be read back: {error}") from error
