"""What does the command say? Lines of JSON become progress, and words for the log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

_SHARES = {"detect": (0.0, 80.0), "stitch": (80.0, 85.0), "write": (85.0, 100.0)}
"""From where to where a step moves the progress bar, in percent."""

_TOLD = 20
"""How many tiles that failed are told by name."""


def parse(line: str) -> Event | None:
    """Return the event of a line; None where it is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else None


def percent(event: Event, parts: Sequence[str] = ("",)) -> float | None:
    """Return how far the run is, 0..100; None for what is not progress.

    Args:
        event: What is told.
        parts: Maps that are made one after the other, which the step names before its own name.
            Each has the same part of the progress bar.
    """
    part, _, step = str(event.get("step")).rpartition(" ")
    share = _SHARES.get(step)
    done, total = event.get("done"), event.get("total")
    if part not in parts or share is None or not (isinstance(done, int) and isinstance(total, int)):
        return None
    low, high = share
    here = high if total <= 0 else low + (high - low) * min(1.0, done / total)
    return (100 * parts.index(part) + here) / len(parts)


def progress_text(event: Event) -> str:
    """Return how far a step is, in words."""
    text = f"{event.get('step')}: {event.get('done')} of {event.get('total')}"
    left = event.get("seconds_left")
    return f"{text}, about {_duration(left)} left" if left and left >= 1 else text


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def summary(result: Event) -> Iterator[str]:
    """Yield what a finished run has to say: its size, licences of weights, notes of the backend."""
    yield f"{result.get('features')} polygons from {result.get('tiles')} tiles"
    for model in result.get("models") or ():
        yield f"weights of {model.get('source')}: {model.get('licence')}"
    notes = (result.get("notes") or {}).values()
    for note, count in Counter(n for said in notes for n in dict.fromkeys(said)).items():
        yield f"{count} {'tile' if count == 1 else 'tiles'}: {note}"


def missing(result: Event) -> Iterator[str]:
    """Yield what is missing from the map; nothing if it is complete."""
    failed = result.get("failed") or {}
    if not failed:
        return
    yield (
        f"the map is incomplete: {len(failed)} of {result.get('tiles')} tiles failed and are "
        "missing from it (see the layer of failed tiles):"
    )
    for name, reason in list(failed.items())[:_TOLD]:
        yield f"  {name}: {reason}"
    if len(failed) > _TOLD:
        yield f"  and {len(failed) - _TOLD} others"
    yield "run the same again with the further option --retry-failed to try them again"


# ---------------------------------------------------------------------------- a judgement


_FIGURES = {
    "AP": ("object", "AP"),
    "AP50": ("object", "AP50"),
    "PQ": ("object", "PQ"),
    "F1": ("object", "F1"),
    "MIOU": ("cover", "IoU"),
    "BOUNDARY_F1": ("cover", "boundary_F1"),
}


def figures(result: Event) -> dict[str, Any]:
    """Return means over classes in the whole map, by output; without those that have no value."""
    means = result["zones"]["whole"]["mean"]
    found = {name: means.get(kind, {}).get(what) for name, (kind, what) in _FIGURES.items()}
    known = {name: value for name, value in found.items() if value is not None}
    return {**known, "FAILED_TILES": result["failed_tiles"]}


def judged(result: Event) -> Iterator[str]:
    """Yield a line per class and zone."""
    for zone, found in result["zones"].items():
        for name, row in found["classes"].items():
            told = ", ".join(f"{k} {_told(v)}" for k, v in row.items() if k != "kind")
            yield f"{name} ({row['kind']}), {zone}: {told}"


def _told(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------------------- a change


def balance(result: Event) -> dict[str, Any]:
    """Return hectares that classes lost, and gained, all added up, and what was not compared."""
    return {
        "LOST_HA": sum(result["lost_ha"].values()),
        "GAINED_HA": sum(result["gained_ha"].values()),
        "NOT_COMPARED_HA": result["not_compared_ha"],
    }


def changed(result: Event) -> Iterator[str]:
    """Yield what changed: by class, and what became of objects."""
    yield f"{result['features']} polygons of change"
    for name, lost in result["lost_ha"].items():
        yield f"{name}: {lost:.2f} ha lost, {result['gained_ha'][name]:.2f} ha gained"
    yield f"not compared: {result['not_compared_ha']:.2f} ha"
    if result["objects"]:
        yield "objects: " + ", ".join(f"{n} {name}" for name, n in result["objects"].items())
    if result["coregistration"]:
        yield result["coregistration"]["words"]
