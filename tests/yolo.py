"""How those who train with YOLO's labels read a mask, by the definition of the format."""

from __future__ import annotations

import cv2
import numpy as np


def ultralytics(line: str, width: int, height: int, points: int = 1000) -> tuple[int, np.ndarray]:
    """Return class and mask: points are put in between, and fractions cut off."""
    number, xy = _parsed(line)
    closed = np.concatenate([xy, xy[:1]])
    known = np.arange(len(closed))
    places = np.linspace(0, len(closed) - 1, max(points - len(closed), 2))
    places = np.insert(places, np.searchsorted(places, known), known)
    dense = np.stack([np.interp(places, known, closed[:, k]) for k in (0, 1)], 1)
    return number, _filled((dense.astype(np.float32) * _size(width, height)).astype(np.int32),
                           width, height)  # fmt: skip


def supervision(line: str, width: int, height: int) -> tuple[int, np.ndarray]:
    """Return class and mask: fractions are rounded."""
    number, xy = _parsed(line)
    return number, _filled(np.round(xy * _size(width, height)).astype(np.int32), width, height)


def _parsed(line: str) -> tuple[int, np.ndarray]:
    number, *words = line.split()
    # With five words a line is a box, with six a box and a score.
    assert len(words) >= 8
    xy = np.array(words, np.float32).reshape(-1, 2)
    assert ((xy > 0) & (xy < 1)).all()
    return int(number), xy


def _size(width: int, height: int) -> np.ndarray:
    return np.array([width, height], np.float32)


def _filled(points: np.ndarray, width: int, height: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [points], 1)
    return mask.astype(bool)
