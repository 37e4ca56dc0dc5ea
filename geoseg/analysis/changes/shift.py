"""Do two rasters lie on each other? Measured in windows spread over what they share.

Phase correlation (Kuglin and Hines 1975), with a peak between pixels from an upsampled Fourier
transform around the highest one (Guizar-Sicairos et al. 2008, Optics Letters 33:156-158). Nothing
is ever moved: a shift is told, and left to the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.analysis.changes.seen import common_ground, place_in
from geoseg.bands import ROLES
from geoseg.errors import TileFailedError
from geoseg.frame import Floats, Frame
from geoseg.raster import RasterReader, lattice
from geoseg.window import Window

Complexes = NDArray[np.complex128]

SIDE_PX = 256
"""Side of a window."""

BLOCKS = 4
"""Windows per side of the lattice."""

FINE = 100
"""The peak is found to this part of a pixel."""

AGREE_PX = 0.5
"""Windows agree that are no farther from the median."""

TOO_FAR_PX = 0.5
"""A shift that makes change where there is none."""

_LEAST_VALID = 0.75
_LEAST_PX = 32
_LEAST_AGREE = 0.5
_TAPER = 0.25


@dataclass(frozen=True, slots=True)
class Shift:
    """How far the later raster's picture lies from that of the earlier one."""

    dx_px: float
    """To the right, in pixels of the later raster; NaN where it cannot be told."""
    dy_px: float
    """Down."""
    metres: float
    """Its length on the ground; NaN without a CRS."""
    windows: int
    """Windows that were compared."""
    agree: float
    """Part of them that agree, 0..1: confidence."""
    band: str
    """What was compared: a role, or the mean of all bands."""

    @property
    def px(self) -> float:
        """Its length in pixels."""
        return hypot(self.dx_px, self.dy_px)

    @property
    def known(self) -> bool:
        """Whether enough windows agree to believe it."""
        return self.windows > 0 and self.agree >= _LEAST_AGREE

    def __str__(self) -> str:
        """Return it in one line."""
        if not self.known:
            return (
                f"co-registration cannot be told ({self.windows} windows of {self.band}, "
                f"{self.agree:.0%} agree)"
            )
        metres = f", {self.metres:.3g} m" if np.isfinite(self.metres) else ""
        return (
            f"co-registration: {self.px:.2f} px{metres} (dx {self.dx_px:+.2f}, dy "
            f"{self.dy_px:+.2f}; {self.windows} windows of {self.band}, {self.agree:.0%} agree)"
        )

    def warning(self) -> str | None:
        """Return what to do about it, where it is too far."""
        if not self.known or self.px <= TOO_FAR_PX:
            return None
        return (
            f"the later raster lies {self.px:.2f} px off the earlier one (dx {self.dx_px:+.2f}, dy "
            f"{self.dy_px:+.2f}): edges read as change; co-register them first (arosics, or "
            "gdal_translate -a_ullr with moved corners)"
        )


def measure_shift(before: RasterReader, after: RasterReader) -> Shift:
    """Return how far the later of two rasters lies from the earlier one.

    Args:
        before: The earlier one, in any CRS.
        after: The later one, whose pixels are the measure.
    """
    band, numbers = _common_band(before, after)
    found = []
    for window in lattice(common_ground(before.frame, after.frame), BLOCKS, SIDE_PX):
        pair = _pictures(before, after, window, numbers)
        if pair is not None:
            found.append(offset(*pair))
    if not found:
        return Shift(np.nan, np.nan, np.nan, 0, 0.0, band)
    shifts = np.array(found)
    middle = np.median(shifts, axis=0)
    near = np.hypot(*(shifts - middle).T) <= AGREE_PX
    dx, dy = shifts[near].mean(axis=0).tolist() if near.any() else middle.tolist()
    metres = _metres(after.frame, dx, dy)
    return Shift(dx, dy, metres, len(found), float(near.mean()), band)


def _common_band(
    before: RasterReader, after: RasterReader
) -> tuple[str, tuple[int | None, int | None]]:
    """Return a role that both rasters have, and its 0-based bands; None for the mean of all."""
    for role in ("red", "nir", "green", *ROLES):
        if role in before.roles and role in after.roles:
            return role, (before.roles[role] - 1, after.roles[role] - 1)
    return "the mean of bands", (None, None)


