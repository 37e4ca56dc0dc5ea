"""Layers only import downward, and importing geoseg is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import geoseg

ROOT = Path(geoseg.__file__).parent

LAYERS = (
    ("errors", "window", "units", "interrupts", "lock", "folder", "progress", "memory"),
    ("frame", "grid", "runs", "legend", "bands", "instances", "config", "area", "vectors",
     "reviewed"),
    ("access", "archive", "markup", "stamps", "guards", "probe", "offline", "library", "recipe",
     "whereabouts"),
    ("tiff", "sniff", "vrt", "sidecars", "georeference"),
    (
        "stretch",
        "scale",
        "raster",
        "thinning",
        "overview",
        "mercator",
        "png",
        "reproject",
        "aoi",
        "preflight",
        "caveats",
        "describe",
        "blocks",
        "remote",
        "geotiff",
        "mosaic",
        "pixels",
        "backends",
    ),
    ("flatten", "store", "polygons", "seams", "decide", "patches", "holes", "zonal", "truncated",
     "columns", "detect", "regularise", "reread", "features", "neighbours", "generalise",
     "nearest"),
    ("executors", "survey", "sieve", "cluster", "attempts", "runfolder", "export"),
    ("prepare", "estimate", "outcome", "plotting", "webmap"),
    ("run", "status", "convert", "dataset", "rerun", "analysis", "origin", "interactive",
     "reviewing"),
    ("preview", "demo", "qgis", "qgis_profile"),
    ("cli", "cli_accuracy", "cli_change", "cli_evaluate", "cli_export", "cli_models", "cli_options",
     "cli_progress", "cli_qgis", "cli_report", "cli_rerun", "cli_sample", "cli_series", "cli_stats",
     "cli_status", "__main__"),
)  # fmt: skip
"""From the bottom to the top. Inside a layer modules may use each other, but not in a circle."""

HEAVY = ("torch", "transformers", "dask", "geopandas", "matplotlib", "rasterio", "scipy", "pyarrow")

PURE = ("errors", "window", "frame", "grid", "runs", "legend", "bands", "config", "instances",
        "flatten", "seams", "decide", "polygons", "area", "patches", "holes")  # fmt: skip
INPUT_OUTPUT = ("rasterio", "pyogrio", "geopandas", "pyarrow", "fiona", "osgeo", "requests")

MODULES = {
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
    for p in sorted(ROOT.rglob("*.py"))
    if p != ROOT / "__init__.py"
}


PLUGIN = ROOT / "qgis"


def level(module: str) -> int:
    top = module.partition(".")[0]
    found = [k for k, layer in enumerate(LAYERS) if top in layer]
    assert found, f"geoseg/{top} is in no layer; give it a place in LAYERS of tests/test_imports.py"
    return found[0]


def imports(path: Path, *, everywhere: bool = True) -> set[str]:
    """Return the modules a file imports when it runs; not those for type checkers only."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if path.parent == PLUGIN:
                # In a profile of QGIS, its folder has another name.
                found |= {f"geoseg.qgis.{node.module}" if node.level else node.module or ""}
                continue
            assert node.level == 0, f"{path.name} imports relatively; write geoseg.…"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {n for n in names if n.removeprefix("geoseg.") in MODULES}
            found |= modules | ({node.module or ""} if names - modules else set())
    return found


def own(path: Path, *, everywhere: bool = True) -> set[str]:
    found = {m.removeprefix("geoseg.") for m in imports(path, everywhere=everywhere)
             if m.startswith("geoseg.")}  # fmt: skip
    return {m for m in found if m in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_layers_only_import_downward(module):
    for used in own(MODULES[module]):
        # A lazy import upward is honest only where a caller hands the module in.
        lazily = used not in own(MODULES[module], everywhere=False)
        same_idea = used.split(".")[0] == module.split(".")[0]
        assert same_idea or level(used) <= level(module), (
            f"geoseg.{module} (layer {level(module)}) imports geoseg.{used} (layer {level(used)}"
            f"{', lazily' if lazily else ''}): lower layers must not know of higher ones"
        )


def test_no_module_imports_itself_in_a_circle():
    graph = {m: own(p, everywhere=False) - {m} for m, p in MODULES.items()}
    while graph:
        free = [m for m, used in graph.items() if not used & graph.keys()]
        assert free, f"these modules import each other in a circle: {', '.join(sorted(graph))}"
        for module in free:
            del graph[module]


@pytest.mark.parametrize("module", PURE)
def test_the_core_does_no_input_or_output(module):
    bad = {m.split(".")[0] for m in imports(MODULES[module])} & set(INPUT_OUTPUT)
    assert not bad, f"geoseg.{module} is pure, but imports {', '.join(sorted(bad))}"


@pytest.mark.parametrize("module", MODULES)
def test_torch_is_known_to_model_adapters_only(module):
    tops = {m.split(".")[0] for m in imports(MODULES[module])}
    assert module.startswith("backends.models") or not tops & {"torch", "transformers"}, (
        f"geoseg.{module} imports a model library; only adapters in geoseg.backends.models may"
    )


@pytest.mark.parametrize("module", [m for m in MODULES if m.split(".")[0] == "qgis"])
def test_the_plugin_knows_qgis_and_the_standard_library_only(module):
    path = MODULES[module]
    used = {m for m in imports(path) if not m.startswith("geoseg.qgis.")}
    foreign = {m.split(".")[0] for m in used} - sys.stdlib_module_names - {"qgis", "processing"}
    assert not foreign, f"geoseg.{module} imports {', '.join(sorted(foreign))}; QGIS has none of it"
    # QGIS on Windows brought Python 3.9 for years.
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("module", ["geoseg", "geoseg.cli"])
def test_importing_is_light(module):
    if module == "geoseg.cli" and "cli" not in MODULES:
        pytest.skip("there is no command line yet")
    code = f"import sys, {module}; print(*sorted(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert done.stdout.strip() == "", f"import {module} loads {done.stdout.strip()}"


def test_the_analysis_is_there_without_an_import_of_its_own():
    code = "import geoseg; geoseg.analysis.stats"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)  # noqa: S603


def test_public_names_are_few_sorted_and_real():
    assert geoseg.__all__ == sorted(geoseg.__all__)
    assert len(geoseg.__all__) <= 12
    for name in geoseg.__all__:
        assert getattr(geoseg, name).__name__ == name
    assert dir(geoseg) == geoseg.__all__
    with pytest.raises(AttributeError, match="has no attribute 'Segment'"):
        geoseg.Segment  # noqa: B018


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "py.typed").is_file()
