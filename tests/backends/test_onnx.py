"""Laws of nets on a lattice: what they answer is what they say by hand, whatever the tiling."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import CLASSES, INPUT, SEMANTIC, card, covers, onnx, pixels, raster, semantic
from rasterio.features import rasterize
from scenes import examples

import geoseg
from geoseg.backends import Backend, Fittable
from geoseg.backends.onnx import Onnx
from geoseg.backends.onnx.lattice import Lattice
from geoseg.errors import BackendError
from geoseg.export import COLUMNS
from geoseg.raster import ArrayRaster
from geoseg.window import Window

SAME = [c for c in COLUMNS if c not in ("n_tiles", "seam_iou")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Onnx:
    """Return a backend of windows of 16 pixels with a margin of 4."""
    folder = tmp_path_factory.mktemp("tiny")
    semantic(folder / "net.onnx")
    return Onnx.load(card(folder / "card.toml", SEMANTIC))


def by_hand(path: str | Path, source: ArrayRaster, size: int, margin: int) -> np.ndarray:
    """Return what the net says (class, row, col), run window by window over the padded raster."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    data, valid = source.read(source.frame.window)
    mean, std = (np.array(INPUT[k])[:, None, None] for k in ("mean", "std"))
    shown = ((data.astype(np.float64) - mean) / std).astype(np.float32)
    shown[:, ~valid] = 0
    height, width = valid.shape
    stride = size - 2 * margin
    rows, cols = -(-height // stride), -(-width // stride)
    pad = [(margin, n * stride - k + margin) for n, k in ((rows, height), (cols, width))]
    padded = np.pad(shown, [(0, 0), *pad], mode="edge")
    parts = [
        [
            session.run(None, {"x": padded[None, :, y : y + size, x : x + size]})[0][
                0, :, margin : size - margin, margin : size - margin
            ]
            for x in range(0, cols * stride, stride)
        ]
        for y in range(0, rows * stride, stride)
    ]
    return np.block(parts)[:, :height, :width]


def evidence(backend: Onnx, source: ArrayRaster, legend: geoseg.Legend) -> np.ndarray:
    fitted = backend.fit(source, legend)
    return fitted.model.evidence(fitted.plan, pixels(source))


@given(
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    seed=st.integers(0, 99),
    holes=st.booleans(),
)
@examples(15)
def test_the_evidence_is_what_the_net_says_by_hand(tiny, size, seed, holes):
    source = raster(*size, seed, holes=holes)
    said = by_hand(tiny.model.net.path, source, 16, 4)
    _, valid = source.read(source.frame.window)
    found = evidence(tiny, source, covers("river", "tree", "grass"))
    assert (found[:, valid] == said[:3][:, valid]).all()


@given(
    size=st.integers(8, 40),
    margin=st.integers(0, 19),
    wanted=st.tuples(*[st.integers(-50, 200)] * 2, *[st.integers(1, 90)] * 2),
)
def test_every_pixel_lies_in_one_cell_whose_window_is_within_the_halo(size, margin, wanted):
    lattice = Lattice(size, margin % (size // 2))
    x, y, width, height = wanted
    wanted = Window(x, y, x + width, y + height)
    seen = np.zeros(wanted.shape, int)
    for cell, window in lattice.cells(wanted):
        kept = cell.intersection(wanted)
        seen[kept.slices_in(wanted)] += 1
        assert window.width == window.height == size
        assert window.intersection(kept.grow(lattice.halo_px, window)) == window
        assert cell.x0 % lattice.stride_px == cell.y0 % lattice.stride_px == 0
    assert (seen == 1).all()


@given(place=st.tuples(*[st.integers(0, 10_000)] * 5), holes=st.booleans())
@examples(25)
def test_an_answer_does_not_depend_on_its_window(tiny, place, holes):
    seed, a, b, c, d = place
    source = raster(60, 70, seed, holes=holes)
    full = source.frame.window
    x0, y0 = a % 69, b % 59
    core = Window(x0, y0, x0 + 1 + c % (70 - x0), y0 + 1 + d % (60 - y0))
    fitted = tiny.fit(source, covers("water", "vegetation"))
    whole = fitted.model.evidence(fitted.plan, pixels(source))
    part = pixels(source, core.grow(fitted.halo_px, full), core)
    rows, cols = core.slices_in(part.window)
    alone = fitted.model.evidence(fitted.plan, part)[:, rows, cols]
    valid = part.valid[rows, cols]
    expected = whole[:, *core.slices_in(full)]
    assert (alone[:, valid] == expected[:, valid]).all()


@given(
    size=st.tuples(st.integers(20, 70), st.integers(20, 70)),
    tile=st.integers(30, 60),
    more=st.integers(0, 8),
    seed=st.integers(0, 99),
    kinds=st.tuples(*[st.sampled_from(["cover", "object"])] * 2),
)
@examples(12)
def test_a_map_does_not_depend_on_its_tiles(tiny, size, tile, more, seed, kinds):
    source = raster(*size, seed, holes=bool(seed % 2))
    legend = geoseg.Legend(
        classes=tuple(
            geoseg.LandClass(name=w, kind=k)
            for w, k in zip(("water", "vegetation"), kinds, strict=True)
        )
    )
    # Objects are recognised by one pixel more.
    overlap = min(2 * (tiny.halo_px + 1) + more, tile - 2)
    maps = [
        geoseg.segment(source, legend, backend=tiny, **cut).features()
        for cut in ({"tile": 4096}, {"tile": tile, "overlap": overlap})
    ]
    assert len(maps[0]) > 0
    assert maps[0][SAME].equals(maps[1][SAME])
    assert list(maps[0].geometry.to_wkb()) == list(maps[1].geometry.to_wkb())


def test_the_halo_is_what_the_net_sees_and_one_more(tiny):
    source = raster(80, 80)
    legend = covers("water")
    before = evidence(tiny, source, legend)[0]
    changed = source.data.copy()
    # The last pixel of a window, as far as can be from the first of its cell.
    changed[:, 43, 43] = 1 - changed[:, 43, 43]
    after = evidence(tiny, dataclasses.replace(source, data=changed), legend)[0]
    away = np.abs(np.argwhere(before != after) - 43).max()
    assert away == tiny.halo_px - 1 == 11


def test_processes_give_the_same_map(tiny):
    source = raster(60, 60, 3)
    maps = [
        geoseg.segment(
            source, covers("water", "tree"), backend=tiny, tile=48, overlap=24, workers=workers
        ).features()
        for workers in (1, 2)
    ]
    assert maps[0].equals(maps[1])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW", "HWC"])
@pytest.mark.parametrize("side", [16, "side"])
def test_every_layout_gives_the_same(tmp_path, tiny, layout, side):
    semantic(tmp_path / "net.onnx", layout=layout, side=side)
    backend = Onnx.load(card(tmp_path / "card.toml", SEMANTIC, layout=layout))
    source, legend = raster(30, 30, 1), covers("water", "grass")
    assert evidence(backend, source, legend) == pytest.approx(
        evidence(tiny, source, legend), abs=1e-6
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_activation_outside_the_net_is_that_inside(tmp_path, activation):
    found = []
    for last, said in (("", activation), (activation.capitalize(), "none")):
        semantic(tmp_path / "net.onnx", last=last)
        output = {"kind": "semantic", "activation": said, "exclusive": activation == "softmax"}
        backend = Onnx.load(card(tmp_path / "card.toml", output))
        found.append(evidence(backend, raster(30, 30, 1), covers("water", "vegetation")))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
def test_words_of_several_classes_add_up_or_take_the_most(tmp_path, exclusive):
    last = "Softmax" if exclusive else "Sigmoid"
    semantic(tmp_path / "net.onnx", last=last)
    output = {"kind": "semantic", "activation": "none", "exclusive": exclusive}
    backend = Onnx.load(card(tmp_path / "card.toml", output))
    found = evidence(backend, raster(30, 30), covers("tree", "grass", "vegetation"))
    both = found[0] + found[1] if exclusive else np.maximum(found[0], found[1])
    assert found[2] == pytest.approx(both, abs=1e-6)
    asked = geoseg.Legend(classes=(geoseg.LandClass(name="green", prompts=("tree", "grass")),))
    assert (evidence(backend, raster(30, 30), asked)[0] == found[2]).all()


def test_at_threshold_zero_every_pixel_goes_to_the_first_choice(tmp_path):
    semantic(tmp_path / "net.onnx", classes=3)
    backend = Onnx.load(card(tmp_path / "card.toml", SEMANTIC, classes=CLASSES[:3]))
    source = raster(40, 40, 2)
    said = by_hand(backend.model.net.path, source, 16, 4)
    run = geoseg.segment(source, covers("water", "tree", "grass", threshold=0.0), backend=backend)
    found = run.features()
    sure = np.sort(said, axis=0)[-1] - np.sort(said, axis=0)[-2] > 1e-3
    for cls, word in enumerate(("water", "tree", "grass")):
        shapes = found.geometry[found["class"] == word]
        mask = rasterize(shapes, (40, 40), transform=source.transform) > 0
        assert (mask == (said.argmax(axis=0) == cls))[sure].all()


def test_a_higher_threshold_keeps_less(tiny):
    source = raster(40, 40, 5)
    areas = [
        geoseg.segment(source, covers("water", threshold=t), backend=tiny).features().area.sum()
        for t in (0.2, 0.5, 0.9)
    ]
    assert areas[0] > areas[1] > areas[2] > 0


def test_what_lies_under_nodata_does_not_matter(tiny):
    source = raster(40, 40, 4, holes=True)
    legend = covers("water")
    other = np.where(source.valid, source.data, np.nan).astype(np.float32)
    again = dataclasses.replace(source, data=other)
    assert (evidence(tiny, source, legend) == evidence(tiny, again, legend)).all()
    other[:, ~source.valid] = -3.4e38
    again = dataclasses.replace(source, data=other)
    assert np.isfinite(evidence(tiny, again, legend)).all()


@pytest.mark.parametrize(
    ("samples", "dtype", "expected"),
    [
        ("reflectance", "uint16", (np.array([2000, 5000, 9000]) * 1e-4 - 0.5) / 0.25),
        ("raw", "uint16", (np.array([2000, 5000, 9000]) - 0.5) / 0.25),
        ("unit", "uint8", (np.array([20, 50, 90]) / 255 - 0.5) / 0.25),
        ("byte", "uint8", (np.array([20, 50, 90]) - 0.5) / 0.25),
    ],
)
def test_samples_become_what_the_card_says(tmp_path, samples, dtype, expected):
    semantic(tmp_path / "net.onnx")
    backend = Onnx.load(card(tmp_path / "card.toml", SEMANTIC, samples=samples))
    values = {"uint16": [2000, 5000, 9000], "uint8": [20, 50, 90]}[dtype]
    data = np.broadcast_to(np.array(values, dtype), (3, 1, 3)).copy()
    source = ArrayRaster(data, roles={"red": 1, "green": 2, "nir": 3})
    shown = backend.fit(source, covers("water")).plan.channels.show(
        pixels(source), source.frame.window
    )
    assert shown[1, 0] == pytest.approx(expected, rel=1e-6)


def test_a_stretched_picture_is_cut_to_its_range(tmp_path):
    semantic(tmp_path / "net.onnx")
    changes = {"samples": "unit", "mean": [0, 0, 0], "std": [1, 1, 1]}
    backend = Onnx.load(card(tmp_path / "card.toml", SEMANTIC, **changes))
    source = raster(40, 40)
    shown = backend.fit(source, covers("water")).plan.channels.show(
        pixels(source), source.frame.window
    )
    assert (shown.min(), shown.max()) == (0, 1)


def test_it_is_a_backend_that_can_be_pickled(tiny):
    assert isinstance(tiny, Backend)
    assert isinstance(tiny, Fittable)
    source = raster(30, 30)
    fitted = tiny.fit(source, covers("water"))
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    assert again == fitted
    first, second = (b.segment([pixels(source)])[0] for b in (fitted, again))
    assert (first.evidence[0] == second.evidence[0]).all()
    with pytest.raises(BackendError, match="call fit"):
        tiny.segment([pixels(source)])


def test_the_identity_tells_nets_cards_and_rasters_apart(tmp_path):
    semantic(tmp_path / "net.onnx")
    path = card(tmp_path / "card.toml", SEMANTIC)
    seen = [Onnx.load(path)]
    seen += [Onnx.load(card(path, SEMANTIC, margin_px=2))]
    semantic(tmp_path / "net.onnx", seed=1)
    seen += [Onnx.load(path)]
    seen += [seen[0].fit(raster(20, 20), covers("water"))]
    identities = [b.identity for b in seen]
    assert len(set(identities)) == 4
    assert all(i.split()[0] == "tiny" for i in identities)
    (tmp_path / "net.onnx.data").write_bytes(b"weights")
    assert Onnx.load(path).identity not in identities


def test_missing_bands_name_the_knobs(tiny):
    source = dataclasses.replace(raster(20, 20), roles={"red": 1, "green": 2})
    with pytest.raises(
        BackendError, match=r"red, green, nir.*3 bands.*nir missing.*--bands.*--sens"
    ):
        tiny.fit(source, covers("water"))


@pytest.mark.parametrize(
    ("word", "hint"), [("wter", "closest: water"), ("zzz", "water, trees, gr")]
)
def test_an_unknown_word_names_known_ones(tiny, word, hint):
    with pytest.raises(BackendError, match=f"'tiny' does not know the word '{word}' .*{hint}"):
        tiny.fit(raster(20, 20), covers(word))
    with pytest.raises(BackendError, match="does not know the word 'background'"):
        tiny.fit(raster(20, 20), covers("background"))


@pytest.mark.parametrize(
    ("net", "changes", "message"),
    [
        ({"bands": 4}, {}, "takes C = 4 in layout NCHW, its card says 3: correct `bands` or `lay"),
        ({"side": 32}, {}, "takes H = 32 in layout NCHW, its card says 16: correct `size_px` or"),
        ({"classes": 3}, {}, "answers (1, 3, 16, 16) in layout NCHW; its card has 4 classes and a"),
        ({"last": ""}, {}, "are no probabilities; its card says activation = 'none'"),
        ({"last": "Sigmoid"}, {}, "that add up to 3.996; write exclusive = false"),
        ({}, {"layout": "HWC"}, "layout HWC has 3 axes: correct `layout`"),
        ({}, {"sha256": "0" * 64}, "its card wants 000000000000...: get that version"),
    ],
)
def test_a_net_that_is_not_its_card_is_refused_before_any_tile(tmp_path, net, changes, message):
    semantic(tmp_path / "net.onnx", **net)
    with pytest.raises(BackendError) as caught:
        Onnx.load(card(tmp_path / "card.toml", SEMANTIC, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a model" * 99, None])
def test_a_broken_or_missing_model_is_one_line(tmp_path, content):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        BackendError, match=r"model '.*net.onnx' (is no ONNX|cannot be read)"
    ) as caught:
        Onnx.load(card(tmp_path / "card.toml", SEMANTIC))
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_one_line(tmp_path):
    path = semantic(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BackendError, match="is no ONNX model"):
        Onnx.load(card(tmp_path / "card.toml", SEMANTIC))


def test_several_outputs_need_a_name(tmp_path):
    model = onnx.load(str(semantic(tmp_path / "net.onnx")))
    extra = onnx.helper.make_tensor_value_info("s", 1, [1, 4, 16, 16])
    model.graph.output.insert(0, extra)
    onnx.save(model, str(tmp_path / "net.onnx"))
    with pytest.raises(BackendError, match=r"outputs s, y; its card asks for none.*name = 's'"):
        Onnx.load(card(tmp_path / "card.toml", SEMANTIC))
    logits = {"kind": "semantic", "activation": "softmax", "name": "s"}
    source, legend = raster(20, 20), covers("water")
    found = evidence(Onnx.load(card(tmp_path / "card.toml", logits)), source, legend)
    probability = evidence(
        Onnx.load(card(tmp_path / "card.toml", {**SEMANTIC, "name": "y"})), source, legend
    )
    assert found == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "--device cuda needs CUDAExecutionProvider, this onnxruntime has"),
        ("mps", "--device 'mps' is not for ONNX models; auto, cpu, cuda or cuda:1"),
        ("cpu:1", "--device 'cpu:1' is not for ONNX models"),
    ],
)
def test_a_device_that_is_not_there_is_said_so(tmp_path, device, message, monkeypatch):
    semantic(tmp_path / "net.onnx")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError) as caught:
        Onnx.load(card(tmp_path / "card.toml", SEMANTIC), device=device)
    assert message in str(caught.value)
