"""How is a map found in a catalogue? A STAC item of the map and its raster, with the pixel grid.

Time is when the picture was taken. Only the raster or the user can tell: an item with a time that
is made up would be found where it does not belong.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely

from geoseg.errors import ConfigError, MapError
from geoseg.export.formats import CRS84
from geoseg.export.read import Map
from geoseg.export.single import put_bytes
from geoseg.export.write import Place
from geoseg.frame import Frame
from geoseg.whereabouts import from_folder

VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"

EDGE_PIECES = 16
"""Into how many pieces each side of a raster is cut: what is straight there is a curve here."""

_MEDIA = {
    ".gpkg": "application/geopackage+sqlite3",
    ".parquet": "application/vnd.apache.parquet",
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".jp2": "image/jp2",
    ".png": "image/png",
}

_TIFF_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a raster lies, in longitude and latitude."""

    bbox: tuple[float, float, float, float]
    """West, south, east, north; west is larger than east where it crosses the antimeridian."""
    shape: shapely.Geometry
    """Its outline, in two parts where it crosses the antimeridian."""


def write_item(final: Path, found: Map, rasters: list[str], when: str, place: Place) -> None:
    """Write a STAC item.

    Args:
        final: The file.
        found: The map.
        rasters: Paths and URLs of the raster, or of its parts.
        when: Time of the picture, as `moment` gives it.
        place: Where it grows.

    Raises:
        MapError: The map has no CRS.
        OutputError: It cannot be written.
    """
    frame = found.made_by().frame
    if frame.crs is None:
        raise MapError(
            f"{found.path} has no CRS, and a STAC item says where on Earth it is; set that of the "
            "raster with gdal_edit -a_srs and make the map anew"
        )
    outline = outline_of(frame)
    folder = final.absolute().parent
    known = pyproj.CRS.from_wkt(frame.crs).to_authority()
    item = {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION],
        "id": found.path.stem,
        "bbox": outline.bbox,
        "geometry": json.loads(shapely.to_geojson(outline.shape)),
        "properties": {
            "datetime": when,
            "proj:code": None if known is None else ":".join(known),
            **({"proj:wkt2": frame.crs} if known is None else {}),
            "proj:shape": [frame.height, frame.width],
            "proj:transform": list(frame.transform)[:6],
        },
        "links": [],
        "assets": {
            "map": {**_asset(str(found.path), folder), "title": "Polygons", "roles": ["data"]},
            **{
                "raster" if len(rasters) == 1 else f"raster-{number}": {
                    **_asset(raster, folder),
                    "roles": ["source"],
                }
                for number, raster in enumerate(rasters, 1)
            },
        },
    }
    put_bytes(final, place, [(json.dumps(item, indent=1) + "\n").encode()])


def _asset(place: str, folder: Path) -> dict[str, Any]:
    media = _MEDIA.get(Path(place).suffix.lower())
    return {"href": from_folder(place, folder), **({"type": media} if media else {})}


def moment(asked: str | None, tagged: str | None, changed_s: float | None) -> str:
    """Return when a picture was taken, in UTC as RFC 3339 writes it.

    Args:
        asked: ISO 8601, or `file` for the raster's time of change.
        tagged: TIFFTAG_DATETIME of the raster, which has no time zone: taken for UTC.
        changed_s: Time of change of the raster's file, seconds since 1970.

    Raises:
        ConfigError: It is not known, or no time.
    """
    if asked == "file":
        if changed_s is None:
            raise ConfigError("--datetime file: the raster is no file here; give a time instead")
        return _rfc3339(datetime.fromtimestamp(int(changed_s), UTC))
    if asked is not None:
        try:
            given = datetime.fromisoformat(asked)
        except ValueError as error:
            raise ConfigError(
                f"--datetime '{asked}' is no time; write 2026-05-01T10:00:00Z, or 'file'"
            ) from error
        return _rfc3339(given if given.tzinfo else given.replace(tzinfo=UTC))
    found = _TIFF_TIME.fullmatch((tagged or "").strip("\0 "))
    if found is not None:
        year, month, day, clock = found.groups()
        try:
            return _rfc3339(datetime.fromisoformat(f"{year}-{month}-{day}T{clock}+00:00"))
        except ValueError:
            pass
    raise ConfigError(
        "the raster does not say when it was taken (TIFFTAG_DATETIME); pass --datetime "
        "2026-05-01T10:00:00Z, or --datetime file for its time of change"
    )


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def outline_of(frame: Frame) -> Outline:
    """Return where a raster with a CRS lies.

    Raises:
        MapError: Its CRS knows no longitude and latitude there.
    """
    w, h = frame.width, frame.height
    ring_px = shapely.segmentize(shapely.box(0, 0, w, h).exterior, max(w, h) / EDGE_PIECES)
    to_lonlat = pyproj.Transformer.from_crs(frame.crs, CRS84, always_xy=True)
    xy = frame.to_crs(shapely.get_coordinates(ring_px))
    lon, lat = to_lonlat.transform(xy[:, 0], xy[:, 1])
    if not np.isfinite((lon, lat)).all():
        raise MapError("the raster has no longitude and latitude; is its CRS the right one?")
    lon, lat = np.unwrap(lon, period=360), np.clip(lat, -90, 90)
    if abs(lon[-1] - lon[0]) > 180:
        # Around a pole: all longitudes, from there to the farthest edge.
        south, north = (float(lat.min()), 90.0) if lat.mean() > 0 else (-90.0, float(lat.max()))
        return Outline((-180.0, south, 180.0, north), shapely.box(-180, south, 180, north))
    if lon.max() - lon.min() >= 360:
        lon = np.clip(lon, lon.min(), lon.min() + 360)
    lon -= 360 * np.floor((lon.min() + 180) / 360)
    whole = shapely.make_valid(shapely.Polygon(np.column_stack([lon, lat])))
    west, south, east, north = (float(v) for v in whole.bounds)
    if east <= 180:
        return Outline((west, south, east, north), shapely.orient_polygons(whole))
    left = shapely.intersection(whole, shapely.box(-180, -90, 180, 90))
    right = shapely.intersection(whole, shapely.box(180, -90, 540, 90))
    back = shapely.transform(right, lambda xy: xy - (360, 0))
    both = shapely.multipolygons([left, back])
    return Outline((west, south, east - 360, north), shapely.orient_polygons(both))
