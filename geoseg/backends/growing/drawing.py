"""How does a region become a mask of the tile? In one piece, without small holes, true to clicks.

A person who clicks a roof wants its chimneys and windows too, and one who clicks a lake wants its
island left out: holes up to a share of the object are filled, unless somebody clicked there.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from geoseg.backends.growing.asked import Asked
from geoseg.backends.growing.fields import bounds
from geoseg.backends.growing.seen import Region, Seen
from geoseg.backends.outlining import Cutout
from geoseg.instances import Mask
from geoseg.window import Window

Clicks = list[tuple[int, int, bool]]
"""Row, column, and whether the click lies in the object."""

HOLE = 0.05
"""A hole of up to this share of the object is filled."""


def drawn(seen: Seen, region: Region, said: Asked, shape: tuple[int, int]) -> Cutout | None:
    """Return the mask of a region in a tile (rows, cols) that the picture shows.

    It holds all pixels of clicks in the object and none of those outside; of two in one pixel of
    the tile, the later counts.
    """
    mask = region.leaves[seen.leaf]
    _part(seen, mask, said)
    if said.box is not None:
        inner = np.zeros_like(mask)
        part = said.box.slices_in(seen.window)
        inner[part] = mask[part]
        mask = inner
    if mask.any():
        mask = _whole(mask, _pixels(said, seen.shape, seen.shape))
    mask = _scaled(mask, shape)
    for row, col, positive in _pixels(said, seen.shape, shape):
        mask[row, col] = positive
    if not mask.any():
        return None
    box = bounds(mask)
    inside = mask[box.slices_in(Window(0, 0, shape[1], shape[0]))]
    return Cutout((box.x0, box.y0, box.x1, box.y1), inside.copy(), region.quality)


def _pixels(said: Asked, picture: tuple[int, int], shape: tuple[int, int]) -> Clicks:
    """Return row and column, in a tile (rows, cols), of clicks in a picture, and their signs."""
    found = []
    for (x, y), positive in said.points:
        row, col = int(y * shape[0] / picture[0]), int(x * shape[1] / picture[1])
        found.append((min(row, shape[0] - 1), min(col, shape[1] - 1), positive))
    return found


def _scaled(mask: Mask, shape: tuple[int, int]) -> Mask:
    """Return a mask of the picture in a tile (rows, cols): of the pixel at each one's middle."""
    if mask.shape == shape:
        return mask
    row, col = (
        ((np.arange(n) + 0.5) * m / n).astype(np.intp)
        for n, m in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(row, col)]


def _part(seen: Seen, mask: Mask, said: Asked) -> None:
    """Divide leaves in which clicks of both kinds lie: each pixel follows the nearest."""
    leaves = [seen.at(*point) for point, _ in said.points]
    for leaf in set(leaves):
        here = [said.points[k] for k, other in enumerate(leaves) if other == leaf]
        if len({positive for _, positive in here}) == 2:
            y, x = np.nonzero(seen.leaf == leaf)
            away = [(x + 0.5 - px) ** 2 + (y + 0.5 - py) ** 2 for (px, py), _ in here]
            signs = np.array([positive for _, positive in here])
            mask[y, x] = signs[np.argmin(away, axis=0)]


def _whole(mask: Mask, clicks: Clicks) -> Mask:
    """Return the pieces with clicks in the object, or else the largest, without small holes."""
    window = Window(0, 0, mask.shape[1], mask.shape[0])
    near = bounds(mask).grow(1, window)
    local = [(r - near.y0, c - near.x0, sign) for r, c, sign in clicks]
    here = [k for k in local if 0 <= k[0] < near.height and 0 <= k[1] < near.width]
    found = np.zeros_like(mask)
    found[near.slices_in(window)] = _filled(_main(mask[near.slices_in(window)], here), here)
    return found


def _main(mask: Mask, clicks: Clicks) -> Mask:
    pieces, count = ndimage.label(mask)
    kept = np.zeros(count + 1, bool)
    kept[[pieces[row, col] for row, col, positive in clicks if positive]] = True
    kept[0] = False
    if not kept.any():
        area = np.bincount(pieces.ravel())
        kept[1 + np.argmax(area[1:])] = True
    main: Mask = kept[pieces]
    return main


def _filled(mask: Mask, clicks: Clicks) -> Mask:
    holes, _ = ndimage.label(~mask)
    small = np.bincount(holes.ravel()) <= HOLE * np.count_nonzero(mask)
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        small[edge] = False
    small[[holes[row, col] for row, col, positive in clicks if not positive]] = False
    small[0] = False
    filled: Mask = mask | small[holes]
    return filled
