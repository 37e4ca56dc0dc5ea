"""How long from a click to a mask, beside the makers' code used plainly, on the same weights?

    python benchmarks/interactive.py [--clicks 6] [--without-vit] [--json]

SAM 2-tiny and SAM ViT-B in full size with random weights (no download), on the CPU, one drawn tile
of 1024 px. All ways are asked in turn in one process, models loaded: the first click, then clicks
on other objects, then a second click that corrects each; in seconds, and in seconds of CPU in
brackets. Encodings are counted. `warm` finds on the disk what a process before saw. The masks are
compared with the reference's. Random weights give masks as large as the tile: the worst case.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

TILE_PX = 1024
THREADS = 2
KINDS = "first", "other", "correct"
SAM2, VIT = "SAM 2-tiny", "SAM ViT-B"

Point = tuple[float, float]
Ask = Callable[[list[Point]], Any]
"""Asks for one object: the first point lies in it, the others do not."""

Way = AbstractContextManager[tuple[Ask, Callable[[], int]]]
"""How masks are asked for, and how many pictures were encoded for that."""


def draw(seed: int = 3) -> np.ndarray[Any, Any]:
    """Return a picture (row, col, 3) uint8 of coloured boxes on noise."""
    random = np.random.default_rng(seed)
    picture = random.integers(60, 120, (TILE_PX, TILE_PX, 3), dtype=np.uint8)
    for _ in range(60):
        x, y = random.integers(0, TILE_PX - 90, 2)
        width, height = random.integers(20, 90, 2)
        picture[y : y + height, x : x + width] = random.integers(0, 255, 3)
    return picture


def objects(count: int) -> list[list[Point]]:
    """Return a point in each of some objects, and one beside it."""
    random = np.random.default_rng(5)
    inside = random.uniform(100, TILE_PX - 100, (count, 2)).round()
    return [[(x, y), (x + 60.0, y + 40.0)] for x, y in inside.tolist()]


def save(folder: Path, *, vit: bool) -> None:
    """Write the models with random weights, as their makers save them."""
    import torch
    import transformers as tf
    from segment_anything import sam_model_registry

    torch.manual_seed(1)
    tf.Sam2Model(tf.Sam2Config()).save_pretrained(folder / "sam2")
    tf.Sam2Processor(tf.Sam2ImageProcessor()).save_pretrained(folder / "sam2")
    if vit:
        torch.save(sam_model_registry["vit_b"]().state_dict(), folder / "sam_vit_b.pth")


@contextmanager
def transformers(folder: Path, *, reused: bool) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """Processor and model, `get_image_embeddings` called once or the picture given every time."""
    import torch
    from transformers import Sam2Model, Sam2Processor

    model = Sam2Model.from_pretrained(folder / "sam2").eval()
    processor = Sam2Processor.from_pretrained(folder / "sam2")
    picture, count = draw(), _counted(model.vision_encoder)
    seen: dict[str, Any] = {}

    def ask(points: list[Point]) -> Any:
        prompts = {
            "input_points": [[[list(point) for point in points]]],
            "input_labels": [[[1] + [0] * (len(points) - 1)]],
            "return_tensors": "pt",
        }
        with torch.inference_mode():
            if reused and not seen:
                given = processor(images=picture, return_tensors="pt")
                seen["image_embeddings"] = model.get_image_embeddings(given["pixel_values"])
            shown = {"original_sizes": [picture.shape[:2]]} if reused else {"images": picture}
            inputs = processor(**shown, **prompts)
            sizes = inputs.pop("original_sizes")
            out = model(**inputs, **seen, multimask_output=len(points) == 1)
        (masks,) = processor.post_process_masks(out.pred_masks, sizes)
        return masks[0, int(out.iou_scores[0, 0].argmax())].numpy()

    yield ask, count


@contextmanager
def segment_anything(folder: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """SamPredictor."""
    from segment_anything import SamPredictor, sam_model_registry

    model = sam_model_registry["vit_b"](checkpoint=str(folder / "sam_vit_b.pth")).eval()
    predictor, picture, count = SamPredictor(model), draw(), _counted(model.image_encoder)

    def ask(points: list[Point]) -> Any:
        if not predictor.is_image_set:
            predictor.set_image(picture)
        labels = np.array([1] + [0] * (len(points) - 1))
        masks, quality, _ = predictor.predict(
            np.array(points), labels, multimask_output=len(points) == 1
        )
        return masks[int(quality.argmax())]

    yield ask, count


def _counted(encoder: Any) -> Callable[[], int]:
    passes: list[int] = []
    encoder.register_forward_hook(lambda *_: passes.append(1))
    return lambda: len(passes)


@contextmanager
def ours(name: str, weights: Path, kept: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """`look` once and `ask`."""
    from geoseg.backends import find, make
    from geoseg.backends.prompts import Prompt
    from geoseg.config import ModelOptions

    options = ModelOptions(device="cpu", cache=str(kept))
    segmenter = make(find(name), str(weights), options).ready()
    picture, seen = draw(), []

    def ask(points: list[Point]) -> Any:
        if not seen:
            seen.append(segmenter.look(picture))
        positive = np.array([True] + [False] * (len(points) - 1))
        prompt = Prompt(np.array(points, np.float32), positive)
        found = segmenter.ask(seen[0], prompt, picture.shape[:2])
        mask = np.zeros(picture.shape[:2], bool)
        if found:
            x0, y0, x1, y1 = found[0].box
            mask[y0:y1, x0:x1] = found[0].mask
        return mask

    yield ask, lambda: int(segmenter.encoded)


@contextmanager
def session(folder: Path, kept: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """`geoseg.Session`: read, stretched, outlined, in map coordinates."""
    import geoseg
    from geoseg.config import ModelOptions

    with tempfile.TemporaryDirectory() as place:
        raster = Path(place) / "scene.tif"
        crs = _write(raster)
        made = geoseg.Session(
            raster,
            model=f"sam2:{folder / 'sam2'}",
            out=Path(place) / "map.gpkg",
            models=ModelOptions(device="cpu", cache=str(kept)),
            crs=crs,
        )

        def ask(points: list[Point]) -> Any:
            if len(points) == 1:
                made.clear()
            x, y = points[-1]
            made.click(5e5 + 0.5 * x, 5e6 - 0.5 * y, positive=len(points) == 1)

        yield ask, lambda: int(made.encoded)


def _write(path: Path) -> str:
    import rasterio
    from affine import Affine

    picture, crs = draw(), "EPSG:32633"
    shape = {"width": TILE_PX, "height": TILE_PX, "count": 3, "dtype": "uint8"}
    place = Affine(0.5, 0, 5e5, 0, -0.5, 5e6)
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=place, **shape) as file:
        file.write(picture.transpose(2, 0, 1))
    return crs


def ways(model: str, folder: Path, kept: Path) -> dict[str, Way]:
    """Return what is asked about one model, the reference first; embeddings of `kept` are warm."""
    import geoseg

    cold = folder / f"cold {os.getpid()}"
    if model == VIT:
        weights = folder / "sam_vit_b.pth"
        return {
            "segment-anything, SamPredictor": segment_anything(folder),
            "geoseg look, ask: cold": ours("sam", weights, cold),
            "geoseg look, ask: warm": ours("sam", weights, kept),
        }
    found: dict[str, Way] = {
        "transformers, embeddings reused": transformers(folder, reused=True),
        "transformers, encoded at every click": transformers(folder, reused=False),
        "geoseg look, ask: cold": ours("sam2", folder / "sam2", cold),
        "geoseg look, ask: warm": ours("sam2", folder / "sam2", kept),
    }
    if hasattr(geoseg, "Session"):
        found["geoseg.Session: cold"] = session(folder, cold / "session")
        found["geoseg.Session: warm"] = session(folder, kept / "session")
    return found


def fill(model: str, folder: Path, kept: Path) -> None:
    """Keep the embeddings of the tile, as a process before does; wakes torch up as well."""
    for title, way in ways(model, folder, kept).items():
        if title.endswith("warm"):
            with way as (ask, _):
                ask(objects(1)[0][:1])


def time_ways(model: str, folder: Path, clicks: int) -> dict[str, dict[str, float]]:
    """Time all ways in turn: the first click, further ones, and corrections."""
    import torch

    torch.set_num_threads(THREADS)
    fill(model, folder, folder / "kept")
    chosen = ways(model, folder, folder / "kept")
    times: dict[str, dict[str, list[tuple[float, float]]]] = {
        title: {kind: [] for kind in KINDS} for title in chosen
    }
    pixels: dict[str, list[float]] = {title: [] for title in chosen}
    with ExitStack() as stack:
        opened = {title: stack.enter_context(way) for title, way in chosen.items()}
        for k, (inside, beside) in enumerate(objects(clicks)):
            name = "other" if k else "first"
            for kind, points in ((name, [inside]), ("correct", [inside, beside])):
                expected = None
                for title, (ask, _) in opened.items():
                    start, busy = time.perf_counter(), time.process_time()
                    mask = ask(points)
                    spent = time.perf_counter() - start, time.process_time() - busy
                    times[title][kind].append(spent)
                    expected = mask if expected is None else expected
                    if mask is not None:
                        pixels[title].append(float((mask == expected).mean()))
        counts = {title: count() for title, (_, count) in opened.items()}
    return {
        title: {
            **{kind: statistics.median(t for t, _ in found) for kind, found in kinds.items()},
            **{f"{kind}_cpu": statistics.median(t for _, t in f) for kind, f in kinds.items()},
            "encoded": counts[title],
            **({"same": statistics.mean(pixels[title])} if pixels[title] else {}),
        }
        for title, kinds in times.items()
    }


def measure(model: str, folder: Path, clicks: int) -> dict[str, dict[str, float]]:
    """Time the ways of a model in a process of its own, and print them."""
    command = [sys.executable, __file__, "--model", model, "--folder", str(folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
                   "OMP_NUM_THREADS": str(THREADS)}  # fmt: skip
    done = subprocess.run([*command, "--clicks", str(clicks)], stdout=subprocess.PIPE, text=True,
                          check=True, env=environment)  # fmt: skip
    found: dict[str, dict[str, float]] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{model:37}{'first':>15}{'other':>15}{'correct':>15}  encoded  as the reference")
    for title, times in found.items():
        shown = "".join(f"{times[k]:7.2f} ({times[f'{k}_cpu']:5.2f})" for k in KINDS)
        alike = f"{times['same']:.4%}" if "same" in times else "-"
        print(f"{title:37}{shown}{times['encoded']:9.0f}  {alike}", flush=True)
    print(f"encoded: of {2 * clicks} clicks\n")
    return found


def main() -> None:
    """Print a table per model, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clicks", type=int, default=6, help="objects that are clicked")
    parser.add_argument("--without-vit", action="store_true", help="leave SAM ViT-B out")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", choices=(SAM2, VIT), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.clicks < 2:
        parser.error("--clicks: at least 2, one of them first")
    if args.model:
        print(json.dumps(time_ways(args.model, args.folder, args.clicks)))
        return
    models = [SAM2] if args.without_vit else [SAM2, VIT]
    with tempfile.TemporaryDirectory() as name:
        save(Path(name), vit=VIT in models)
        result = {model: measure(model, Path(name), args.clicks) for model in models}
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
