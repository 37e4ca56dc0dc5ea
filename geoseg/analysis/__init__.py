"""From polygons to answers: how sure is an area, what changed, how good is a map?

Functions take files or GeoDataFrames and give (Geo)DataFrames; each is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.analysis.assess import accuracy
    from geoseg.analysis.changes.compare import change
    from geoseg.analysis.design import Plan, sample
    from geoseg.analysis.evaluation.compare import evaluate
    from geoseg.analysis.evaluation.report import Evaluation
    from geoseg.analysis.figures import explore, plot
    from geoseg.analysis.form import save_sample
    from geoseg.analysis.hydroperiod.whole import series
    from geoseg.analysis.landscape import stats
    from geoseg.analysis.reporting import report

_HOME = {
    "Evaluation": "geoseg.analysis.evaluation.report",
    "Plan": "geoseg.analysis.design",
    "accuracy": "geoseg.analysis.assess",
    "change": "geoseg.analysis.changes.compare",
    "evaluate": "geoseg.analysis.evaluation.compare",
    "explore": "geoseg.analysis.figures",
    "plot": "geoseg.analysis.figures",
    "report": "geoseg.analysis.reporting",
    "sample": "geoseg.analysis.design",
    "save_sample": "geoseg.analysis.form",
    "series": "geoseg.analysis.hydroperiod.whole",
    "stats": "geoseg.analysis.landscape",
}

__all__ = [
    "Evaluation",
    "Plan",
    "accuracy",
    "change",
    "evaluate",
    "explore",
    "plot",
    "report",
    "sample",
    "save_sample",
    "series",
    "stats",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'geoseg.analysis' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
