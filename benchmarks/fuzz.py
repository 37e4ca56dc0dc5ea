"""Can any input make geoseg fall over? Prompts, legends, cards, bands, options, bytes of rasters.

    python benchmarks/fuzz.py [--examples N] [--seconds S] [--kinds prompts,files] [--json]

Hypothesis draws inputs; each goes through the whole command. A finding is whatever is not an exit
with 0, 1 or 2 and at most one error line. Damaged rasters run in a child of limited memory, which
is replaced when it dies or hangs. Counterexamples are shrunk and printed. Needs the extra `dev`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fuzz_inputs import (
    ARGUMENTS,
    BACKENDS,
    CARD,
    CARD_KEYS,
    LAYER,
    LEGEND,
    LEGEND_KEYS,
    NUMBERS,
    TEXTS,
    VALUES,
    damaged,
    documents,
    net,
    scenes,
    toml_value,
    writable,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import geoseg
from geoseg import cli

HANG_S = 20
INTERRUPTED = 130
CHILD_BYTES = 2 * 2**30
BATCH = 500
"""Inputs between looks at the clock: hypothesis wants to know nothing of time."""


# --- one run of the command ---------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a run of the command came to."""

    code: int | None
    """Exit code; None where it raised, died or hung."""
    text: str
    """What it said on stderr, or the traceback."""
    fate: str = "exit"
    """`exit`, `traceback`, `death` or `hang`."""

    @property
    def finding(self) -> str | None:
        """What is wrong with it, or None."""
        if self.fate != "exit":
            return f"{self.fate}: {self.text[-1500:]}"
        errors = [line for line in self.text.splitlines() if line.lower().startswith("error")]
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}: {self.text[-500:]}"
        if len(errors) != (1 if self.code else 0):
            return f"exit code {self.code} with {len(errors)} error lines: {self.text[-500:]}"
        return None


def call(arguments: Sequence[str]) -> Outcome:
    """Run the command in this process."""
    said, argv = io.StringIO(), sys.argv
    sys.argv = ["geoseg", *arguments]
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            cli.main()
    except SystemExit as done:
        if done.code == INTERRUPTED:
            raise KeyboardInterrupt from done
        return Outcome(int(done.code or 0), said.getvalue())
    except BaseException:  # noqa: BLE001  whatever comes out is the finding
        return Outcome(None, traceback.format_exc(), "traceback")
    finally:
        sys.argv = argv
    return Outcome(0, said.getvalue())


def quiet_process() -> None:
    """Make this process fit to run the command many times."""
    logging.getLogger().addHandler(logging.NullHandler())
    # For good, it would be.
    cli.seal = lambda: True  # type: ignore[assignment]


