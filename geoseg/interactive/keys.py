"""Which key does what? Tables, read the same way on every map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POINTING: Mapping[str, str] = {
    "Enter": "accept",
    "u": "undo",
    "ctrl+z": "undo",
    "Escape": "clear",
    "b": "box",
}

REVIEWING: Mapping[str, str] = {
    "n": "next",
    "ArrowRight": "next",
    "p": "previous",
    "ArrowLeft": "previous",
    "a": "accept",
    "r": "reject",
    "d": "redraw",
    "u": "undo",
    "ctrl+z": "undo",
    **{str(k): f"relabel {k}" for k in range(1, 10)},
}

REDRAWING: Mapping[str, str] = {
    "Enter": "take",
    "Escape": "leave",
    "u": "undo",
    "ctrl+z": "undo",
    "b": "box",
}

_TYPED_INTO = ("INPUT", "TEXTAREA", "SELECT")


def action(table: Mapping[str, str], event: Mapping[str, Any]) -> str | None:
    """Return what a key pressed in a browser asks for; None of any other key.

    A key that is held down counts once, and what is typed into a field does not count.

    Args:
        table: Actions by key.
        event: A `keydown` of the browser, as ipyevents tells it.
    """
    if event.get("repeat") or event.get("altKey"):
        return None
    if str(event.get("target", {}).get("tagName", "")).upper() in _TYPED_INTO:
        return None
    key = str(event.get("key", ""))
    key = key.lower() if len(key) == 1 else key
    held = "ctrl+" if event.get("ctrlKey") or event.get("metaKey") else ""
    return table.get(held + key)
