"""What does a VRT reach for?

A VRT is a page of XML that names other files. GDAL opens it without looking for them, and would
follow it anywhere: out of its folder, over the network, into any file's bytes, into Python code.
Here every name is found and looked at before GDAL sees the page.

Only elements that are known to reach nowhere else are taken; GDAL reads names of elements in any
case, so this does, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from geoseg.access import Access, check_file, check_network, is_network, without_secrets
from geoseg.errors import RasterError
from geoseg.markup import attribute, name, parse
from geoseg.window import Window

_FILES = {"sourcefilename", "sourcedataset"}
"""Elements whose text names a file."""

_KNOWN = _FILES | {
    known.lower()
    for known in (
        "VRTDataset", "SRS", "GeoTransform", "GCPList", "GCP", "Metadata", "MDI", "MaskBand",
        "OverviewList", "BlockXSize", "BlockYSize", "VRTRasterBand", "Description", "UnitType",
        "Offset", "Scale", "ColorInterp", "ColorTable", "Entry", "CategoryNames", "Category",
        "NoDataValue", "HideNoDataValue", "Histograms", "HistItem", "HistMin", "HistMax",
        "BucketCount", "IncludeOutOfRange", "Approximate", "HistCounts", "Overview",
        "SimpleSource", "ComplexSource", "AveragedSource", "KernelFilteredSource", "Kernel",
        "Size", "Coefs", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "ScaleOffset",
        "ScaleRatio", "Exponent", "SrcMin", "SrcMax", "DstMin", "DstMax", "LUT", "NODATA",
        "UseMaskBand", "ColorTableComponent", "Resampling", "PixelFunctionType",
        "PixelFunctionLanguage", "PixelFunctionArguments", "SourceTransferType", "BufferRadius",
        "ImageOffset", "PixelOffset", "LineOffset", "ByteOrder",
        # gdalwarp -of VRT
        "GDALWarpOptions", "WarpMemoryLimit", "ResampleAlg", "WorkingDataType", "Option",
        "Transformer", "ApproxTransformer", "MaxError", "BaseTransformer", "GenImgProjTransformer",
        "SrcGeoTransform", "SrcInvGeoTransform", "DstGeoTransform", "DstInvGeoTransform",
        "Options", "ReprojectTransformer", "ReprojectionTransformer", "SourceSRS", "TargetSRS",
        "BandList", "BandMapping", "SrcNoDataReal", "SrcNoDataImag", "DstNoDataReal",
        "DstNoDataImag", "SrcAlphaBand", "DstAlphaBand", "Cutline", "CutlineBlendDist",
        "MultiThreaded",
    )
}  # fmt: skip

_REACHING_OPTIONS = ("DEM", "GEOLOC", "COORDINATE_OPERATION", "CUTLINE_DS")
"""Parts of the names of warping options whose values name files."""

_PREFIX = re.compile(r"\w{2,}:")
"""`NETCDF:a.nc:var` and its kin name a driver, and with it anything."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A file or address that a VRT names."""

    name: str
    """Absolute path, or what GDAL is told."""
    window: Window | None
    """The pixels of the VRT that come from it; None: any."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a VRT says, as far as it must be known before GDAL sees it."""

    reaches: tuple[Reach, ...]
    """Files and addresses, in order."""
    nodata: tuple[str, ...]
    """Nodata values of the bands that have one, as written."""


def read(path: str | Path, access: Access) -> Page:
    """Return what a local VRT reaches for, its names made whole.

    Args:
        path: The VRT; relative names are of its folder, for a link of the folder it points to.
        access: What the run allows.

    Raises:
        RasterError: Not a VRT; it holds Python code; or, unless the input is trusted, it names
            what lies outside its folder, or has elements that are not known to be harmless. A
            source that is not there is refused in any case.
    """
    shown = str(path)
    root = parse(path)
    if name(root) != "vrtdataset":
        raise RasterError(f"{shown} is not a VRT: it begins with <{root.tag}>")
    folder = Path(path).resolve().parent
    _refuse_code(shown, root)
    if not access.trust_input:
        _refuse_unknown(shown, root)
    found = list(_reaches(shown, folder, root))
    for reach in found:
        _check(shown, folder, reach, access)
    if not access.trust_input:
        _refuse_raw(shown, root)
    nodata = tuple((e.text or "").strip() for e in root.iter() if name(e) == "nodatavalue")
    return Page(tuple(found), nodata)


def _refuse_code(shown: str, root: Element) -> None:
    for element in root.iter():
        language = (element.text or "").strip().lower()
        if name(element) == "pixelfunctioncode" or (
            name(element) == "pixelfunctionlanguage" and language not in ("", "c")
        ):
            raise RasterError(
                f"{shown} holds python code for its pixels, which is never run; write its result "
                "to a GeoTIFF where you trust it: gdal_translate"
            )


def _refuse_unknown(shown: str, root: Element) -> None:
    for element in root.iter():
        option = (attribute(element, "key") or attribute(element, "name")).upper()
        warping = name(element) == "option" and any(part in option for part in _REACHING_OPTIONS)
        if warping or name(element) not in _KNOWN:
            what = f"option {option}" if warping else f"element <{element.tag}>"
            raise RasterError(
                f"{shown} has the {what}, which may reach outside the file; pass --trust-input if "
                "it comes from someone you trust"
            )


def _refuse_raw(shown: str, root: Element) -> None:
    for element in root.iter():
        if attribute(element, "subclass").lower() == "vrtrawrasterband":
            raise RasterError(
                f"{shown} takes the bytes of any file for pixels (VRTRawRasterBand); pass "
                "--trust-input if it comes from someone you trust"
            )


def _reaches(shown: str, folder: Path, root: Element) -> Iterator[Reach]:
    for parent in root.iter():
        for element in parent:
            if name(element) not in _FILES:
                continue
            source = (element.text or "").strip()
            if not source:
                raise RasterError(f"{shown} names a source without a name")
            if attribute(element, "relativetovrt") == "1" and not is_network(source):
                source = str(folder / source)
            yield Reach(source, _window(parent))


def _window(source: Element) -> Window | None:
    for rect in source:
        if name(rect) == "dstrect":
            try:
                x, y, w, h = (
                    float(attribute(rect, key)) for key in ("xoff", "yoff", "xsize", "ysize")
                )
                return Window(math.floor(x), math.floor(y), math.ceil(x + w), math.ceil(y + h))
            except (ValueError, OverflowError):
                return None
    return None


def _check(shown: str, folder: Path, reach: Reach, access: Access) -> None:
    trusted = access.trust_input
    if is_network(reach.name):
        check_network(reach.name, access)
        if not trusted:
            raise RasterError(
                f"{shown} reaches over the network to {without_secrets(reach.name)}; pass "
                "--trust-input if it comes from someone you trust"
            )
        return
    if _PREFIX.match(reach.name) or reach.name.startswith(("/vsi", "<")):
        if not trusted:
            raise RasterError(
                f"{shown} reaches outside its folder with '{reach.name[:80]}'; pass --trust-input "
                "if it comes from someone you trust"
            )
        return
    if not trusted and not Path(reach.name).resolve().is_relative_to(folder):
        raise RasterError(
            f"{shown} reaches outside its folder, to {reach.name}; pass --trust-input if it comes "
            "from someone you trust"
        )
    if not Path(reach.name).exists():
        raise RasterError(f"{shown} has a missing source: {reach.name} is not there")
    check_file(reach.name)
