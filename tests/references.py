"""What the makers' own code answers: logits and qualities to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import tiny
import torch
import transformers as tf
from segment_anything import SamPredictor
from torch.nn.functional import interpolate

from geoseg.backends.prompts import Prompt

_MODELS = {
    "sam": (tf.SamModel, tf.SamProcessor),
    "sam-hq": (tf.SamHQModel, tf.SamHQProcessor),
    "sam2": (tf.Sam2Model, tf.Sam2Processor),
    "sam2-video": (tf.Sam2Model, tf.Sam2Processor),
    "edgetam": (tf.EdgeTamModel, tf.Sam2Processor),
    "sam3-tracker": (tf.Sam3TrackerModel, tf.Sam3TrackerProcessor),
    "sam3": (tf.Sam3Model, tf.Sam3Processor),
    "clipseg": (tf.CLIPSegForImageSegmentation, tf.CLIPSegProcessor),
}


@cache
def _loaded(name: str, folder: Path) -> tuple[torch.nn.Module, tf.ProcessorMixin]:
    kind, processing = _MODELS[name]
    return kind.from_pretrained(folder).eval(), processing.from_pretrained(folder)


def prompted(
    name: str, folder: Path, picture: np.ndarray, prompts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ask a model through its makers' own processing.

    Returns (n, k, row, col) logits in pixels of the picture and (n, k) predicted IoU; prompts are
    (n, 4) boxes or (n, 2) points.
    """
    if name == "segment-anything":
        return segment_anything(folder, picture, prompts)
    model, processor = _loaded(name, folder)
    is_box = prompts.shape[1] == 4
    asked = (
        {"input_boxes": [prompts.tolist()]}
        if is_box
        else {"input_points": [[[p] for p in prompts.tolist()]],
              "input_labels": [[[1]] * len(prompts)]}
    )  # fmt: skip
    given = processor(images=[picture], return_tensors="pt", **asked)
    sizes = [given.pop("original_sizes")]
    if "reshaped_input_sizes" in given:
        sizes.append(given.pop("reshaped_input_sizes"))
    with torch.inference_mode():
        out = model(**given, multimask_output=not is_box)
    pad = {"pad_size": processor.image_processor.pad_size} if len(sizes) == 2 else {}
    logits = processor.image_processor.post_process_masks(
        out.pred_masks, *sizes, binarize=False, **pad
    )
    return logits[0].numpy(), out.iou_scores[0].numpy()


