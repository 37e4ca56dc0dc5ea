"""Whose methods are these? What a report cites, and only if it uses it."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from geoseg.analysis.page.document import element, section

AREA, SAMPLE, DESIGN, CHANGE = "area", "sample", "design", "change"

_SOURCES = {
    AREA: "Snyder, J. P. (1987). Map projections: a working manual. USGS Professional Paper 1395. "
    "Areas on the ellipsoid.",
    SAMPLE: "Olofsson, P., Foody, G. M., Herold, M., Stehman, S. V., Woodcock, C. E., & Wulder, "
    "M. A. (2014). Good practices for estimating area and assessing accuracy of land change. "
    "Remote Sensing of Environment, 148, 42\N{EN DASH}57. doi:10.1016/j.rse.2014.02.015. Accuracy "
    "and areas from a sample.",
    DESIGN: "Stehman, S. V. (2014). Estimating area and map accuracy for stratified random "
    "sampling when the strata are different from the map classes. International Journal of Remote "
    "Sensing, 35, 4923\N{EN DASH}4939. doi:10.1080/01431161.2014.930207. Standard errors.",
    CHANGE: "Pontius, R. G., Shusas, E., & McEachern, M. (2004). Detecting important categorical "
    "land changes while accounting for persistence. Agriculture, Ecosystems & Environment, 101, "
    "251\N{EN DASH}268. doi:10.1016/j.agee.2003.09.008. Gains and losses.",
}


def sources(used: Iterable[str]) -> ET.Element:
    """Return the list of what is cited, in the order of the report."""
    items = [element("li", _SOURCES[key]) for key in dict.fromkeys(used)]
    return section("Sources of the methods", element("ol", *items, class_="sources"),
                   anchor="sources")  # fmt: skip
