"""Which options do several commands share? What each is called, and what its help says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from geoseg.legend import Legend

Rasters = Annotated[
    list[str],
    typer.Argument(
        metavar="RASTER",
        help="GeoTIFF, COG, VRT, JPEG 2000; path, URL or s3://. Several on one pixel grid, or a "
        "folder of them, are one mosaic: where they overlap, the first counts",
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option("--prompt", help='Classes in words: "forest, water"', show_default=False),
]
LegendFile = Annotated[
    str | None,
    typer.Option(
        "--legend",
        help="Legend file (TOML), or deforestation, wetland, landuse",
        show_default=False,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option("--bands", help="Band numbers by role: red=4,green=3,blue=2 (before --sensor)"),
]
Sensor = Annotated[
    str | None,
    typer.Option("--sensor", help="Band order: rgb, naip, landsat8, sentinel2, planetscope"),
]
Tile = Annotated[int, typer.Option("--tile", help="Side of a tile in pixels")]
Overlap = Annotated[int, typer.Option("--overlap", help="Pixels that neighbouring tiles share")]
Aoi = Annotated[
    str | None,
    typer.Option(
        "--aoi",
        help="Polygons of a vector layer: read nothing else, and cut the map to them",
        show_default=False,
    ),
]
Workers = Annotated[int, typer.Option("--workers", help="Processes")]
Batch = Annotated[int, typer.Option("--batch", help="Tiles given to the backend at once")]
TrustInput = Annotated[
    bool,
    typer.Option(
        "--trust-input",
        help="Let a VRT read outside its folder and over the network, and MRF and WMS files be "
        "opened",
    ),
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Map the rest of a damaged raster; exit code 1")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout")]
Events = Annotated[
    bool,
    typer.Option(
        "--json", help="Print JSON lines on stdout: hello, progress, log, error; last the result"
    ),
]
WatchStdin = Annotated[
    bool, typer.Option("--watch-stdin", help="End as on SIGTERM when stdin ends")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary")]
Memory = Annotated[
    str | None,
    typer.Option("--memory", help="Most memory the run may take: 2GB", metavar="SIZE"),
]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        help="Keep what segmenters' encoders made of pictures, in a folder or in auto (your own "
        "cache), and use what is there",
        metavar="DIR|auto",
        show_default=False,
    ),
]
CacheSize = Annotated[
    str, typer.Option("--cache-size", help="Most disk that --cache may take", metavar="SIZE")
]
Offline = Annotated[bool, typer.Option("--offline", help="Open no socket: weights must be here")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output")]

BackendOfRasters = Annotated[
    str | None, typer.Option("--backend", help="For rasters, as segment  [default: spectral]")
]
ThresholdOfRasters = Annotated[
    float | None, typer.Option("--threshold", help="For rasters: least score, as segment")
]
CompositeOfRasters = Annotated[
    str | None,
    typer.Option("--composite", help="For rasters: roles that models see, as segment"),
]
CloudsOfRasters = Annotated[
    str | None,
    typer.Option("--mask-clouds", help="For rasters: backend that knows cloud and shadow: csmask"),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only", help="Of a reviewed map: accepted (as is, or edited), or kept (all but rejected)"
    ),
]
Column = Annotated[str, typer.Option("--column", help="Column of the classes in layers of others")]


def asked(prompt: str | None, legend: str | None) -> Legend | None:
    """Return the legend that is asked for by --prompt or --legend; None where neither is given.

    Raises:
        ConfigError: Both are given, or one is no legend.
    """
    from geoseg.legend import Legend

    if prompt is not None and legend is not None:
        raise ConfigError("--prompt and --legend are both given; pass either one")
    if prompt is not None:
        return Legend.parse(prompt)
    return None if legend is None else Legend.load(legend)


Simplify = Annotated[
    str | None,
    typer.Option("--simplify", help="Farthest an outline may move: 2px, 1.5m", metavar="LENGTH"),
]
Smooth = Annotated[
    bool,
    typer.Option("--smooth", help="Round the corners of outlines, within --simplify (2px)"),
]
MinArea = Annotated[
    str | None,
    typer.Option("--min-area", help="Least area of a polygon: 500m2, 0.5ha, 20px", metavar="AREA"),
]
MinHole = Annotated[
    str | None,
    typer.Option("--min-hole", help="Least area of a hole; smaller are filled", metavar="AREA"),
]
