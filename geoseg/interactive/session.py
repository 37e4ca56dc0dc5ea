"""How is an object outlined by pointing at it? Prompts in, one outline out, kept when accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import shapely

from geoseg.analysis.classed import check_names
from geoseg.backends.compose import interactive, located
from geoseg.backends.outlining import Interactive
from geoseg.backends.pictures import View
from geoseg.bands import shown_roles
from geoseg.config import DEFAULT_OVERLAP_PX, ModelOptions, RunConfig
from geoseg.errors import ConfigError, MapError
from geoseg.geotiff import warn_of_alpha
from geoseg.grid import Grid
from geoseg.interactive.follow import follow
from geoseg.interactive.kept import Kept, Made
from geoseg.interactive.looks import Looks
from geoseg.interactive.outline import Outline, outline_of
from geoseg.interactive.places import Places
from geoseg.interactive.said import Said, together
from geoseg.legend import LandClass, Legend, one_class
from geoseg.mosaic import files
from geoseg.prepare import Source, open_source
from geoseg.progress import Progress
from geoseg.raster import RasterReader
from geoseg.stretch import fit_stretch

if TYPE_CHECKING:
    import geopandas as gpd
    import ipywidgets

T = TypeVar("T")

REACH = 64
"""Tiles that one object is followed through at most, where nothing else is said."""


class Session:
    """A raster, a segmenter, and what was pointed at.

    A tile is looked at when it is first asked. What image encoders saw is kept on disk, for later
    sessions, and for `geoseg.segment` with `ModelOptions(cache="auto")`. An object that a tile cuts
    is followed into the next, by the rule of the seams. Methods may be called from any thread.
    """

    def __init__(  # noqa: PLR0913  every option by name, as segment has them
        self,
        source: Source,
        model: str | Interactive = "grow",
        *,
        out: str | Path | None = None,
        models: ModelOptions | None = None,
        bands: str | Mapping[str, int] | None = None,
        sensor: str | None = None,
        composite: str | None = None,
        tile: int | None = None,
        overlap: int | None = None,
        legend: str | Legend | None = None,
        crs: Any = None,
        reach: int = REACH,
        progress: Progress | None = None,
    ) -> None:
        """Open a raster and load a segmenter; no tile is looked at yet.

        Args:
            source: As of `geoseg.segment`.
            model: A segmenter by name, as `"sam2"` or `"sam:FILE.pth"`; `"grow"` needs no weights;
                or an object that is one.
            out: GeoPackage of what is accepted, begun or continued; `NAME_annotations.gpkg` in the
                current folder where None. It is a map: `stats`, `export`, `review` read it.
            models: How models are loaded and run; where None, as is usual, and what image
                encoders saw is kept in the user's cache folder: `ModelOptions(cache="auto")`.
            bands: 1-based band numbers by role, as `"red=4,green=3,blue=2"`.
            sensor: Band order of a known product, as of `geoseg.segment`.
            composite: Roles that are shown as red, green and blue, as `"nir,red,green"`.
            tile: Side of what the segmenter sees at once, in pixels; 1024 as a rule.
            overlap: Pixels that neighbouring tiles share; 128 as a rule.
            legend: Classes whose colours are known beforehand, `"hut, barn"` or a Legend
                (`geoseg.Legend.load` reads presets and files); others may be named all the same.
            crs: Of coordinates where a call does not say another; longitude and latitude
                (EPSG:4326) where None. Of a raster without CRS they are its own.
            reach: Tiles that one object is followed through at most.
            progress: Called with ("encode", done, total) when a tile is looked at.

        Raises:
            GeosegError: Bad input; says what to change.
        """
        self._lock = RLock()
        self.raster: RasterReader = open_source(source, bands, sensor)
        """What is pointed at."""
        for file in files(self.raster)[:1]:
            warn_of_alpha(file)
        self._places = Places(self.raster.frame, crs)
        options = _of_kind("models", models, ModelOptions) or ModelOptions()
        segmenter = interactive(model, models)
        words = Legend.parse(legend) if isinstance(legend, str) else legend
        self._legend = _of_kind("legend", words, Legend)
        check_names((c.name for c in self._asked), "the legend")
        if not isinstance(reach, int) or reach < 1:
            raise ConfigError(f"reach {reach!r}: a number of tiles is asked, 1 at least")
        if out is not None and not isinstance(out, str | Path):
            raise ConfigError(f"out takes the path of a .gpkg, got {type(out).__name__}")
        self._reach = reach
        view = View(options.gsd).fit(self.raster)
        grid, config = _grid(self.raster, view, tile, overlap, composite)
        self._said: tuple[Said, ...] = ()
        self._outlines: tuple[Outline | None, ...] = ()
        self._accepted: list[tuple[int, tuple[Said, ...], tuple[Outline | None, ...]]] = []
        made = Made(
            config.fingerprint(self.raster.identity(), segmenter.identity),
            tuple(getattr(segmenter, "facts", tuple)()),
            {
                "source": source,
                "backend": located(model) if isinstance(model, str) else None,
                "models": models,
                "bands": bands,
                "sensor": sensor,
                "composite": composite,
                "tile": tile,
                "overlap": overlap,
            },
        )
        # Before weights are loaded: what cannot be kept is found at once.
        self._kept = Kept(_beside(self.raster) if out is None else Path(out), self.raster, made)
        try:
            self._segmenter = segmenter.ready()
            self.stretch = fit_stretch(self.raster, shown_roles(self.raster.roles, composite))
            """How the raster is shown."""
        except BaseException:
            self._kept.close()
            raise
        self._encoded: int | None = getattr(self._segmenter, "encoded", None)
        self._looks = Looks(self.raster, self._segmenter, view, grid, self.stretch)
        self._looks.progress = progress

    # ------------------------------------------------------------------------------ pointing

    def click(
        self, x: float, y: float, *, positive: bool = True, crs: Any = None
    ) -> Outline | None:
        """Point at the object, or at what does not belong to it.

        Args:
            x: Longitude, or x in `crs`.
            y: Latitude, or y in `crs`.
            positive: Whether the object is there.
            crs: Of the coordinates.

        Returns:
            The object as it is known now; None where nothing is found.

        Raises:
            ConfigError: The place is outside the raster, or on nodata, or the first point does not
                lie in the object; nothing has changed.
        """
        with self._lock:
            if positive not in (True, False):
                raise ConfigError(f"positive is True or False, got {positive!r}")
            col, row = self._places.point(x, y, crs)
            if not self._looks.is_valid(col, row):
                raise ConfigError(f"there is no data at ({x:g}, {y:g}): that pixel is nodata")
            if not positive and not together(self._said).says_where:
                raise ConfigError(
                    "the first point is to lie in the object; then say what does not belong to it"
                )
            return self._say("point", shapely.Point(col, row), positive=positive)

    def box(
        self,
        bounds: Sequence[float] | shapely.Geometry | gpd.GeoSeries | gpd.GeoDataFrame,
        *,
        crs: Any = None,
    ) -> Outline | None:
        """Draw a box around the object; it replaces an earlier one.

        Args:
            bounds: x0, y0, x1, y1, or what has such bounds; layers of geopandas bring their CRS.
            crs: Of the coordinates.

        Returns:
            As `click`.

        Raises:
            ConfigError: It is no box, or outside the raster; nothing has changed.
        """
        with self._lock:
            return self._say("box", shapely.box(*self._places.box(bounds, crs)))

    def mask(
        self, polygon: shapely.Geometry | gpd.GeoSeries | gpd.GeoDataFrame, *, crs: Any = None
    ) -> Outline | None:
        """Draw roughly where the object is; it replaces an earlier drawing.

        Args:
            polygon: A (multi)polygon; layers of geopandas bring their CRS.
            crs: Of a shapely polygon.

        Returns:
            As `click`.

        Raises:
            ConfigError: It is no polygon, or outside the raster; nothing has changed.
        """
        with self._lock:
            return self._say("mask", self._places.polygon(polygon, crs))

    def undo(self) -> Outline | None:
        """Take back what was said last; if nothing was, what this session accepted last.

        Returns:
            The object as it is known now.

        Raises:
            MapError: The object is not in the GeoPackage any more.
            OutputError: The GeoPackage cannot be written now.
        """
        with self._lock:
            if self._said:
                self._said, self._outlines = self._said[:-1], self._outlines[:-1]
            elif self._accepted:
                number, said, outlines = self._accepted[-1]
                try:
                    self._kept.remove(number)
                except MapError:
                    # Somebody else took it out: the one before is next.
                    self._accepted.pop()
                    raise
                self._accepted.pop()
                self._said, self._outlines = said, outlines
            return self.current

    def clear(self) -> None:
        """Forget what was said of the current object."""
        with self._lock:
            self._said, self._outlines = (), ()

    # ----------------------------------------------------------------------------- accepting

    def accept(self, name: str) -> int:
        """Keep the current object, on disk, and begin another.

        Args:
            name: Its class.

        Returns:
            Its id in the GeoPackage.

        Raises:
            ConfigError: There is no object, or the class is no name.
            OutputError: The GeoPackage cannot be written now; the object is still the current one.
        """
        with self._lock:
            outline = self.current
            if outline is None:
                raise ConfigError("there is no object to accept; click on one first")
            number = self._kept.add(outline, self._class(name))
            self._accepted.append((number, self._said, self._outlines))
            self._said, self._outlines = (), ()
            return number

    def features(self) -> gpd.GeoDataFrame:
        """Return what was accepted, in the raster's CRS: the columns of a map and of reviews."""
        with self._lock:
            return self._kept.features()

    @property
    def current(self) -> Outline | None:
        """The object as it is known now."""
        return self._outlines[-1] if self._outlines else None

    @property
    def prompts(self) -> tuple[Said, ...]:
        """What was said of it."""
        return self._said

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """The classes of the legend, and those that were named since."""
        known = {c.name for c in self._asked}
        return (*self._asked, *(c for c in self._kept.classes if c.name not in known))

    @property
    def path(self) -> Path:
        """The GeoPackage; it is made when the first object is accepted."""
        return self._kept.path

    @property
    def encoded(self) -> int:
        """How many pictures the segmenter had to look at; what was on disk does not count."""
        if self._encoded is None:
            return self._looks.looked
        counted: int = getattr(self._segmenter, "encoded")  # noqa: B009  not of every segmenter
        return counted - self._encoded

    @property
    def progress(self) -> Progress | None:
        """What is called when a tile is looked at."""
        return self._looks.progress

    @progress.setter
    def progress(self, progress: Progress | None) -> None:
        self._looks.progress = progress

    def map(self, **options: Any) -> ipywidgets.Widget:
        """Return a map for notebooks: click, shift-click, draw a box, accept.

        Args:
            options: Of `geoseg.widgets.pointing.pointing`.

        Raises:
            MissingDependencyError: The extra `notebook` is not installed.
        """
        from geoseg.widgets.pointing import pointing

        return pointing(self, **options)

    def close(self) -> None:
        """Let go of the GeoPackage."""
        self._kept.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        model = self._segmenter.identity.split()[0]
        return f"<Session with {model}: {len(self._said)} prompts, objects in {self.path}>"

    # -------------------------------------------------------------------------------- inside

    def _say(
        self,
        kind: Literal["point", "box", "mask"],
        pixels: shapely.Geometry,
        *,
        positive: bool = True,
    ) -> Outline | None:
        placed = shapely.transform(pixels, self.raster.frame.to_crs)
        # Where what follows fails, nothing has changed.
        said = (*self._said, Said(kind, placed, positive, pixels))
        found = follow(self._looks, together(said), self._reach)
        outline = None if found is None else outline_of(found, self.raster.frame)
        self._said, self._outlines = said, (*self._outlines, outline)
        return outline

    @property
    def _asked(self) -> tuple[LandClass, ...]:
        return () if self._legend is None else self._legend.classes

    def _class(self, name: str) -> LandClass:
        """Return the class of a name, known or new.

        Raises:
            ConfigError: It is no name of a class.
        """
        known = {c.name: c for c in self.classes}
        if name in known:
            return known[name]
        new = one_class(name)
        check_names([new.name], "the session")
        return new


