"""What do our adapters cost beside the transformers pipelines, on the same weights and pixels?

    python benchmarks/models.py [--classes 1,5,20] [--boxes 16] [--crowd 200] [--json]

Grounding DINO-tiny and SAM 2-tiny in full size with random weights (no download), on the CPU, one
drawn tile of 1024 px. Detection is timed for some numbers of classes, outlines for some boxes; then
peak memory while a crowd of boxes is outlined. Each case runs in a process of its own. The
pipelines run one whole forward pass per class, and up-sample every mask to the whole tile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TILE_PX = 1024
WORDS = (
    *("building", "tree", "road", "car", "boat", "pond", "river", "field", "forest", "bridge"),
    *("ship", "pool", "roof", "house", "court", "tank", "plane", "truck", "bus", "crane"),
)


def draw(seed: int = 3) -> np.ndarray[Any, Any]:
    """Return a picture (row, col, 3) uint8 of coloured boxes on noise."""
    random = np.random.default_rng(seed)
    picture = random.integers(60, 120, (TILE_PX, TILE_PX, 3), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes(60).astype(int):
        picture[y0:y1, x0:x1] = random.integers(0, 255, 3)
    return picture


def boxes(count: int) -> np.ndarray[Any, Any]:
    """Return (count, 4) boxes of 20 to 80 px, in pixels of the tile."""
    random = np.random.default_rng(5)
    low = random.uniform(0, TILE_PX - 80, (count, 2))
    found = np.concatenate((low, low + random.uniform(20, 80, (count, 2))), axis=1)
    return found.astype(np.float32)


def save(folder: Path) -> None:
    """Write both models with random weights, as their makers save them."""
    import torch
    import transformers as tf

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import tiny

    torch.manual_seed(1)
    words = tiny.bert_words()
    detector = tf.GroundingDinoForObjectDetection(
        tf.GroundingDinoConfig(text_config=tf.BertConfig(vocab_size=len(words)))
    )
    detector.save_pretrained(folder / "detector")
    tf.GroundingDinoProcessor(tf.GroundingDinoImageProcessor(), words).save_pretrained(
        folder / "detector"
    )
    tf.Sam2Model(tf.Sam2Config()).save_pretrained(folder / "segmenter")
    tf.Sam2Processor(tf.Sam2ImageProcessor()).save_pretrained(folder / "segmenter")


def detect_ours(folder: Path, count: int) -> dict[str, float]:
    """Time one tile through our detector."""
    from geoseg import LandClass, Legend
    from geoseg.backends.models.grounding_dino import grounding_dino
    from geoseg.config import ModelOptions

    legend = Legend(classes=[LandClass(name=w, threshold=0.25) for w in WORDS[:count]])
    detector = grounding_dino(str(folder / "detector"), ModelOptions(device="cpu")).ask(legend)
    picture = draw()
    start = time.perf_counter()
    detector.detect([picture])
    return {"seconds": time.perf_counter() - start}


def detect_pipeline(folder: Path, count: int) -> dict[str, float]:
    """Time one tile through the pipeline of transformers."""
    from PIL import Image
    from transformers import pipeline

    ask = pipeline("zero-shot-object-detection", model=str(folder / "detector"), device="cpu")
    picture = Image.fromarray(draw())
    start = time.perf_counter()
    ask(picture, candidate_labels=WORDS[:count], threshold=0.25)
    return {"seconds": time.perf_counter() - start}


def outline_ours(folder: Path, count: int) -> dict[str, float]:
    """Time the outlines of boxes through our segmenter, and measure its memory."""
    from geoseg.backends.detections import Detections
    from geoseg.backends.models.sam2 import sam2
    from geoseg.config import ModelOptions

    segmenter = sam2(str(folder / "segmenter"), ModelOptions(device="cpu")).ready()
    picture = draw()
    asked = Detections(boxes(count), np.zeros(count, np.int32), np.ones(count, np.float32))
    before = _peak_mb()
    start = time.perf_counter()
    segmenter.cut([picture], [asked], [picture.shape[:2]])
    return {"seconds": time.perf_counter() - start, "mb": _peak_mb() - before, "peak": _peak_mb()}


def outline_reference(folder: Path, count: int) -> dict[str, float]:
    """Time the outlines of boxes through transformers' model and processor."""
    import torch
    from transformers import Sam2Model, Sam2Processor

    model = Sam2Model.from_pretrained(folder / "segmenter").eval()
    processor = Sam2Processor.from_pretrained(folder / "segmenter")
    picture = draw()
    before = _peak_mb()
    start = time.perf_counter()
    inputs = processor(images=picture, input_boxes=[boxes(count).tolist()], return_tensors="pt")
    with torch.inference_mode():
        out = model(**inputs, multimask_output=False)
    processor.post_process_masks(out.pred_masks, inputs["original_sizes"])
    return {"seconds": time.perf_counter() - start, "mb": _peak_mb() - before, "peak": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CASES = {f.__name__: f for f in (detect_ours, detect_pipeline, outline_ours, outline_reference)}


def run(case: str, folder: Path, count: int) -> dict[str, float]:
    """Run a case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder), str(count)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(folder: Path, classes: list[int], few: int, crowd: int) -> dict[str, Any]:
    """Run all cases, ours and the reference side by side."""
    result: dict[str, Any] = {"classes": {}}
    for count in classes:
        ours, theirs = (
            run(c, folder, count)["seconds"] for c in ("detect_ours", "detect_pipeline")
        )
        result["classes"][count] = {"ours_s": round(ours, 1), "pipeline_s": round(theirs, 1)}
        print(f"{count:3} classes: ours {ours:.1f} s, pipeline {theirs:.1f} s per tile", flush=True)
    for name, count in (("boxes", few), ("crowd", crowd)):
        ours, theirs = (run(c, folder, count) for c in ("outline_ours", "outline_reference"))
        result[name] = {
            "boxes": count,
            **{f"ours_{k}": round(v, 1) for k, v in ours.items()},
            **{f"reference_{k}": round(v, 1) for k, v in theirs.items()},
        }
        print(
            f"{count:3} boxes: ours {ours['seconds']:.1f} s, + {ours['mb']:.0f} MB; reference "
            f"{theirs['seconds']:.1f} s, + {theirs['mb']:.0f} MB",
            flush=True,
        )
    return result


def main() -> None:
    """Print one line per case, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--classes", default="1,5,20", help="numbers of classes, by commas")
    parser.add_argument("--boxes", type=int, default=16, help="boxes that are timed")
    parser.add_argument("--crowd", type=int, default=200, help="boxes whose memory is measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("count", nargs="?", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(CASES[args.case](args.folder, args.count)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder)
        classes = [int(c) for c in args.classes.split(",")]
        result = measure(folder, classes, args.boxes, args.crowd)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
