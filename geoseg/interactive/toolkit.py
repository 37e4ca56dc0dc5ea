"""Which widgets are maps in notebooks made of? Those that bring their own JavaScript.

Importing this says what to install where they are absent.
"""

from __future__ import annotations

from geoseg.errors import MissingDependencyError

try:
    import ipyevents
    import ipyleaflet
    import ipywidgets
except ImportError as error:
    raise MissingDependencyError(
        f"maps to point at need {error.name or 'ipyleaflet'}, which is not installed; "
        'pip install "geoseg[notebook]"'
    ) from error

__all__ = ["ipyevents", "ipyleaflet", "ipywidgets"]
