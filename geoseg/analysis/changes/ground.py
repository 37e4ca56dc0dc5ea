"""How large is each pixel on the ground? See `geoseg.analysis.pixelarea`."""

from geoseg.analysis.pixelarea import pixels_m2

__all__ = ["pixels_m2"]
