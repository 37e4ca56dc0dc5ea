"""What becomes of small patches and holes, reckoned on the whole image with nothing clever."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import ndimage


def ripples(height: int, width: int, random: np.random.Generator, count: int) -> np.ndarray:
    """Draw class index + 1 per pixel, 0 for none: thin rings inside each other, with crumbs."""
    seeds = random.integers(0, (height, width), (int(random.integers(1, 6)), 2))
    y, x = np.mgrid[:height, :width]
    away = np.abs([y - seeds[:, :1, None], x - seeds[:, 1:, None]]).max(0).min(0)
    image = random.integers(0, count + 1, away.max() + 1)[away // int(random.integers(1, 4))]
    crumbs = random.random((height, width)) < random.choice([0, 0.02])
    image[crumbs] = random.integers(0, count + 1, int(crumbs.sum()))
    return image.astype(np.int32)


def numbered(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the connected regions of an image of class index + 1 by first pixel.

    Returns:
        (row, col) numbers, 0 for none, and the class index of each number; that of 0 is -1.
    """
    ids, found = np.zeros(image.shape, np.int64), 0
    for cls in np.unique(image[image > 0]).tolist():
        labels, count = ndimage.label(image == cls)
        ids[labels > 0] = labels[labels > 0] + found
        found += count
    first = np.unique(ids.ravel(), return_index=True)
    order = [n for _, n in sorted(zip(first[1].tolist(), first[0].tolist(), strict=True)) if n]
    lut = np.zeros(found + 1, np.int64)
    lut[order] = np.arange(1, found + 1)
    ids = lut[ids]
    cls = np.full(found + 1, -1)
    cls[ids] = image - 1
    cls[0] = -1
    return ids, cls


def touching(ids: np.ndarray) -> Counter[tuple[int, int]]:
    """Count the pixel edges between each two numbers, in both orders."""
    edges: Counter[tuple[int, int]] = Counter()
    for one, other in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
        for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
            if a != b and a and b:
                edges[a, b] += 1
                edges[b, a] += 1
    return edges


def united(ids: np.ndarray, cls: np.ndarray, least: float) -> np.ndarray:
    """Merge patches below `least` pixels, the smallest first, and remove those that are alone."""
    ids = ids.copy()
    while True:
        px = np.bincount(ids.ravel())
        small = [(n, i) for i, n in enumerate(px.tolist()) if i and 0 < n < least]
        if not small:
            return ids
        _, patch = min(small)
        around = {b: n for (a, b), n in touching(ids).items() if a == patch}
        if not around:
            ids[ids == patch] = 0
            continue
        goal = cls[max(around, key=lambda i: (around[i], -i))]
        alike = [i for i in around if cls[i] == goal]
        name = max(alike, key=lambda i: (px[i], -i))
        ids[np.isin(ids, [patch, *alike])] = name


def filled(mask: np.ndarray, others: np.ndarray, least: float) -> np.ndarray:
    """Fill holes below `least` pixels of each connected part of a mask that hold no other.

    Args:
        mask: (row, col) pixels of one feature.
        others: (row, col) pixels that may not be filled.
        least: Least size of a hole.
    """
    out = mask.copy()
    parts, count = ndimage.label(mask)
    for part in range(1, count + 1):
        background = np.pad(parts != part, 1, constant_values=True)
        holes, found = ndimage.label(background)
        for hole in range(1, found + 1):
            inside = (holes == hole)[1:-1, 1:-1]
            if hole != holes[0, 0] and inside.sum() < least and not (inside & others).any():
                out |= inside
    return out
