"""What is a review? One polygon after the other, and what somebody says of it, kept at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import shapely

from geoseg import reviewed
from geoseg.analysis.classed import check_names
from geoseg.backends.compose import check_promptable
from geoseg.backends.outlining import Interactive
from geoseg.errors import ConfigError, GeosegError, MapError, MissingDependencyError, RasterError
from geoseg.export.by_hand import measures
from geoseg.export.edit import GEOMETRY, Editor, Row
from geoseg.export.read import Map
from geoseg.frame import Frame
from geoseg.legend import Legend, one_class
from geoseg.origin import check_grid, open_origin
from geoseg.prepare import open_source
from geoseg.raster import RasterReader
from geoseg.reviewed import check_only, keeps, me, said
from geoseg.reviewing.queue import COLUMNS, Queue, check_order
from geoseg.reviewing.redrawn import redrawn

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.interactive.outline import Outline
    from geoseg.interactive.session import Session

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate(Row):
    """A polygon that is looked at."""

    geometry: shapely.MultiPolygon
    """Its outline, in the CRS of the map."""


class ElsewhereError(ConfigError):
    """Another polygon is looked at than the one that is decided about."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """What was done, as far as it is needed to take it back."""

    id: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def _alone(method: Callable[Concatenate[Review, P], T]) -> Callable[Concatenate[Review, P], T]:
    """Let one thread at a time into a review."""

    @wraps(method)
    def called(self: Review, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return called


class Review:
    """A map that is reviewed; see `geoseg.review`. A context manager, and a widget in notebooks.

    Methods may be called from any thread.
    """

    def __init__(
        self,
        editor: Editor,
        raster: RasterReader | None,
        *,
        by: str,
        order: str,
        only: str | None,
        model: str | Interactive,
    ) -> None:
        """Use `geoseg.review`."""
        self.path = editor.path
        """The map."""
        self.raster = raster
        """Its raster, to look at; None where it is not at hand."""
        self._lock = RLock()
        self._editor, self._by, self._order, self._only = editor, by, order, only
        self._model = model
        self._session: Session | None = None
        self._done: list[_Decision] = []
        self._queue = Queue([], order)
        self._load()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @_alone
    def close(self) -> None:
        """Let go of the file; what was decided is in it."""
        if self._session is not None:
            self._session.close()
        self._editor.close()

    def __repr__(self) -> str:
        """Tell how far it is."""
        try:
            said = ", ".join(f"{count} {state}" for state, count in self.counts.items())
        except GeosegError as error:
            # One that is closed can still be shown.
            said = str(error)
        return f"<review of {self.path}: {said}>"

    def _repr_mimebundle_(self, **wanted: Any) -> Any:
        """Show the map in a notebook; a line where there is no widget."""
        try:
            return self.map()._repr_mimebundle_(**wanted)
        except MissingDependencyError as error:
            return {"text/plain": f"{self!r} ({error})"}

    def map(self) -> Any:
        """Return a widget for notebooks: the polygon over its raster, and a key for each decision.

        Raises:
            MissingDependencyError: The map widget is not installed.
        """
        from geoseg.widgets.panel import panel

        return panel(self)

    # ------------------------------------------------------------------------------- looking

    @property
    @_alone
    def current(self) -> Candidate | None:
        """The polygon that is looked at, as it is in the file now; None when none is open."""
        self._refresh()
        number = self._queue.current
        if number is None:
            return None
        row, outline = self._editor.look(number)
        return Candidate(**asdict(row), geometry=outline)

    @property
    @_alone
    def counts(self) -> dict[str, int]:
        """How many polygons are `accepted`, `rejected`, `edited` and `open`."""
        self._refresh()
        return self._queue.counts()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the map, in the order of its legend."""
        return tuple(c.name for c in self.legend.classes)

    @property
    @_alone
    def legend(self) -> Legend:
        """The classes of the map, with their colours."""
        return self._editor.legend

    @property
    def frame(self) -> Frame:
        """The pixel grid of the map."""
        return self._editor.frame

    @property
    def crs(self) -> str | None:
        """WKT of the CRS of the map, or None."""
        return self.frame.crs

    @property
    @_alone
    def session(self) -> Session:
        """A `geoseg.Session` on the raster and the map, made when it is first asked for.

        Its outline may be given to `redraw`; what it accepts is added to the map.

        Raises:
            MapError: The raster is not at hand.
        """
        from geoseg.interactive.session import Session

        if self._session is None:
            if self.raster is None:
                # Says why it is not.
                self.raster = open_origin(self._editor.opened)
            self._session = Session(self.raster, self._model, out=self.path)
        return self._session

    @_alone
    def next(self) -> Candidate | None:
        """Look at the next polygon in the order, whatever was said of it; stays at the last."""
        self._refresh()
        self._queue.step(1)
        return self.current

    @_alone
    def previous(self) -> Candidate | None:
        """Look at the polygon before in the order; stays at the first."""
        self._refresh()
        self._queue.step(-1)
        return self.current

    @_alone
    def go(self, number: int) -> Candidate | None:
        """Look at the polygon of an id.

        Raises:
            MapError: It is not in this review.
        """
        self._refresh()
        place = self._queue.place(number)
        if place is None:
            raise MapError(f"{self.path} has no polygon {number} that is reviewed here")
        self._queue.at = place
        return self.current

    @contextmanager
    def held(self, number: int | None) -> Iterator[None]:
        """Keep other threads from going on, while somebody decides about what is seen.

        Args:
            number: Id of the polygon that is seen; None of none.

        Raises:
            ElsewhereError: Another one is looked at.
        """
        with self._lock:
            self._refresh()
            if self._queue.current != number:
                raise ElsewhereError("the review went on elsewhere; this is where it is now")
            yield

    # ------------------------------------------------------------------------------ deciding

    @_alone
    def accept(self) -> Candidate | None:
        """Say that the polygon is right.

        As every decision, it is on the disk when this returns; the next open polygon is looked at.

        Returns:
            That polygon; None where none is open, or where it cannot be read at the moment: that is
            logged, for the decision stands. `current` tells.

        Raises:
            MapError: No polygon is looked at, or another program deleted it.
            OutputError: The file cannot be written now; the same can be said again.
        """
        return self._decide("accepted")

    @_alone
    def reject(self) -> Candidate | None:
        """Say that the polygon is wrong: it stays in the file, and `only` leaves it out.

        Raises:
            GeosegError: As `accept`.
        """
        return self._decide("rejected")

    @_alone
    def relabel(self, name: str) -> Candidate | None:
        """Give the polygon another class, of the legend or new to it.

        Raises:
            ConfigError: No class can be called so.
            GeosegError: As `accept`.
        """
        known = {c.name: c for c in self.legend.classes}
        wanted = known.get(name) or one_class(name)
        check_names([wanted.name], "the review")
        self._here()
        self._editor.ensure_class(wanted)
        return self._decide("edited", {"class": wanted.name})

    @_alone
    def redraw(
        self,
        polygon: shapely.Geometry | gpd.GeoSeries | gpd.GeoDataFrame | Outline,
        crs: Any = None,
    ) -> Candidate | None:
        """Give the polygon another outline; area and perimeter are measured anew.

        Args:
            polygon: (Multi)polygon, or an outline of a session. It is kept as it is, and not moved
                to pixels. Layers of geopandas and outlines bring their CRS.
            crs: Of a shapely polygon, as `"EPSG:4326"`; that of the map where None.

        Raises:
            ConfigError: It is no polygon, encloses no ground, or lies off the raster.
            GeosegError: As `accept`.
        """
        frame = self._editor.frame
        shape = redrawn(polygon, crs, frame)
        return self._decide("edited", {GEOMETRY: shape, **measures(shape, frame)})

    @_alone
    def reopen(self) -> Candidate | None:
        """Take back what was said of the polygon, not its outline or class; stays there.

        Raises:
            GeosegError: As `accept`.
        """
        return self._decide(None)

    @_alone
    def undo(self) -> Candidate | None:
        """Take back the last decision of this review, and look at its polygon.

        Raises:
            ConfigError: There is none.
            MapError: Another program changed that polygon since, or deleted it; this decision stays
                and is not asked for again.
            OutputError: The file cannot be written now; the same can be asked for again.
        """
        self._refresh()
        if not self._done:
            raise ConfigError("nothing to undo: all that was decided in this review is taken back")
        last = self._done[-1]
        try:
            self._editor.exchange(last.id, last.before, left=last.after)
        except MapError:
            self._done.pop()
            raise
        self._done.pop()
        self._queue.say(last.id, last.before["review"])
        self._queue.at = self._queue.place(last.id)
        return self._seen()

    def _decide(
        self, state: str | None, columns: Mapping[str, Any] | None = None
    ) -> Candidate | None:
        number = self._here()
        marks = dict.fromkeys(reviewed.COLUMNS) if state is None else said(state, self._by)
        before, after = self._editor.exchange(number, {**(columns or {}), **marks})
        self._done.append(_Decision(number, before, after))
        self._queue.say(number, state)
        if state is not None:
            self._queue.to_open()
        return self._seen()

    def _seen(self) -> Candidate | None:
        """Return what is looked at after a decision: an error now would read as if there were none.

        Whoever believed that would say it again, of the next polygon.
        """
        try:
            return self.current
        except GeosegError as error:
            log.warning("what was decided is on the disk; what is next cannot be read: %s", error)
            return None

    def _here(self) -> int:
        looked = self._queue.current
        self._refresh()
        number = self._queue.current
        if number is None:
            raise MapError(f"no polygon of {self.path} is looked at: all are reviewed; go(id) does")
        if looked is None:
            raise MapError(
                f"another program opened feature {number} of {self.path} just now; look at it first"
            )
        if number != looked:
            raise MapError(
                f"{self.path} has no feature {looked} any more: another program deleted it; "
                f"{number} is next"
            )
        return number

    def _refresh(self) -> None:
        """Take notice of what another program, as QGIS, did to the file."""
        if self._editor.refresh():
            self._load()

    def _load(self) -> None:
        """Read what there is, and stay where we are, or go on from there."""
        old = self._queue
        mine = set(old.ids.tolist())
        rows = [
            row
            for row in self._editor.table(*COLUMNS)
            # What was rejected here stays in sight, so that it can be taken back.
            if row[0] in mine or keeps(row[-1], self._only)
        ]
        self._queue = Queue(rows, self._order)
        if old.at is None:
            self._queue.to_open()
        else:
            self._queue.at = self._queue.place(int(old.ids[old.at]))
            if self._queue.at is None:
                self._queue.to_open(old.at)


