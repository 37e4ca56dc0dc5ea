"""Where are the objects that were accepted? In a GeoPackage, from the moment they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg import reviewed
from geoseg.errors import ConfigError, MapError
from geoseg.export import check_output
from geoseg.export.blank import create
from geoseg.export.edit import GEOMETRY, Editor
from geoseg.export.table import COLUMNS
from geoseg.interactive.outline import Outline
from geoseg.legend import LandClass, Legend
from geoseg.origin import tell_other
from geoseg.raster import RasterReader

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True, slots=True)
class Made:
    """What a new file says of how it was made."""

    facts: Mapping[str, Any]
    """Identity of raster and segmenter."""
    models: Sequence[Mapping[str, Any]]
    """Of each model: source, revision, digest and licence of its weights."""
    words: Mapping[str, Any]
    """What was asked for, of `recipe.words_of`."""


class Kept:
    """Accepted objects of one raster. The file is made when the first is."""

    def __init__(self, path: Path, raster: RasterReader, made: Made) -> None:
        """Continue a file, or begin one.

        Args:
            path: The file, .gpkg.
            raster: What is pointed at.
            made: What a new file says of how it was made.

        Raises:
            ConfigError: Another ending.
            MapError: The file is no map of geoseg, or of another raster.
            OutputError: It cannot be written.
        """
        self.path, self._raster, self._made = path.absolute(), raster, made
        self._editor: Editor | None = None
        self._left: dict[int, dict[str, Any]] = {}
        if path.suffix.lower() != ".gpkg":
            raise ConfigError(f"out={path}: objects are kept in a GeoPackage; give a .gpkg")
        if self.path.exists():
            self._editor = self._opened()
        else:
            check_output(path, overwrite=False, crs=raster.frame.crs)

    def _opened(self) -> Editor:
        """Return the file, open to be changed."""
        editor = Editor(self.path)
        if editor.frame != self._raster.frame:
            editor.close()
            raise MapError(
                f"{self.path} is of another raster: its pixel grid is not that of this one; give "
                "another out=FILE.gpkg"
            )
        tell_other(editor.opened, self._raster)
        return editor

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """The classes so far."""
        return () if self._editor is None else self._editor.legend.classes

    def add(self, outline: Outline, land_class: LandClass) -> int:
        """Keep an object and return its id.

        Raises:
            OutputError: The file cannot be written now.
        """
        said = reviewed.said("accepted", reviewed.me())
        if self._editor is None:
            # Another session may have begun it meanwhile.
            if not self.path.exists():
                made, legend = self._made, Legend(classes=(land_class,))
                create(
                    self.path,
                    self._raster.frame,
                    legend,
                    facts=made.facts,
                    models=made.models,
                    words=made.words,
                )
            self._editor = self._opened()
        self._editor.ensure_class(land_class)
        values = (
            land_class.name,
            outline.score,
            outline.area_ha,
            outline.perimeter_m,
            outline.n_tiles,
            outline.seam_iou,
        )
        columns = dict(zip(COLUMNS[1:], values, strict=True)) | said
        number = self._editor.add(columns, outline.geometry)
        mine = ("class", *reviewed.COLUMNS)
        self._left[number] = {GEOMETRY: outline.geometry} | {n: columns[n] for n in mine}
        return number

    def remove(self, number: int) -> None:
        """Take an object out again that was added here.

        Raises:
            MapError: It is not there any more, or somebody has judged or changed it since.
            OutputError: The file cannot be written now.
        """
        if self._editor is not None:
            self._editor.remove(number, self._left.get(number))

    def features(self) -> gpd.GeoDataFrame:
        """Return the objects: the columns of a map, those of reviews, and geometry."""
        if self._editor is None:
            import geopandas as gpd

            names = [*COLUMNS, *reviewed.COLUMNS, "geometry"]
            return gpd.GeoDataFrame(columns=names, geometry="geometry", crs=self._raster.frame.crs)
        return self._editor.features()

    def close(self) -> None:
        """Let go of the file."""
        if self._editor is not None:
            self._editor.close()
