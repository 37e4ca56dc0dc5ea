"""Tiny ONNX nets with a known answer, and their cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import GEOREF, UTM

from geoseg import ArrayRaster, LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.stretch import Stretch
from geoseg.window import Window

onnx = pytest.importorskip("onnx", reason="tiny nets are made with the package onnx")
pytest.importorskip("onnxruntime", reason="nets are run by onnxruntime")

ROLES = {"red": 1, "green": 2, "nir": 3}
STRETCH = Stretch((0, 1, 2), (0.0,) * 3, (255.0,) * 3)

FLOAT = 1
INT64 = 7


def save(path: Path, nodes: list[Any], given: Any, outputs: list[Any], values: Any = ()) -> Path:
    """Write a model with one input."""
    named = [onnx.numpy_helper.from_array(v, k) for k, v in dict(values).items()]
    graph = onnx.helper.make_graph(nodes, "net", [given], outputs, named)
    opset = [onnx.helper.make_opsetid("", 13)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def tensor(name: str, shape: list[Any], kind: int = FLOAT) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def semantic(  # noqa: PLR0913
    path: Path,
    *,
    bands: int = 3,
    classes: int = 4,
    side: Any = 16,
    layout: str = "NCHW",
    last: str = "Softmax",
    seed: int = 0,
) -> Path:
    """Write a net whose every pixel looks at its 3x3 neighbours and at the whole window."""
    random = np.random.default_rng(seed)
    node = onnx.helper.make_node
    sizes = {"N": "n", "C": bands, "H": side, "W": side}
    to_nchw = {"NCHW": None, "NHWC": [0, 3, 1, 2], "CHW": None, "HWC": [2, 0, 1]}[layout]
    nodes, at = [], "x"
    if to_nchw:
        nodes.append(node("Transpose", [at], ["t"], perm=to_nchw))
        at = "t"
    if len(layout) == 3:
        nodes.append(node("Unsqueeze", [at, "zero"], ["u"]))
        at = "u"
    nodes += [
        node("Conv", [at, "w"], ["c"], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", [at], ["g"]),
        node("Conv", ["g", "v"], ["m"]),
        node("Add", ["c", "m"], ["s"]),
    ]
    at = "s"
    if last:
        axis = {"axis": 1} if last == "Softmax" else {}
        nodes.append(node(last, [at], ["p"], **axis))
        at = "p"
    if len(layout) == 3:
        nodes.append(node("Squeeze", [at, "zero"], ["q"]))
        at = "q"
    back = {"NHWC": [0, 2, 3, 1], "HWC": [1, 2, 0]}.get(layout)
    nodes.append(
        node("Transpose", [at], ["y"], perm=back) if back else node("Identity", [at], ["y"])
    )
    values = {
        "w": random.normal(0, 1, (classes, bands, 3, 3)).astype(np.float32),
        "v": random.normal(0, 3, (classes, bands, 1, 1)).astype(np.float32),
    }
    if len(layout) == 3:
        values["zero"] = np.zeros(1, np.int64)
    out = [{**sizes, "C": classes}[a] for a in layout]
    return save(path, nodes, tensor("x", [sizes[a] for a in layout]), [tensor("y", out)], values)


def instances(path: Path, answers: dict[str, np.ndarray], *, side: Any = "s") -> Path:
    """Write a net that answers the same whatever it sees."""
    kinds = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
    nodes = [onnx.helper.make_node("Identity", [f"{k}_"], [k]) for k in answers]
    outputs = [tensor(k, list(v.shape), kinds[v.dtype]) for k, v in answers.items()]
    values = {f"{k}_": v for k, v in answers.items()}
    return save(path, nodes, tensor("x", [1, 3, side, side]), outputs, values)


INPUT = {
    "bands": ["red", "green", "nir"],
    "samples": "reflectance",
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.25, 0.3],
    "size_px": 16,
    "margin_px": 4,
}

CLASSES = [
    {"name": "water", "words": ["water", "river"]},
    {"name": "trees", "words": ["tree", "vegetation"]},
    {"name": "grass", "words": ["grass", "vegetation"]},
    {"name": "background", "words": []},
]


def card(path: Path, output: dict[str, Any], **changes: Any) -> Path:
    """Write a card for net.onnx beside it; changes replace fields, of the input where known."""
    data = {"name": "tiny", "model": "net.onnx", "licence": "CC0-1.0"}
    data |= {k: v for k, v in changes.items() if k not in {*INPUT, "layout", "classes"}}
    shown = {**INPUT, **{k: v for k, v in changes.items() if k in {*INPUT, "layout"}}}
    parts = [_table(data), "[input]\n" + _table(shown), "[output]\n" + _table(output)]
    parts += ["[[class]]\n" + _table(c) for c in changes.get("classes", CLASSES)]
    path.write_text("\n".join(parts), "utf-8")
    return path


def _table(values: dict[str, Any]) -> str:
    written = {k: str(v).lower() if isinstance(v, bool) else repr(v) for k, v in values.items()}
    return "".join(f"{k} = {v}\n" for k, v in written.items())


SEMANTIC = {"kind": "semantic", "activation": "none"}


def raster(
    height: int, width: int, seed: int = 0, *, holes: bool = False, bands: int = 3
) -> ArrayRaster:
    """Return reflectance with shapes larger than a window, and noise."""
    random = np.random.default_rng(seed)
    coarse = random.random((bands, height // 8 + 1, width // 8 + 1))
    blobs = np.kron(coarse, np.ones((1, 8, 8)))[:, :height, :width]
    data = np.clip(blobs + random.normal(0, 0.1, blobs.shape), 0, 1).astype(np.float32)
    valid = random.random((height, width)) > 0.1 if holes else None
    return ArrayRaster(data, valid, GEOREF, UTM, ROLES)


def pixels(
    source: ArrayRaster, window: Window | None = None, trust: Window | None = None
) -> Pixels:
    """Read one window as a backend gets it; the whole raster where None."""
    window = window or source.frame.window
    return Pixels(window, *source.read(window), STRETCH, trust or window, window)


def covers(*words: str, threshold: float | None = None, kind: str = "cover") -> Legend:
    """Return one class per word."""
    return Legend(classes=tuple(LandClass(name=w, kind=kind, threshold=threshold) for w in words))