def review(
    path: str | Path,
    raster: str | Path | RasterReader | None = None,
    *,
    by: str | None = None,
    order: str = "score",
    only: str | None = None,
    model: str | Interactive = "grow",
) -> Review:
    """Go through the polygons of a map, and say of each what it is worth.

    What is said stands in the columns `review`, `reviewed_by` and `reviewed_at` of the map's own
    layer; `--only accepted` and `--only kept` of other commands heed it. QGIS may have the file
    open, too: what it adds, deletes or moves is taken as it is.

    Args:
        path: A GeoPackage that geoseg wrote.
        raster: The raster of the map, to look at; where None, that which the map names, if it is
            at hand.
        by: Who reviews; the name of the login where None.
        order: `score` (lowest first), `id`, or `area` (largest first).
        only: `accepted` or `kept`: go through those alone.
        model: What outlines an object that is clicked at, of `geoseg.Session`.

    Raises:
        MapError: It is no GeoPackage of geoseg, or the raster is of another place.
        OutputError: The file is read-only, or being written by another program.
        ConfigError: `order` or `only` is not known, `by` is blank, or `path` is none.
        BackendError: `model` is none that can be asked by hand.
        RasterError: The raster cannot be opened.
    """
    if not isinstance(path, str | Path):
        raise ConfigError(
            f"a {type(path).__name__} cannot be reviewed: what is said is kept in the file; give "
            "the path of a .gpkg"
        )
    check_order(order)
    check_only(only)
    if by is not None and not (isinstance(by, str) and by.strip() and by.isprintable()):
        raise ConfigError(f"by={by!r} names nobody; leave it out for the name of the login")
    check_promptable(model)
    editor = Editor(Path(path))
    try:
        return Review(
            editor,
            _raster(editor.opened, raster),
            by=me() if by is None else by,
            order=order,
            only=only,
            model=model,
        )
    except BaseException:
        editor.close()
        raise


def _raster(found: Map, raster: str | Path | RasterReader | None) -> RasterReader | None:
    """Return the raster of a map, opened and checked; None where nobody says it, and it is gone."""
    if raster is None:
        try:
            return open_origin(found)
        except (MapError, RasterError):
            return None
    if isinstance(raster, str | Path):
        return open_origin(found, str(raster))
    reader = open_source(raster, None, None)
    check_grid(found, reader, "the raster")
    return reader
