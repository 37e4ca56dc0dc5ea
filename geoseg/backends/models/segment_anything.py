"""SAM from its makers' own file (`sam_vit_h_4b8939.pth` and its kin), by their own package.

Such a file does not say which architecture it is of: the shapes of its tensors do. It is a pickle,
so nothing but tensors is read from it. Kirillov et al. 2023, arXiv:2304.02643.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.utils.transforms import ResizeLongestSide

from geoseg.backends.detections import Picture
from geoseg.backends.models.asking import Asked, Code, Features, grid_of
from geoseg.backends.models.device import Device
from geoseg.backends.models.promptable import Kind, Promptable, promptable
from geoseg.backends.weights import Weights
from geoseg.config import ModelOptions
from geoseg.errors import BackendError

Tensors = Mapping[str, torch.Tensor]

_DECODER_HEADS = 8
"""No shape tells the number of heads of the mask decoder; it is the same in every SAM."""

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of the pixels it was trained on, as in segment_anything.build_sam."""


class SegmentAnything:
    """A loaded network."""

    def __init__(self, network: Sam, device: Device) -> None:
        self._network, self._device = network, device
        self._side = int(network.image_encoder.img_size)
        self._resize = ResizeLongestSide(self._side)
        network.image_encoder = device.tune(network.image_encoder)
        device.exact(network.prompt_encoder)
        device.exact(network.prompt_encoder.pe_layer)
        self.grid = grid_of(network.prompt_encoder)

    def encode(self, pictures: Sequence[Picture]) -> list[Code]:
        """Return image embeddings."""
        given = [torch.from_numpy(self._resize.apply_image(p)).permute(2, 0, 1) for p in pictures]
        features = self._network.image_encoder(
            self._network.preprocess(self._device.send(torch.stack(given)))
        )
        rows, cols = given[0].shape[1:]
        canvas = (self._side, self._side)
        return [
            Code({"image_embeddings": features[i : i + 1]}, picture.shape[:2], (rows, cols), canvas)
            for i, picture in enumerate(pictures)
        ]

    def decode(self, features: Features, asked: Asked) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks and predicted IoU."""
        sparse, dense = self._network.prompt_encoder(
            points=None if asked.points is None else (asked.points, asked.labels),
            boxes=asked.boxes,
            masks=asked.masks,
        )
        masks, quality = self._network.mask_decoder(
            **features,
            image_pe=self._network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=asked.several,
        )
        return masks, quality


def _load(weights: Weights, device: Device) -> SegmentAnything:
    tensors = _tensors(weights)
    try:
        network = _build(tensors)
        network.load_state_dict(tensors)
    except (KeyError, IndexError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise BackendError(
            f"{weights.source} does not hold the tensors of SAM; backend sam reads the .pth files "
            "of segment-anything (vit_b, vit_l, vit_h), or a folder as save_pretrained writes it"
        ) from error
    return SegmentAnything(network.eval().to(device.name), device)


def _tensors(weights: Weights) -> dict[str, torch.Tensor]:
    try:
        found = torch.load(weights.path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises whatever it meets in a damaged file.
        raise BackendError(
            f"{weights.source} is damaged or is not a plain collection of tensors "
            f"({type(error).__name__}), and nothing else is read from a pickle; fetch it again"
        ) from error
    if not isinstance(found, dict):
        raise BackendError(
            f"{weights.source} holds a {type(found).__name__} instead of named tensors; fetch the "
            ".pth file of segment-anything again"
        )
    return found


def _build(tensors: Tensors) -> Sam:
    """Return a network of the architecture that tensors of these shapes belong to."""
    encoder = _encoder(tensors)
    side, width = encoder.img_size, _size(tensors, "image_encoder.neck.0.weight", 0)
    grid = (side // encoder.patch_embed.proj.kernel_size[0],) * 2
    mask_channels = _size(tensors, "prompt_encoder.mask_downscaling.3.weight", 0)
    return Sam(
        encoder,
        PromptEncoder(width, grid, (side, side), mask_channels),
        _decoder(tensors, width),
        list(_MEAN),
        list(_STD),
    )


def _encoder(tensors: Tensors) -> ImageEncoderViT:
    at = "image_encoder."
    _, grid, _, width = tensors[f"{at}pos_embed"].shape
    depth = _count(tensors, f"{at}blocks.")
    # A block looks as far as its table of relative positions is long: 2 * extent - 1.
    reach = [_size(tensors, f"{at}blocks.{i}.attn.rel_pos_h", 0) // 2 + 1 for i in range(depth)]
    patch = _size(tensors, f"{at}patch_embed.proj.weight", 2)
    return ImageEncoderViT(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // _size(tensors, f"{at}blocks.0.attn.rel_pos_h", 1),
        mlp_ratio=_size(tensors, f"{at}blocks.0.mlp.lin1.weight", 0) / width,
        out_chans=_size(tensors, f"{at}neck.0.weight", 0),
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=min(reach),
        global_attn_indexes=tuple(i for i in range(depth) if reach[i] == grid),
    )


def _decoder(tensors: Tensors, width: int) -> MaskDecoder:
    at = "mask_decoder."
    return MaskDecoder(
        transformer_dim=width,
        transformer=TwoWayTransformer(
            depth=_count(tensors, f"{at}transformer.layers."),
            embedding_dim=width,
            num_heads=_DECODER_HEADS,
            mlp_dim=_size(tensors, f"{at}transformer.layers.0.mlp.lin1.weight", 0),
        ),
        num_multimask_outputs=_size(tensors, f"{at}mask_tokens.weight", 0) - 1,
        iou_head_depth=_count(tensors, f"{at}iou_prediction_head.layers."),
        iou_head_hidden_dim=_size(tensors, f"{at}iou_prediction_head.layers.0.weight", 0),
    )


def _size(tensors: Tensors, name: str, axis: int) -> int:
    return int(tensors[name].shape[axis])


def _count(tensors: Tensors, prefix: str) -> int:
    """Return how many numbers follow a prefix in the names of tensors."""
    return len({n[len(prefix) :].split(".")[0] for n in tensors if n.startswith(prefix)})


def sam(argument: str, options: ModelOptions) -> Promptable:
    """Return SAM with the weights of a `.pth` file."""
    return promptable(Kind("sam", _load), argument, options)
