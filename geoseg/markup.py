"""How is XML of unknown origin read? Without a document type, and so without entities."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import RasterError

MAX_BYTES = 64 * 2**20
"""A larger page is refused."""

_DOCTYPE = re.compile(r"<!\s*(doctype|entity)", re.IGNORECASE)


def parse(path: str | Path) -> ET.Element:
    """Return the root element of an XML file.

    Raises:
        RasterError: Too large, not UTF-8, not XML, or with a document type.
    """
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise RasterError(f"{path} is XML of {size} bytes, which is too large")
    try:
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RasterError(f"{path} is not a raster that can be opened: not UTF-8") from error
    if _DOCTYPE.search(text):
        raise RasterError(f"{path} has a document type, which no raster needs; it is refused")
    try:
        return ET.fromstring(text)  # noqa: S314  there is no document type
    except ET.ParseError as error:
        raise RasterError(f"{path} is not a raster that can be opened: {error}") from error


def name(element: ET.Element) -> str:
    """Return the name of an element in lower case: GDAL takes any."""
    return str(element.tag).lower()


def attribute(element: ET.Element, wanted: str) -> str:
    """Return an attribute by its name in lower case; empty where there is none."""
    return next((value for key, value in element.attrib.items() if key.lower() == wanted), "")
