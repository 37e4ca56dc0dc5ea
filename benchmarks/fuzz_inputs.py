"""What does the fuzzer feed to geoseg? Texts, numbers, and files that are sound or damaged.

Parts of fuzz.py: strategies of hypothesis, and the sound files that they start from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

SIDE_PX = 72

FRAGMENTS = (
    "water", "forest", "<script>alert(1)</script>", "'; DROP TABLE features;--", "../../x",
    "$(reboot)", "`id`", "=1+1", "%s%n{0}", '"', "'", "\\", "\x00", "\n", "\t", "\u202e", "\u200b",
    "\ufeff", "e\u0301", "é", "\ud800", "\udcff", "😀", "👨‍👩‍👧", "水", "مياه", ",", ";", ".",
    "?", " ", "#", "[[class]]", "gpkg_contents", "-", "--out", "\x1b[31m", "\u2028", "ﬃ", "İ", "ß",
)  # fmt: skip
ANY = st.text(st.characters(exclude_categories=()), max_size=60)
TEXTS = st.one_of(
    ANY,
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join),
    st.builds(lambda t, n: (t or "x") * n, st.text(max_size=3), st.integers(1, 10_000)),
    st.lists(ANY, max_size=30).map(",".join),
)
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ("0", "-0", "-1", "1", "15", "16", "17", "63", "64", "65", "1.5", "nan", "-inf", "1e400",
         "1e-400", "", " 5", "1_000", "0x10", "٣", "\uff19", "²", "1,5", "10%", "true", "9" * 5000,
         "1048576", "1048577", "1024", "1025", "0.3 ", "30", "None")
    ),
    TEXTS,
)  # fmt: skip


def writable(text: str) -> str:
    """Return a text as an argument of a process can be: encodable, without NUL."""
    return os.fsdecode(text.encode("utf-8", "replace")).replace("\0", "")


ARGUMENTS = TEXTS.map(writable)


def toml_value(value: Any) -> str:
    """Write a value as TOML, as far as it can be."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=value.isascii())
    return str(value).lower() if isinstance(value, bool | float) else str(value)


VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(), st.floats(), st.booleans(), st.just("#12ab9F"), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def documents(sound: str, keys: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Draw TOML files: sound ones with lines changed or bytes damaged, and plain bytes."""
    lines = sound.splitlines()
    line = st.builds(lambda k, v: f"{k} = {toml_value(v)}", st.sampled_from(keys), VALUES)
    table = st.sampled_from([f"[{k}]" for k in keys] + [f"[[{k}]]" for k in keys])

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        kept = list(lines)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(kept)))
            how = draw(st.sampled_from(("insert", "replace", "drop")))
            if how != "insert" and at < len(kept):
                del kept[at]
            if how != "drop":
                kept.insert(at, draw(st.one_of(line, table, TEXTS)))
        return "\n".join(kept).encode("utf-8", "surrogatepass")

    whole = sound.encode()
    return st.one_of(mutated(), damaged(whole), st.just(whole), st.binary(max_size=200))


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Draw a file cut short, with bits turned, most of them near its ends."""
    last = len(whole) - 1
    place = st.one_of(
        st.integers(0, min(600, last)), st.integers(0, last), st.integers(max(0, last - 600), last)
    )
    flips = st.lists(st.tuples(place, st.integers(1, 255)), max_size=6)
    lengths = st.one_of(st.none(), st.integers(0, last))

    def build(flips: list[tuple[int, int]], length: int | None) -> bytes:
        content = bytearray(whole)
        for at, bits in flips:
            content[at] ^= bits
        return bytes(content[:length])

    return st.builds(build, flips, lengths)


LEGEND = """exclusive = true
[[class]]
name = "lake"
prompts = ["water"]
kind = "cover"
colour = "#2b7bba"
threshold = 0.5
[[class]]
name = "wood"
prompts = "vegetation"
"""
LEGEND_KEYS = ("class", "exclusive", "name", "prompts", "kind", "colour", "threshold", "x", '""')

BACKENDS = (
    "spectral", "owlv2", "sam2", "grounding-dino", "clipseg", "onnx", "csmask", "everything", "x",
)  # fmt: skip


def scenes(folder: Path) -> list[Path]:
    """Draw one scene in every layout of a GeoTIFF that is common."""
    import rasterio
    from affine import Affine
    from rasterio.shutil import copy

    side = SIDE_PX
    data = np.empty((4, side, side), np.uint8)
    data[:] = np.array([70, 110, 60, 190], np.uint8)[:, None, None]
    data[:, 20:60, 9:50] = np.array([30, 50, 60, 10], np.uint8)[:, None, None]
    data += np.random.default_rng(0).integers(0, 9, data.shape).astype(np.uint8)
    base = {"width": side, "height": side, "crs": "EPSG:32633"}
    base["transform"] = Affine(10, 0, 5e5, 0, -10, 5e6)
    tiled = {"tiled": True, "blockxsize": 32, "blockysize": 32}
    layouts: dict[str, dict[str, Any]] = {
        "tiled": {**tiled, "compress": "deflate", "predictor": 2, "photometric": "MINISBLACK"},
        "strips": {"compress": "lzw", "blockysize": 7, "interleave": "band"},
        "plain": {"photometric": "MINISBLACK"},
        "jpeg": {**tiled, "compress": "jpeg", "photometric": "YCBCR", "count": 3},
        "big": {**tiled, "compress": "zstd", "bigtiff": "YES", "photometric": "MINISBLACK"},
        "float": {**tiled, "compress": "deflate", "predictor": 3, "dtype": "float32", "nodata": 0},
        "masked": {**tiled, "compress": "deflate", "count": 3},
    }
    paths = []
    for name, options in layouts.items():
        profile = {"count": 4, "dtype": "uint8", **base, **options}
        path = folder / f"{name}.tif"
        inside = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True)
        with inside, rasterio.open(path, "w", driver="GTiff", **profile) as target:
            target.write(data[: profile["count"]].astype(profile["dtype"]))
            if name == "masked":
                target.write_mask(data[3] > 50)
        paths.append(path)
    copy(paths[0], folder / "cog.tif", driver="COG", blocksize=64, overviews="IGNORE_EXISTING")
    return [*paths, folder / "cog.tif"]


CARD = """name = "net"
model = "net.onnx"
licence = "none"
[input]
bands = ["red", "green", "blue"]
samples = "byte"
mean = [1, 2, 3.5]
std = [1.0, 2, 3]
size_px = 64
margin_px = 8
layout = "NCHW"
[output]
kind = "semantic"
activation = "softmax"
exclusive = true
[[class]]
name = "ground"
words = []
[[class]]
name = "lake"
words = ["water"]
"""
CARD_KEYS = (
    "name", "model", "licence", "source", "sha256", "input", "bands", "samples", "mean", "std",
    "size_px", "margin_px", "layout", "output", "kind", "activation", "exclusive", "boxes", "class",
    "words", "x",
)  # fmt: skip


def net(path: Path) -> None:
    """Write a net that looks at single pixels."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.array([[0, 0, 0], [1, 1, -1]], np.float32).reshape(2, 3, 1, 1)
    seen = helper.make_tensor_value_info("seen", TensorProto.FLOAT, ["n", 3, 64, 64])
    said = helper.make_tensor_value_info("said", TensorProto.FLOAT, ["n", 2, 64, 64])
    node = helper.make_node("Conv", ["seen", "w"], ["said"])
    graph = helper.make_graph([node], "g", [seen], [said], [numpy_helper.from_array(weight, "w")])
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


LAYER = """{"type": "FeatureCollection", "features": [
{"type": "Feature", "properties": {"class": "water"}, "geometry":
 {"type": "Polygon", "coordinates":
  [[[15, 45.152], [15.001, 45.152], [15.001, 45.151], [15, 45.152]]]}},
{"type": "Feature", "properties": {"class": null}, "geometry":
 {"type": "Point", "coordinates": [15.002, 45.1515]}}]}
"""
