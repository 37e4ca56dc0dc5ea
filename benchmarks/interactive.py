"""How long from a click to a mask, beside the makers' code used plainly, on the same weights?

    python benchmarks/interactive.py [--clicks 8] [--rounds 1] [--without-vit] [--json]

SAM 2-tiny and SAM ViT-B in full size with random weights (no download), on the CPU, one drawn tile
of 1024 px. Each way runs in a process of its own, after its model is loaded: the first click, then
clicks on other objects, then a second click that corrects each; in seconds, and in seconds of CPU
in brackets, which tell more where others use the machine. Encodings are counted. `warm` finds on
the disk what a process before it saw. The masks are compared with the reference's.
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

TILE_PX = 1024
THREADS = 2
KINDS = "first", "other", "correct"

Point = tuple[float, float]
Ask = Callable[[list[Point]], Any]
"""Asks for one object: the first point lies in it, the others do not."""


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


def transformers_plain(folder: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """Processor and model, the picture encoded at every click."""
    yield _transformers(folder, reused=False)


def transformers_reused(folder: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """Processor and model, `get_image_embeddings` called once."""
    yield _transformers(folder, reused=True)


def _transformers(folder: Path, *, reused: bool) -> tuple[Ask, Callable[[], int]]:
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

    return ask, count


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


def ours_sam2(folder: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """`look` once and `ask`."""
    yield _ours("sam2", folder / "sam2", folder / "kept")


def ours_vit(folder: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
    """`look` once and `ask`."""
    yield _ours("sam", folder / "sam_vit_b.pth", folder / "kept_vit")


def _ours(name: str, weights: Path, cache: Path) -> tuple[Ask, Callable[[], int]]:
    from geoseg.backends import find, make
    from geoseg.backends.prompts import Prompt
    from geoseg.config import ModelOptions

    options = ModelOptions(device="cpu", cache=str(cache))
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

    return ask, lambda: int(segmenter.encoded)


def session(folder: Path) -> Iterator[tuple[Ask, Callable[[], int]]]:
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
            models=ModelOptions(device="cpu", cache=str(folder / "kept_session")),
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


WAYS = {f.__name__: f for f in (transformers_plain, transformers_reused, segment_anything,
                                ours_sam2, ours_vit, session)}  # fmt: skip


def time_way(way: str, folder: Path, clicks: int, masks: Path) -> dict[str, float]:
    """Time one way: the first click, further ones, and corrections."""
    import torch

    torch.set_num_threads(THREADS)
    found: dict[str, Any] = {}
    times: dict[str, list[tuple[float, float]]] = {"first": [], "other": [], "correct": []}
    with contextmanager(WAYS[way])(folder) as (ask, count):
        for k, (inside, beside) in enumerate(objects(clicks)):
            name = "other" if k else "first"
            for kind, points in ((name, [inside]), ("correct", [inside, beside])):
                start, busy = time.perf_counter(), time.process_time()
                mask = ask(points)
                times[kind].append((time.perf_counter() - start, time.process_time() - busy))
                if mask is not None:
                    found[f"{kind}{k}"] = np.packbits(mask)
        encoded = count()
    np.savez(masks, **found)
    result = {"encoded": float(encoded)}
    for kind, pairs in times.items():
        seconds, busy_s = zip(*pairs, strict=True)
        result[kind] = statistics.median(seconds)
        result[f"{kind}_cpu"] = statistics.median(busy_s)
    return result


def run(way: str, folder: Path, clicks: int, masks: Path) -> dict[str, float]:
    """Run a way in a process of its own."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    command += ["--clicks", str(clicks), "--masks", str(masks)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
                   "OMP_NUM_THREADS": str(THREADS)}  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    times: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return times


def same(one: Path, other: Path) -> float:
    """Return which share of the pixels of two ways' masks is the same."""
    with np.load(one) as a, np.load(other) as b:
        differing = sum(int(np.bitwise_count(a[name] ^ b[name]).sum()) for name in a)
        return 1 - differing / (8 * sum(a[name].size for name in a))


def plan(*, vit: bool) -> list[tuple[str, str, str | None]]:
    """Return what is run in turn: its title, its way, and the folder that must be empty before."""
    import geoseg

    steps = [
        ("transformers, encoded at every click", "transformers_plain", None),
        ("transformers, embeddings reused", "transformers_reused", None),
        ("geoseg look, ask: cold", "ours_sam2", "kept"),
        ("geoseg look, ask: warm", "ours_sam2", None),
    ]
    if hasattr(geoseg, "Session"):
        steps += [("geoseg.Session, cold", "session", "kept_session"),
                  ("geoseg.Session, warm", "session", None)]  # fmt: skip
    if vit:
        steps += [("segment-anything, ViT-B", "segment_anything", None),
                  ("geoseg look, ask: ViT-B, cold", "ours_vit", "kept_vit"),
                  ("geoseg look, ask: ViT-B, warm", "ours_vit", None)]  # fmt: skip
    return steps


def measure(folder: Path, clicks: int, rounds: int, *, vit: bool) -> dict[str, Any]:
    """Run all ways in turn, in some rounds, and keep the best of each; then compare masks."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for title, way, empty in plan(vit=vit):
            for file in (folder / empty).glob("*") if empty else ():
                file.unlink()
            found = run(way, folder, clicks, folder / f"{title}.npz")
            before = best.setdefault(title, found)
            best[title] = {name: min(before[name], value) for name, value in found.items()}
    print(f"{'':36}{'first':>15}{'other':>15}{'correct':>15}  encoded, of {2 * clicks} clicks")
    for title, times in best.items():
        shown = "".join(f"{times[n]:7.2f} ({times[f'{n}_cpu']:5.2f})" for n in KINDS)
        print(f"{title:36}{shown}  {times['encoded']:.0f}")
    pairs = {
        "SAM 2-tiny": ("transformers, embeddings reused", "geoseg look, ask: warm"),
        "SAM ViT-B": ("segment-anything, ViT-B", "geoseg look, ask: ViT-B, warm"),
    }
    result: dict[str, Any] = {"ways": best, "same": {}}
    for model, names in pairs.items():
        if names[0] in best:
            share = same(*(folder / f"{name}.npz" for name in names))
            result["same"][model] = share
            theirs, ours = (best[name] for name in names)
            print(
                f"{model}: {share:.4%} of the pixels of {2 * clicks} masks are the reference's; "
                f"as fast, by CPU: the first click warm {_ratio(theirs, ours, 'first')}, others "
                f"{_ratio(theirs, ours, 'other')}, corrections {_ratio(theirs, ours, 'correct')}"
            )
    return result


def _ratio(theirs: dict[str, float], ours: dict[str, float], kind: str) -> str:
    return f"{theirs[f'{kind}_cpu'] / ours[f'{kind}_cpu']:.2f} x"


def main() -> None:
    """Print a table, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clicks", type=int, default=8, help="objects that are clicked")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many is kept")
    parser.add_argument("--without-vit", action="store_true", help="leave SAM ViT-B out")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--masks", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.clicks < 2:
        parser.error("--clicks: at least 2, one of them first")
    if args.way:
        print(json.dumps(time_way(args.way, args.folder, args.clicks, args.masks)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder, vit=not args.without_vit)
        result = measure(folder, args.clicks, args.rounds, vit=not args.without_vit)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
