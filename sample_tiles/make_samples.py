# /// script
# requires-python = ">=3.11"
# dependencies = ["rasterio>=1.4"]
# ///
"""Make the sample tiles again from the packages that hold the source scenes.

Two packages come from PyPI (``pip download --no-deps``) and one from Debian
(``apt-get download``). On a system without apt, fetch the Debian package by
hand and pass it with ``--deb``. Every source raster is checked against its
SHA-256, so a changed package stops the script rather than changing a tile.

    python make_samples.py [--out FOLDER] [--deb r-cran-stars_0.6-0-4_all.deb]

With one version of GDAL the output is the same byte for byte on every run.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

LOG = logging.getLogger("make_samples")

AR_MAGIC = b"!<arch>\n"
AR_HEADER_SIZE = 60

ROLE_COLORS = {
    "red": ColorInterp.red,
    "green": ColorInterp.green,
    "blue": ColorInterp.blue,
    "nir": ColorInterp.nir,
    "swir1": ColorInterp.swir,
    "swir2": ColorInterp.swir,
}
RGB = ("red", "green", "blue")
SIX_BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")


@dataclass(frozen=True)
class Source:
    """A raster inside a package."""

    package: str
    """Name and version as pip takes it, or the name of a Debian package."""
    member: str
    """Path of the raster inside the package."""
    sha256: str
    """Checksum of the raster."""
    debian: bool = False
    """Whether the package is a Debian package."""


@dataclass(frozen=True)
class Tile:
    """A cut of a source raster, and how to write it."""

    name: str
    source: Source
    bands: tuple[int, ...]
    """Source bands to keep, in output order."""
    roles: tuple[str, ...]
    """Role of each output band, written as its description."""
    nodata: int | None
    note: str
    """Origin, written as the TIFF image description."""
    window: tuple[int, int, int, int] | None = None
    """Column, row, width and height of the cut; None keeps the whole raster."""


TILES = (
    Tile(
        name="rgb_trees_florida.tif",
        source=Source(
            package="deepforest==2.1.0",
            member="deepforest/data/OSBS_029.tif",
            sha256="8521dbb5e8063d37d61895867dfcca7476491d1345103dc1b3fd96f71b186353",
        ),
        bands=(1, 2, 3),
        roles=RGB,
        # The source says 255, but its 255s are sunlit sand, not gaps.
        nodata=None,
        note="NEON airborne camera, plot OSBS_029, Florida; from deepforest 2.1.0",
    ),
    Tile(
        name="multispectral_coast_olinda.tif",
        source=Source(
            package="r-cran-stars",
            member="usr/lib/R/site-library/stars/tif/L7_ETMs.tif",
            sha256="3b722bf4470144b6691bf720bac08f47c99464acff4dd258252891c06312678e",
            debian=True,
        ),
        bands=(1, 2, 3, 4, 5, 6),
        roles=SIX_BANDS,
        nodata=None,
        note="Landsat 7 ETM+ (NASA/USGS), Olinda, Brazil; from the R package stars",
    ),
    Tile(
        name="multispectral_geographic_great_salt_lake.tif",
        source=Source(
            package="localtileserver==1.0.0",
            member="localtileserver/tiler/data/landsat.tif",
            sha256="a975165abd0f643e7865b2ba9f19d02eb8eb57a274cdcd4bdacca30107c81b66",
        ),
        bands=(1, 2, 3, 4, 5, 7),  # Band 6 is the thermal one.
        roles=SIX_BANDS,
        nodata=None,
        window=(896, 202, 512, 1280),
        note="Landsat 7 ETM+ (NASA/USGS), Great Salt Lake; from localtileserver 1.0.0",
    ),
    Tile(
        name="rgb_nodata_wedge_bahamas.tif",
        source=Source(
            package="localtileserver==1.0.0",
            member="localtileserver/tiler/data/bahamas_rgb.tif",
            sha256="0191f0546a235c0798839c6ebd5bd0458fc3a4ed1f8bfde0aae7d7df4011cc09",
        ),
        bands=(1, 2, 3),
        roles=RGB,
        nodata=0,
        window=(0, 206, 512, 512),
        note="Landsat 7 ETM+ (NASA/USGS), Bahamas; from localtileserver 1.0.0",
    ),
)


def run(program: str, *arguments: str, folder: Path) -> None:
    """Run a program in a folder and fail if it fails."""
    path = shutil.which(program)
    if path is None:
        message = f"{program} is not installed"
        raise FileNotFoundError(message)
    subprocess.run([path, *arguments], cwd=folder, check=True)  # noqa: S603 - fixed commands


def only_file(folder: Path, pattern: str) -> Path:
    """Return the one file in a folder that matches a pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        message = f"expected one {pattern} in the download, found {len(found)}"
        raise FileNotFoundError(message)
    return found[0]