class Child:
    """A process that runs the command on paths it is told, with little memory; replaced at need."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Return itself; the process starts with the first run."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def call(self, arguments: Sequence[str]) -> Outcome:
        """Run the command there."""
        process = self._process or self._start()
        told, heard = process.stdin, process.stdout
        if told is None or heard is None:
            raise RuntimeError("the child has no pipes")
        with contextlib.suppress(BrokenPipeError):
            told.write(json.dumps(list(arguments)) + "\n")
            told.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(heard, selectors.EVENT_READ)
            if not selector.select(HANG_S):
                self._end()
                return Outcome(None, f"no answer in {HANG_S} s", "hang")
        answer = heard.readline()
        if not answer:
            code = process.wait()
            self._end()
            return Outcome(None, f"the process ended with {code}", "death")
        return Outcome(**json.loads(answer))

    def _start(self) -> subprocess.Popen[str]:
        # The child is to have the geoseg of its parent.
        root = str(Path(geoseg.__file__).parents[1])
        env = {
            **os.environ,
            "PYTHONPATH": root,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
        )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def be_child() -> None:
    """Answer each line of arguments with a line of outcome."""
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
    quiet_process()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(vars(call(json.loads(line)))), file=answers, flush=True)


# --- what is tried ------------------------------------------------------------------------------


@dataclass
class Bench:
    """Where inputs are written and runs take place; a folder deep enough for `../..`."""

    root: Path
    child: Child
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.here = self.root / "a/b/c/d/e/f"
        self.here.mkdir(parents=True)
        self.scenes = scenes(self.root)

    @property
    def scene(self) -> str:
        """The sound raster."""
        return str(self.scenes[0])

    def file(self, name: str, content: bytes) -> str:
        """Write an input; returns its path."""
        path = self.root / name
        path.write_bytes(content)
        return str(path)

    def look(self, kind: str, outcome: Outcome) -> None:
        """Count an outcome.

        Raises:
            AssertionError: It is a finding.
        """
        count = self.outcomes.setdefault(kind, Counter())
        count["inputs"] += 1
        count[f"exit {outcome.code}" if outcome.fate == "exit" else outcome.fate] += 1
        for left in self.here.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if outcome.finding is not None:
            raise AssertionError(outcome.finding)

    def segment(self, *options: str) -> list[str]:
        """Return arguments for a run on the sound raster."""
        return ["segment", self.scene, "--out", "m.fgb", *options]


Case = Callable[[Bench, st.DataObject], Outcome]


def prompts(bench: Bench, data: st.DataObject) -> Outcome:
    """Ask for any words."""
    return call(bench.segment(f"--prompt={data.draw(TEXTS)}"))


def legends(bench: Bench, data: st.DataObject) -> Outcome:
    """Read any legend."""
    file = bench.file("legend.toml", data.draw(documents(LEGEND, LEGEND_KEYS)))
    return call(bench.segment("--legend", file))


def names(bench: Bench, data: st.DataObject) -> Outcome:
    """Write a class of any name in any format, to a file of any name; it must come back equal."""
    legend = {"class": [{"name": data.draw(TEXTS)[:200], "prompts": ["water"]}]}
    file = bench.file("legend.toml", _class_file(legend["class"][0]))
    stem = data.draw(ARGUMENTS).replace("/", "_")[:60] or "m"
    out = stem + data.draw(st.sampled_from((".gpkg", ".fgb", ".parquet", ".geojson")))
    outcome = call(["segment", bench.scene, "--legend", file, f"--out={out}"])
    if outcome.code == 0:
        asked = geoseg.Legend.load(file).classes[0].name
        found = {*_classes(Path(out))}
        if found != {asked}:
            return Outcome(0, f"class {asked!r} came back as {found!r}", "traceback")
        if [p.name for p in Path().iterdir()] != [out]:
            return Outcome(0, f"beside {out!r} lie {[*Path().iterdir()]}", "traceback")
    return outcome


def _class_file(entry: dict[str, Any]) -> bytes:
    lines = "\n".join(f"{key} = {toml_value(value)}" for key, value in entry.items())
    return f"[[class]]\n{lines}".encode("utf-8", "surrogatepass")


def _classes(path: Path) -> list[str]:
    import geopandas as gpd

    if path.suffix == ".parquet":
        return list(gpd.read_parquet(path)["class"])
    # What is looked at is the content: GDAL reads some names as something else than a path.
    plain = path.resolve().parent.parent / f"plain{path.suffix}"
    shutil.copy(path, plain)
    layer = {"layer": "features"} if path.suffix == ".gpkg" else {}
    return list(gpd.read_file(plain, **layer)["class"])


def bands(bench: Bench, data: st.DataObject) -> Outcome:
    """Name any bands, sensors and composites."""
    role = st.sampled_from(("red", "nir", "green", "blue", "swir1", "x", ""))
    few = st.one_of(st.integers(0, 5).map(str), NUMBERS)
    pairs = st.lists(st.builds("{}={}".format, role, few), max_size=5).map(",".join)
    text = st.one_of(pairs, st.lists(NUMBERS, max_size=4).map(",".join), TEXTS)
    options = ["--prompt", "water"]
    for name in ("--bands", "--sensor", "--composite"):
        if data.draw(st.booleans()):
            known = st.sampled_from(("naip", "sentinel2", "nir,red,green"))
            drawn = text if name == "--bands" else st.one_of(known, known, ARGUMENTS)
            options.append(f"{name}={data.draw(drawn)}")
    return call(bench.segment(*map(writable, options)))


def numbers(bench: Bench, data: st.DataObject) -> Outcome:
    """Give numbers and texts at and beyond their limits."""
    # Many workers, a scheduler that is waited for or a bucket are no faults of the input.
    texts = ("--device", "--precision", "--memory", "--legend", "--boxes", "--backend")
    counts = ("--tile", "--overlap", "--threshold", "--batch", "--gsd")
    given_: list[str] = ["--prompt", "water"]
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            given_.append(f"{data.draw(st.sampled_from(counts))}={data.draw(NUMBERS)}")
        else:
            given_.append(f"{data.draw(st.sampled_from(texts))}={data.draw(ARGUMENTS)}")
    if data.draw(st.booleans()):
        few = st.sampled_from(("0", "-1", "1", "1025", "x", "1.0"))
        given_.append(f"--workers={data.draw(few)}")
    if data.draw(st.booleans()):
        sizes = st.builds("{}{}".format, NUMBERS, st.sampled_from(("", "GB", " kib", "B", "x")))
        given_.append(f"--memory={data.draw(sizes)}")
    command = data.draw(st.sampled_from(("segment", "segment", "plan")))
    if command == "plan":
        given_ = [g for g in given_ if g.partition("=")[0] in ("--tile", "--overlap", "--batch")]
        return call(["plan", bench.scene, "--prompt", "water", *map(writable, given_)])
    return call(bench.segment(*map(writable, given_)))


def paths(bench: Bench, data: st.DataObject) -> Outcome:
    """Name any raster, output, layer and folder."""
    # Of the root of the disk nothing is made, and nothing on a network is asked.
    place = ARGUMENTS.map(lambda t: t.lstrip("/").replace("://", ":/")).filter(
        lambda t: t.count("..") < 4
    )
    raster = data.draw(st.one_of(st.just(bench.scene), place))
    out = data.draw(st.one_of(place, place.map("{}.gpkg".format), place.map("{}.parquet".format)))
    more = [f"--boxes={data.draw(place)}"] if data.draw(st.booleans()) else []
    if data.draw(st.booleans()):
        more.append(f"--store={data.draw(place)}")
    if data.draw(st.integers(0, 4)) == 0:
        return call(["status", "--", data.draw(place)])
    return call(["segment", "--prompt=water", f"--out={out}", *more, "--", raster])


def weights(bench: Bench, data: st.DataObject) -> Outcome:
    """Name any backend and weights; nothing is downloaded."""
    part = st.builds(
        lambda b, w: b if w is None else f"{b}:{w}",
        st.sampled_from(BACKENDS),
        st.one_of(st.none(), ARGUMENTS.map(lambda t: t.replace("://", ""))),
    )
    backend = data.draw(st.one_of(part, st.lists(part, max_size=3).map("+".join), ARGUMENTS))
    return call(bench.segment("--offline", "--prompt=water", f"--backend={backend}"))


def cards(bench: Bench, data: st.DataObject) -> Outcome:
    """Read any model card."""
    if not (bench.root / "net.onnx").exists():
        net(bench.root / "net.onnx")
    file = bench.file("card.toml", data.draw(documents(CARD, CARD_KEYS)))
    return call(bench.segment("--prompt=water", f"--backend=onnx:{file}"))


def layers(bench: Bench, data: st.DataObject) -> Outcome:
    """Read any layer of boxes, as a segmenter would."""
    from geoseg.backends.given import given as read
    from geoseg.geotiff import open_raster

    marks = (b"water", b"null", b"15.001", b"45.151", b"Point", b"Polygon", b"class", b"]")
    content = data.draw(st.one_of(st.just(LAYER.encode()), damaged(LAYER.encode())))
    for _ in range(data.draw(st.integers(0, 2))):
        new = toml_value(data.draw(VALUES)).encode("utf-8", "replace")
        content = content.replace(data.draw(st.sampled_from(marks)), new, 1)
    file = bench.file("boxes.geojson", content)
    if data.draw(st.integers(0, 9)) == 0:
        file = data.draw(ARGUMENTS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = read(file)
            layer.fit(open_raster(bench.scene), layer.words())
    except geoseg.GeosegError as error:
        return Outcome(error.exit_code, f"error: {' '.join(str(error).split())}")
    except Exception:  # noqa: BLE001  whatever comes out is the finding
        return Outcome(None, traceback.format_exc(), "traceback")
    return Outcome(0, "")


def files(bench: Bench, data: st.DataObject) -> Outcome:
    """Read damaged rasters, in a child."""
    sound = data.draw(st.sampled_from(bench.scenes))
    file = bench.file("damaged.tif", data.draw(damaged(sound.read_bytes())))
    cut = ["--tile", "48", "--overlap", "16"]
    return bench.child.call(["segment", file, "--prompt", "water", "--out", "m.gpkg", *cut])


KINDS: dict[str, tuple[Case, float]] = {
    "prompts": (prompts, 1),
    "legends": (legends, 1),
    "names": (names, 0.3),
    "bands": (bands, 1),
    "options": (numbers, 1),
    "paths": (paths, 1),
    "weights": (weights, 1),
    "cards": (cards, 1),
    "layers": (layers, 1),
    "files": (files, 1),
}
"""What is tried, and how many of the examples of each."""


def try_kind(bench: Bench, kind: str, examples: int, ends: float) -> None:
    """Try inputs of a kind, in batches until the time is over; a finding ends it, shrunk."""
    case, share = KINDS[kind]
    left = max(1, round(examples * share))

    def check(data: st.DataObject) -> None:
        bench.look(kind, case(bench, data))

    while left > 0 and time.monotonic() < ends:
        batch = settings(
            max_examples=min(left, BATCH),
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        left -= BATCH
        try:
            batch(given(st.data())(check))()
        except Exception as error:  # noqa: BLE001  whatever comes out is the finding
            notes = "\n".join(getattr(error, "__notes__", []))
            bench.findings.append(f"{kind}: {error}\n{notes}")
            print(f"FOUND {bench.findings[-1]}", flush=True)
            return


def run(examples: int, seconds: float, kinds: Sequence[str]) -> dict[str, Any]:
    """Try inputs of all kinds; returns what came of them."""
    quiet_process()
    began, back = time.monotonic(), Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with tempfile.TemporaryDirectory() as folder, Child() as child:
        bench = Bench(Path(folder), child)
        os.chdir(bench.here)
        try:
            for k, kind in enumerate(kinds):
                left = seconds - (time.monotonic() - began)
                try_kind(bench, kind, examples, time.monotonic() + left / (len(kinds) - k))
                print(f"{kind:10} {dict(bench.outcomes.get(kind, {}))}", flush=True)
        finally:
            os.chdir(back)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    total = sum(bench.outcomes.values(), Counter())
    return {
        "inputs": total["inputs"],
        "tracebacks": sum("hang:" not in f for f in bench.findings),
        "hangs": sum("hang:" in f for f in bench.findings),
        "seconds": round(time.monotonic() - began, 1),
        "kinds": {kind: dict(count) for kind, count in bench.outcomes.items()},
    }


def main() -> None:
    """Print a line per kind, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        be_child()
        return
    found = run(args.examples, args.seconds, args.kinds.split(","))
    if args.json:
        print(json.dumps(found))
    sys.exit(1 if found["tracebacks"] or found["hangs"] else 0)


if __name__ == "__main__":
    main()
