"""How do samples become what a net wants to see?"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.onnx.card import Input
from geoseg.errors import BackendError
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader, sample
from geoseg.scale import fit_scale
from geoseg.stretch import limits
from geoseg.window import Window

log = logging.getLogger(__name__)

_BYTE = 255.0


@dataclass(frozen=True, slots=True)
class Channels:
    """One linear map per channel: `(clip(sample * factor + offset) - mean) / std`."""

    bands: tuple[int, ...]
    """0-based band of each channel."""
    factor: tuple[float, ...]
    offset: tuple[float, ...]
    highest: float | None
    """Values are cut to 0 and this; None: they are not."""
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def show(self, tile: Pixels, window: Window) -> NDArray[np.float32]:
        """Return a window as (channel, row, col), ready for the net.

        The window may reach beyond the raster, but not beyond the tile inside the raster. Beyond
        the raster the pixels at its edge go on; nodata is shown as the mean.
        """
        seen = window.intersection(tile.window)
        place = seen.slices_in(tile.window)
        gap = ~tile.valid[place]
        out = np.empty((len(self.bands), *seen.shape), np.float32)
        rows = zip(self.bands, self.factor, self.offset, self.mean, self.std, strict=True)
        for plane, (band, factor, offset, mean, std) in zip(out, rows, strict=True):
            # In double precision integers of any size scale without loss.
            value = tile.data[band][place].astype(np.float64) * factor + offset
            if self.highest is not None:
                value = np.clip(value, 0, self.highest)
            with np.errstate(over="ignore"):
                plane[:] = (value - mean) / std
        # NaN and infinities would spread through the net.
        out[:, gap | ~np.isfinite(out).all(axis=0)] = 0
        rows_before, cols_before = seen.y0 - window.y0, seen.x0 - window.x0
        rows_after, cols_after = window.y1 - seen.y1, window.x1 - seen.x1
        pad = ((0, 0), (rows_before, rows_after), (cols_before, cols_after))
        return np.pad(out, pad, mode="edge") if any(map(any, pad)) else out


def fit_channels(wanted: Input, raster: RasterReader, name: str) -> Channels:
    """Fit what depends on the raster: where the bands are, and what samples mean.

    Args:
        wanted: By the net.
        raster: What to look at, once.
        name: Of the backend, for messages.

    Raises:
        BackendError: The raster lacks a band.
    """
    bands = _bands(wanted, raster, name)
    count = len(bands)
    factor, offset, highest = (1.0,) * count, (0.0,) * count, None
    if wanted.samples == "reflectance":
        blocks = [(data, valid) for _, data, valid in sample(raster)]
        scale = fit_scale(raster.bands[bands[0]].dtype, blocks, bands)
        if scale.levels == "display":
            log.warning(
                "'%s' was made for reflectance; this raster seems to hold a stretched picture, "
                "taken for 0..1: expect a worse map, or give it reflectance",
                name,
            )
        factor, offset = (scale.factor,) * count, (scale.offset,) * count
    elif wanted.samples != "raw":
        highest = 1.0 if wanted.samples == "unit" else _BYTE
        ends = limits(raster, bands)
        factor = tuple(highest / (high - low) for low, high in ends)
        offset = tuple(-low * f for (low, _), f in zip(ends, factor, strict=True))
    mean, std = wanted.mean or (0.0,) * count, wanted.std or (1.0,) * count
    return Channels(bands, factor, offset, highest, mean, std)


def _bands(wanted: Input, raster: RasterReader, name: str) -> tuple[int, ...]:
    """Return the 0-based band of each channel."""
    roles = raster.roles
    lacking = [role for role in wanted.bands if role not in roles]
    if lacking:
        known = ", ".join(f"{role}={n}" for role, n in roles.items()) or "no role is known"
        raise BackendError(
            f"backend '{name}' needs bands {', '.join(wanted.bands)}; this raster has "
            f"{len(raster.bands)} bands, {known}: {', '.join(lacking)} missing. Name them with "
            "--bands red=1,green=2,blue=3,nir=4 or --sensor sentinel2"
        )
    return tuple(roles[role] - 1 for role in wanted.bands)