def segment_anything(
    file: Path, picture: np.ndarray, prompts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ask SAM through its makers' SamPredictor; as `prompted`."""
    predictor = SamPredictor(_own(file))
    predictor.set_image(picture)
    is_box = prompts.shape[1] == 4
    change = predictor.transform.apply_boxes if is_box else predictor.transform.apply_coords
    asked = torch.as_tensor(change(prompts, picture.shape[:2]), dtype=torch.float)
    ones = torch.ones(len(prompts), 1)
    logits, quality, _ = predictor.predict_torch(
        *((None, None, asked) if is_box else (asked[:, None], ones)),
        multimask_output=not is_box, return_logits=True,
    )  # fmt: skip
    return logits.numpy(), quality.numpy()


def pointed_at(
    name: str, folder: Path, picture: np.ndarray, prompt: Prompt
) -> tuple[np.ndarray, np.ndarray]:
    """Ask a model about one object through its makers' own processing.

    Returns (k, row, col) logits in pixels of the picture and (k,) predicted IoU: several for one
    point alone, else one, as SamPredictor's documentation recommends.
    """
    box, mask = prompt.box, prompt.mask
    if mask is not None and box is None and not len(prompt.points):
        rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        box = np.array((cols[0], rows[0], cols[-1] + 1, rows[-1] + 1), np.float32)
    several = box is None and mask is None and len(prompt.points) == 1
    labels = prompt.positive.astype(int)
    if name == "segment-anything":
        predictor = SamPredictor(_own(folder))
        predictor.set_image(picture)
        points = {"point_coords": prompt.points, "point_labels": labels} if len(labels) else {}
        cells = predictor.model.prompt_encoder.mask_input_size[0]
        low = None if mask is None else _logits(mask, predictor.input_size, cells)[0]
        logits, quality, _ = predictor.predict(
            **points, box=box, mask_input=low, multimask_output=several, return_logits=True
        )
        return logits, quality
    model, processor = _loaded(name, folder)
    points = (
        {"input_points": [[prompt.points.tolist()]], "input_labels": [[labels.tolist()]]}
        if len(labels)
        else {}
    )
    boxes = {} if box is None else {"input_boxes": [[box.tolist()]]}
    given = processor(images=[picture], return_tensors="pt", **points, **boxes)
    sizes = [given.pop("original_sizes")]
    padded = "reshaped_input_sizes" in given
    if padded:
        sizes.append(given.pop("reshaped_input_sizes"))
    if mask is not None:
        # Those that stretch the picture make a large mask small themselves.
        seen = sizes[1][0].tolist() if padded else [tiny.PIXELS] * 2
        cells = model.prompt_encoder.image_embedding_size[0] * 4 if padded else tiny.PIXELS
        given["input_masks"] = torch.from_numpy(_logits(mask, seen, cells))
    with torch.inference_mode():
        out = model(**given, multimask_output=several)
    pad = {"pad_size": processor.image_processor.pad_size} if padded else {}
    logits = processor.image_processor.post_process_masks(
        out.pred_masks, *sizes, binarize=False, **pad
    )
    return logits[0][0].numpy(), out.iou_scores[0, 0].numpy()


def _logits(mask: np.ndarray, seen: Sequence[int], cells: int) -> np.ndarray:
    """Return a mask as -10 and +10 on the padded input, as (1, 1, cells, cells)."""
    inside = torch.from_numpy(mask.astype(np.float32))[None, None]
    whole = torch.zeros(1, 1, tiny.PIXELS, tiny.PIXELS)
    shown = interpolate(inside, tuple(seen), mode="bilinear", antialias=True)
    whole[..., : seen[0], : seen[1]] = shown
    small = interpolate(20 * whole - 10, (cells, cells), mode="bilinear", antialias=True)
    return small.numpy()


@cache
def _own(file: Path) -> torch.nn.Module:
    """Load a file into the architecture of tiny.segment_anything, said again."""
    model = tiny.segment_anything_model().eval()
    model.load_state_dict(torch.load(file, weights_only=True))
    return model


def resized(logits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return interpolate(torch.from_numpy(logits), shape, mode="bilinear").numpy()


def concepts(folder: Path, picture: np.ndarray, phrase: str) -> tuple[np.ndarray, ...]:
    """Ask SAM 3: (n,) scores, (n, 4) boxes, (n, row, col) probabilities, none left out."""
    model, processor = _loaded("sam3", folder)
    given = processor(images=[picture], text=[phrase], return_tensors="pt")
    sizes = given.pop("original_sizes").tolist()
    with torch.inference_mode():
        out = model(**given)
    found = processor.image_processor.post_process_instance_segmentation(
        out, threshold=-1, mask_threshold=0.5, target_sizes=sizes
    )[0]
    masks = interpolate(out.pred_masks.sigmoid(), sizes[0], mode="bilinear")[0]
    assert torch.equal(masks > 0.5, found["masks"].bool())
    return found["scores"].numpy(), found["boxes"].numpy(), masks.numpy()


def heat(folder: Path, picture: np.ndarray, texts: list[str]) -> np.ndarray:
    """Ask CLIPSeg about several texts at once: (text, row, col) in pixels of the picture."""
    model, processor = _loaded("clipseg", folder)
    given = processor(text=texts, images=[picture] * len(texts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**given).logits
    return logits.sigmoid().numpy()
