"""How does a map get into a file? One stream of Arrow batches, one writer per format."""

from __future__ import annotations

from geoseg.export.place import FORMATS, check_output, format_of
from geoseg.export.table import COLUMNS
from geoseg.export.write import write

__all__ = ["COLUMNS", "FORMATS", "check_output", "format_of", "write"]