def _pictures(
    before: RasterReader,
    after: RasterReader,
    window: Window,
    numbers: tuple[int | None, int | None],
) -> tuple[Floats, Floats] | None:
    """Return both rasters in a window of the later one; None where too little is valid."""
    if min(window.shape) < _LEAST_PX:
        return None
    try:
        later, good = _plane(after, window, numbers[1])
        earlier, known = _resampled(before, after.frame, window, numbers[0])
    except TileFailedError:
        return None
    both = good & known
    if both.mean() < _LEAST_VALID:
        return None
    # The mean is as good as nothing: it has no edges.
    pictures = [np.where(both, p - p[both].mean(), 0.0) for p in (earlier, later)]
    return None if min(p.std() for p in pictures) == 0 else (pictures[0], pictures[1])


def _plane(
    raster: RasterReader, window: Window, number: int | None
) -> tuple[Floats, NDArray[np.bool_]]:
    data, valid = raster.read(window)
    plane = data.mean(axis=0) if number is None else data[number]
    return np.where(valid, plane, 0).astype(np.float64), valid


def _resampled(
    raster: RasterReader, grid: Frame, window: Window, number: int | None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return a raster at the pixels of a window of another grid, interpolated linearly."""
    if raster.frame == grid:
        return _plane(raster, window, number)
    nothing = np.zeros(window.shape)
    xy = place_in(raster.frame, grid, window)
    if not np.isfinite(xy).all():
        return nothing, nothing > 0
    low, high = np.floor(xy.min(axis=0)).astype(int) - 1, np.ceil(xy.max(axis=0)).astype(int) + 1
    part = Window(*low.tolist(), *high.tolist()).intersection(raster.frame.window)
    if part.area == 0 or part.area > 16 * SIDE_PX**2:
        return nothing, nothing > 0
    plane, valid = _plane(raster, part, number)
    place = (xy - (part.x0 + 0.5, part.y0 + 0.5))[:, ::-1].T
    values = ndimage.map_coordinates(plane, place, order=1, mode="nearest")
    good = ndimage.map_coordinates(valid.astype(float), place, order=1, mode="constant")
    return values.reshape(window.shape), (good > 1 - 1e-9).reshape(window.shape)


def offset(before: Floats, after: Floats) -> tuple[float, float]:
    """Return (dx, dy) in pixels by which what is in one picture lies farther in another.

    Args:
        before: (row, col) picture around 0.
        after: (row, col) the same ground.
    """
    fade = np.outer(*(_window(n) for n in before.shape))
    spectra = [np.fft.fft2(picture * fade) for picture in (before, after)]
    cross = spectra[1] * spectra[0].conj()
    # High frequencies are noise, and what was interpolated lacks them.
    cross /= np.maximum(np.abs(cross), np.finfo(float).tiny)
    cross *= _smooth(cross.shape)
    height, width = cross.shape
    coarse = np.fft.ifft2(cross).real
    y, x = np.unravel_index(int(coarse.argmax()), coarse.shape)
    centre = np.array([(y + height // 2) % height - height // 2,
                       (x + width // 2) % width - width // 2], float)  # fmt: skip
    fine = np.arange(-FINE, FINE + 1) / FINE
    near = _upsampled(cross, centre[0] + fine, centre[1] + fine)
    dy, dx = np.unravel_index(int(near.argmax()), near.shape)
    return float(centre[1] + fine[dx]), float(centre[0] + fine[dy])


def _window(size: int) -> Floats:
    """Return weights that fade out towards both ends (Tukey's window)."""
    edge = max(1, int(size * _TAPER))
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    weights: Floats = np.r_[ramp, np.ones(size - 2 * edge), ramp[::-1]]
    return weights


def _smooth(shape: tuple[int, ...]) -> Floats:
    """Return weights of frequencies: a Gaussian that is gone at the highest ones."""
    rows, cols = (np.fft.fftfreq(n)[:, None] for n in shape)
    weights: Floats = np.exp(-(rows**2 + cols.T**2) / (2 * 0.15**2))
    return weights


def _upsampled(cross: Complexes, rows: Floats, cols: Floats) -> Floats:
    """Return the correlation at places between pixels: a product of two Fourier matrices."""
    along_y = np.exp(2j * np.pi * np.outer(rows, np.fft.fftfreq(cross.shape[0])))
    along_x = np.exp(2j * np.pi * np.outer(np.fft.fftfreq(cross.shape[1]), cols))
    found: Floats = (along_y @ cross @ along_x).real
    return found


def _metres(frame: Frame, dx: float, dy: float) -> float:
    """Return the length of a step on the ground, at the middle of a raster."""
    middle = np.array([[frame.width / 2, frame.height / 2]])
    ends = [frame.to_plane(frame.to_crs(p)) for p in (middle, middle + np.array([dx, dy]))]
    return float(frame.between_m(*ends)[0])