def _of_kind(name: str, given: T | None, kind: type[T]) -> T | None:
    """Return what was given.

    Raises:
        ConfigError: It is of another kind.
    """
    if given is None or isinstance(given, kind):
        return given
    raise ConfigError(f"{name} takes a {kind.__name__}, got {type(given).__name__}")


def _grid(
    raster: RasterReader, view: View, tile: int | None, overlap: int | None, composite: str | None
) -> tuple[Grid, RunConfig]:
    """Return the tiles that `segment` would have, too, so that both share what was seen.

    Raises:
        ConfigError: A tile or an overlap that cannot be.
    """
    need = 2 * (view.halo_px + 1)
    shared = max(DEFAULT_OVERLAP_PX, need) if overlap is None else overlap
    usual = view.tile_px if overlap is not None else max(view.tile_px, 2 * shared)
    config = RunConfig.build(
        legend=Legend.parse("any"),
        tile=usual if tile is None else tile,
        overlap=shared,
        composite=composite,
    )
    grid = Grid(raster.frame.window, config.tile, config.overlap)
    if len(grid) > 1 and shared < need:
        raise ConfigError(
            f"overlap {shared} px is too small to follow an object from tile to tile; at least "
            f"{need}"
        )
    return grid, config


def _beside(raster: RasterReader) -> Path:
    """Return the GeoPackage of a raster where none is named."""
    known = files(raster)
    stem = f"{Path(known[0].path).stem}_" if known else ""
    return Path(f"{stem}annotations.gpkg")