def download_wheel(package: str, folder: Path) -> Path:
    """Download one wheel from PyPI, without its dependencies."""
    run(
        sys.executable,
        *("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"),
        *("--ignore-requires-python", package),
        folder=folder,
    )
    return only_file(folder, "*.whl")


def download_deb(package: str, folder: Path) -> Path:
    """Download one package from Debian, without its dependencies."""
    run("apt-get", "download", "--quiet", package, folder=folder)
    return only_file(folder, "*.deb")


def fetch(package: str, folder: Path, *, debian: bool) -> Path:
    """Download a package into a new folder of its own."""
    LOG.info("downloading %s", package)
    own = Path(tempfile.mkdtemp(dir=folder))
    return download_deb(package, own) if debian else download_wheel(package, own)


def read_wheel(path: Path, member: str) -> bytes:
    """Read one file out of a wheel."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)


def deb_data(path: Path) -> bytes:
    """Return the data archive of a Debian package, which is an ``ar`` archive."""
    content = path.read_bytes()
    if not content.startswith(AR_MAGIC):
        message = f"{path.name} is not a Debian package"
        raise ValueError(message)
    start = len(AR_MAGIC)
    while start < len(content):
        header = content[start : start + AR_HEADER_SIZE]
        size = int(header[48:58])
        start += AR_HEADER_SIZE
        if header.startswith(b"data.tar"):
            return content[start : start + size]
        start += size + size % 2
    message = f"{path.name} holds no data archive"
    raise ValueError(message)


def read_deb(path: Path, member: str) -> bytes:
    """Read one file out of a Debian package."""
    with tarfile.open(fileobj=io.BytesIO(deb_data(path))) as archive:
        file = archive.extractfile(f"./{member}")
        if file is None:
            message = f"{member} in {path.name} is not a file"
            raise ValueError(message)
        return file.read()


def read_source(source: Source, package: Path) -> bytes:
    """Read a source raster out of its package and check it."""
    reader = read_deb if source.debian else read_wheel
    content = reader(package, source.member)
    if hashlib.sha256(content).hexdigest() != source.sha256:
        message = f"{source.member} in {package.name} is not the expected file"
        raise ValueError(message)
    return content


def write_tile(tile: Tile, content: bytes, path: Path) -> None:
    """Cut a source raster and write the cut as a tiled, compressed GeoTIFF."""
    with rasterio.MemoryFile(content) as memory, memory.open() as source:
        window = Window(*(tile.window or (0, 0, source.width, source.height)))
        pixels = source.read(tile.bands, window=window)
        crs, transform = source.crs, source.window_transform(window)
    count, height, width = pixels.shape
    path.unlink(missing_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=pixels.dtype,
        count=count,
        height=height,
        width=width,
        crs=crs,
        transform=transform,
        nodata=tile.nodata,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        interleave="band",
        photometric="RGB" if tile.roles == RGB else "MINISBLACK",
        compress="deflate",
        predictor=2,
        zlevel=9,
        num_threads=1,
    ) as target:
        target.colorinterp = [ROLE_COLORS[role] for role in tile.roles]
        target.descriptions = tile.roles
        target.update_tags(TIFFTAG_IMAGEDESCRIPTION=tile.note)
        target.write(pixels)


def make_all(out: Path, deb: Path | None) -> None:
    """Download every package once and write every tile."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        packages: dict[str, Path] = {}
        for tile in TILES:
            source = tile.source
            if source.package not in packages:
                given = deb if source.debian else None
                packages[source.package] = given or fetch(
                    source.package, Path(name), debian=source.debian
                )
            path = out / tile.name
            write_tile(tile, read_source(source, packages[source.package]), path)
            LOG.info("%s: %d bytes", path.name, path.stat().st_size)


def main() -> None:
    """Read the command line and make the tiles."""
    parser = argparse.ArgumentParser(description="Make the sample tiles again.")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).resolve().parent,
        help="folder to write to (default: the folder of this script)",
    )
    parser.add_argument("--deb", type=Path, help="r-cran-stars package to use, instead of apt-get")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_all(arguments.out, arguments.deb)


if __name__ == "__main__":
    main()
