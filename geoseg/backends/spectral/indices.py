"""What is the value of a spectral index? The formulas are the spyndex catalogue's.

A formula is parsed once and evaluated on float32 planes by plain numpy arithmetic, which rounds
every pixel alike whatever window it is computed in.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import spyndex
from numpy.typing import NDArray

Plane = NDArray[np.float32]

LETTERS: Mapping[str, str] = MappingProxyType(
    {
        "A": "coastal",
        "B": "blue",
        "G": "green",
        "Y": "yellow",
        "R": "red",
        "RE1": "rededge1",
        "RE2": "rededge2",
        "RE3": "rededge3",
        "N": "nir",
        "N2": "nir2",
        "WV": "watervapour",
        "S1": "swir1",
        "S2": "swir2",
    }
)
"""Role of each band letter of the catalogue."""

LIMIT = 2.0
"""Indices are clipped to -LIMIT..LIMIT; differences in a denominator may run away."""

_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.Pow: operator.pow,
    }
)


def is_index(name: str) -> bool:
    """Tell whether the catalogue has an index of this short name."""
    return name in spyndex.indices


@lru_cache(maxsize=1)
def optical() -> tuple[str, ...]:
    """Return the short names of the indices of optical bands alone, sorted."""
    return tuple(sorted(filter(_is_optical, spyndex.indices)))


def _is_optical(name: str) -> bool:
    names = {n.id for n in ast.walk(_formula(name)) if isinstance(n, ast.Name)}
    constants = {n for n in names - LETTERS.keys() if n in spyndex.constants}
    return names <= LETTERS.keys() | {n for n in constants if _constant(n) is not None}


def _constant(name: str) -> float | None:
    default = spyndex.constants[name].default
    return None if default is None else float(default)


@lru_cache(maxsize=512)
def _formula(name: str) -> ast.expr:
    return ast.parse(str(spyndex.indices[name].formula), mode="eval").body


@lru_cache(maxsize=64)
def roles_of(name: str) -> frozenset[str]:
    """Return the band roles an index needs."""
    names = (n.id for n in ast.walk(_formula(name)) if isinstance(n, ast.Name))
    return frozenset(LETTERS[n] for n in names if n in LETTERS)


def compute(name: str, bands: Mapping[str, Plane]) -> Plane:
    """Return an index of planes (row, col) by role; what is undefined becomes -LIMIT."""
    clipped = value(name, bands)
    np.fmax(clipped, np.float32(-LIMIT), out=clipped)
    return np.fmin(clipped, np.float32(LIMIT), out=clipped)


def value(name: str, bands: Mapping[str, Plane]) -> Plane:
    """Return an index of planes (row, col) by role; what is undefined is not finite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found: Plane = _evaluate(_formula(name), bands)
    return found


def _evaluate(node: ast.expr, bands: Mapping[str, Plane]) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, bands), _evaluate(node.right, bands)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        return -_evaluate(node.operand, bands)
    if isinstance(node, ast.Name):
        role = LETTERS.get(node.id)
        return bands[role] if role else float(spyndex.constants[node.id].default)
    return float(ast.literal_eval(node))
