"""Tiny random models of every family, saved as their makers save them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import segment_anything.modeling as sa
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "-", "?", "'", "detect", "a", "the"),
    *("with", "and", "of", "small", "building", "tree", "solar", "panel", "roof", "road", "water"),
    *("river", "lake", "pool", "car", "forest", "bare", "soil", "##s", "##land", "grass", "wet"),
)

PIXELS = 64
"""Side of what tiny segmenters look at."""


def _seed() -> None:
    torch.manual_seed(7)


def bert_words() -> tf.BertTokenizer:
    """Return a small vocabulary that spells out what it does not know."""
    # Grounding DINO knows [CLS], [SEP], the dot and the question mark by their numbers in BERT.
    vocabulary = {f"[unused{i}]": i for i in range(1100)}
    numbered = dict(enumerate(vocabulary))
    numbered.update({0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"})
    numbered.update({1012: ".", 1029: "?"})
    free = (i for i in range(1, 1000) if i not in (100, 101, 102, 103))
    for word in WORDS:
        if word not in numbered.values():
            numbered[next(free)] = word
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789":
        for piece in (letter, f"##{letter}"):
            if piece not in numbered.values():
                numbered[next(free)] = piece
    return tf.BertTokenizer(vocab={w: i for i, w in sorted(numbered.items())})


def _swin() -> tf.SwinConfig:
    return tf.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip


def _randomise(model: torch.nn.Module, scale: float = 1.0) -> None:
    """Spread weights that are born zero, so that no output is constant."""
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1 and float(value.abs().max()) == 0:
                value.normal_(0, 0.05 * scale)


def _clip_words(limit: int = 77) -> tf.CLIPTokenizer:
    """Spell words out; the end of a text has the largest number, as CLIP's pooling wants it."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-'"
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    words = tf.CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[])
    words.model_max_length = limit
    return words


def _clip_text(limit: int = 77, kind: str = "CLIPTextConfig", **more: object) -> object:
    return getattr(tf, kind)(
        vocab_size=82, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=limit, bos_token_id=80, eos_token_id=81,
        pad_token_id=81, **more,
    )  # fmt: skip


def owl(folder: Path, kind: str = "Owlv2") -> Path:
    _seed()
    text = _clip_text(40, f"{kind}TextConfig")
    vision = getattr(tf, f"{kind}VisionConfig")(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        image_size=48, patch_size=8,
    )  # fmt: skip
    config = getattr(tf, f"{kind}Config")(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=32
    )
    model = getattr(tf, f"{kind}ForObjectDetection")(config).eval()
    with torch.no_grad():
        # Boxes of untamed weights lie outside the picture.
        for value in model.box_head.parameters():
            value.mul_(0.02)
    model.save_pretrained(folder)
    pictures = getattr(tf, f"{kind}ImageProcessor")(size={"height": 48, "width": 48})
    getattr(tf, f"{kind}Processor")(pictures, _clip_words(40)).save_pretrained(folder)
    return folder


def omdet_turbo(folder: Path) -> Path:
    _seed()
    config = tf.OmDetTurboConfig(
        backbone_config=tf.SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
            window_size=4, out_indices=[2, 3, 4],
        ),
        text_config=_clip_text(projection_dim=32),
        image_size=64, text_projection_in_dim=32, text_projection_out_dim=32,
        task_encoder_hidden_dim=32, class_embed_dim=32, num_queries=30,
        vision_features_channels=[16, 16, 16], encoder_in_channels=[16, 32, 64],
        encoder_hidden_dim=16, encoder_dim_feedforward=32, decoder_hidden_dim=16,
        decoder_dim_feedforward=32, decoder_num_heads=2, encoder_attention_heads=2,
        decoder_num_layers=2, encoder_layers=1, apply_layernorm_after_vision_backbone=False,
    )  # fmt: skip
    model = tf.OmDetTurboForObjectDetection(config).eval()
    _randomise(model)
    model.save_pretrained(folder)
    pictures = tf.DetrImageProcessor(
        size={"height": 64, "width": 64}, do_pad=False, do_convert_annotations=False
    )
    tf.OmDetTurboProcessor(pictures, _clip_words()).save_pretrained(folder)
    return folder


def grounding_dino(folder: Path, kind: str = "GroundingDino") -> Path:
    _seed()
    words = bert_words()
    config = getattr(tf, f"{kind}Config")(
        backbone_config=_swin(),
        text_config=tf.BertConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=40, max_text_len=64,
    )  # fmt: skip
    model = getattr(tf, f"{kind}ForObjectDetection")(config).eval()
    _randomise(model)
    pictures = tf.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    model.save_pretrained(folder)
    tf.GroundingDinoProcessor(pictures, words).save_pretrained(folder)
    return folder


def _spread(model: torch.nn.Module) -> None:
    """Give every weight its usual size, so that masks have an inside and an outside."""
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1:
                value.normal_(0, value[0].numel() ** -0.5)
            else:
                value.add_(torch.randn_like(value) * 0.1)


def _sam_config(kind: str) -> tf.PretrainedConfig:
    prompt = {"hidden_size": 16, "image_size": PIXELS, "patch_size": 8, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2,
               "iou_head_hidden_dim": 16}  # fmt: skip
    if kind == "SamHQ":
        decoder["vit_dim"] = 16
    vision = {
        "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_pos_feats": 8,
        "num_attention_heads": 2, "image_size": PIXELS, "patch_size": 8, "window_size": 3,
        "global_attn_indexes": [1], "mlp_dim": 32,
    }  # fmt: skip
    return getattr(tf, f"{kind}Config")(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )


def sam(folder: Path, kind: str = "Sam") -> Path:
    _seed()
    model = getattr(tf, f"{kind}Model")(_sam_config(kind)).eval()
    _spread(model)
    pictures = tf.SamImageProcessor(
        size={"longest_edge": PIXELS}, pad_size={"height": PIXELS, "width": PIXELS},
        mask_size={"longest_edge": PIXELS // 2},
        mask_pad_size={"height": PIXELS // 2, "width": PIXELS // 2},
    )  # fmt: skip
    model.save_pretrained(folder)
    getattr(tf, f"{kind}Processor")(pictures).save_pretrained(folder)
    return folder


_SIZES = [[PIXELS // 4] * 2, [PIXELS // 8] * 2, [PIXELS // 16] * 2]


def _sam2_parts() -> dict[str, dict]:
    return {
        "prompt_encoder_config": {"hidden_size": 16, "image_size": PIXELS, "patch_size": 16,
                                  "mask_input_channels": 4},
        "mask_decoder_config": {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2,
                                "iou_head_hidden_dim": 16},
    }  # fmt: skip


def _sam2_pictures() -> tf.Sam2ImageProcessor:
    side = {"height": PIXELS, "width": PIXELS}
    return tf.Sam2ImageProcessor(size=side, mask_size={"height": 16, "width": 16})


def sam2(folder: Path, *, video: bool = False) -> Path:
    """Save SAM 2; as a video model, as its makers do, or for pictures only."""
    _seed()
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [PIXELS, PIXELS],
        "num_attention_heads": 1, "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 2, 2, 2], "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }  # fmt: skip
    vision = {
        "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": _SIZES, "fpn_hidden_size": 16,
    }  # fmt: skip
    memory = {
        "image_size": PIXELS, "memory_attention_hidden_size": 16, "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 16, "memory_encoder_hidden_size": 16,
        "memory_encoder_output_channels": 8, "memory_attention_rope_feat_sizes": [4, 4],
        "mask_downsampler_embed_dim": 16, "memory_fuser_embed_dim": 16,
        "memory_fuser_intermediate_dim": 16,
    } if video else {}  # fmt: skip
    kind = "Sam2Video" if video else "Sam2"
    config = getattr(tf, f"{kind}Config")(vision_config=vision, **_sam2_parts(), **memory)
    model = getattr(tf, f"{kind}Model")(config).eval()
    _spread(model)
    model.save_pretrained(folder)
    tf.Sam2Processor(_sam2_pictures()).save_pretrained(folder)
    return folder


def edgetam(folder: Path) -> Path:
    _seed()
    backbone = tf.TimmWrapperConfig(
        architecture="repvit_m0_9", do_pooling=False,
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3],
                    "embed_dim": [8, 8, 16, 16], "depth": [1, 1, 1, 1]},
    )  # fmt: skip
    vision = {
        "backbone_config": backbone, "backbone_channel_list": [16, 16, 8, 8],
        "backbone_feature_sizes": _SIZES, "fpn_hidden_size": 16,
    }  # fmt: skip
    model = tf.EdgeTamModel(tf.EdgeTamConfig(vision_config=vision, **_sam2_parts())).eval()
    _spread(model)
    model.save_pretrained(folder)
    tf.Sam2Processor(_sam2_pictures()).save_pretrained(folder)
    return folder


def _sam3_vision() -> dict:
    return {
        "backbone_config": {
            "model_type": "sam3_vit_model", "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": PIXELS,
            "patch_size": 8, "window_size": 4, "global_attn_indexes": [1],
            "pretrain_image_size": 32,
        },
        "fpn_hidden_size": 16, "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }  # fmt: skip


def _sam3_pictures() -> tf.Sam3ImageProcessor:
    side = {"height": PIXELS, "width": PIXELS}
    return tf.Sam3ImageProcessor(size=side, mask_size={"height": 32, "width": 32})


def sam3_tracker(folder: Path, *, video: bool = False) -> Path:
    """Save SAM 3's tracker; inside a video model, as its makers do, or alone."""
    _seed()
    parts = _sam2_parts()
    parts["prompt_encoder_config"]["patch_size"] = 8
    model = tf.Sam3TrackerModel(tf.Sam3TrackerConfig(vision_config=_sam3_vision(), **parts)).eval()
    _spread(model)
    model.save_pretrained(folder)
    tf.Sam3TrackerProcessor(_sam3_pictures()).save_pretrained(folder)
    if video:
        # Its tensors are saved under the names they have in the video model.
        _surround(folder, "", "tracker_config")
    return folder


def _surround(folder: Path, prefix: str, name: str) -> None:
    """Change a saved model into the part of a SAM 3 video model that it comes from."""
    tensors = load_file(folder / "model.safetensors")
    renamed = {prefix + key: tensor for key, tensor in tensors.items()}
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    around = {"model_type": "sam3_video", name: config}
    (folder / "config.json").write_text(json.dumps(around), "utf-8")


def segment_anything_model() -> sa.Sam:
    grid = (PIXELS // 8,) * 2
    return sa.Sam(
        sa.ImageEncoderViT(
            img_size=PIXELS, patch_size=8, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2,
            out_chans=16, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True,
            window_size=3, global_attn_indexes=(1,),
        ),
        sa.PromptEncoder(16, grid, (PIXELS, PIXELS), 4),
        sa.MaskDecoder(
            transformer_dim=16, transformer=sa.TwoWayTransformer(2, 16, 8, 24),
            iou_head_depth=3, iou_head_hidden_dim=24,
        ),
    )  # fmt: skip


def segment_anything(folder: Path) -> Path:
    """Save SAM as its makers do: a pickle of tensors."""
    _seed()
    model = segment_anything_model()
    _spread(model)
    torch.save(model.state_dict(), folder / "sam_vit_tiny.pth")
    return folder / "sam_vit_tiny.pth"


def sam3(folder: Path, *, video: bool = False) -> Path:
    """Save SAM 3; inside a video model, as its makers do, or the concept model alone."""
    _seed()
    transformer = {"hidden_size": 16, "num_layers": 2, "num_attention_heads": 2,
                   "intermediate_size": 32}  # fmt: skip
    config = tf.Sam3Config(
        vision_config=_sam3_vision(),
        text_config=_clip_text(32, projection_dim=16).to_dict(),
        geometry_encoder_config=transformer,
        detr_encoder_config=transformer,
        detr_decoder_config={**transformer, "num_queries": 20},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    model = tf.Sam3Model(config).eval()
    _spread(model)
    model.save_pretrained(folder)
    tf.Sam3Processor(_sam3_pictures(), _clip_words(32)).save_pretrained(folder)
    if video:
        _surround(folder, "detector_model.", "detector_config")
    return folder


def clipseg(folder: Path) -> Path:
    _seed()
    vision = tf.CLIPSegVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        image_size=PIXELS, patch_size=8,
    )  # fmt: skip
    config = tf.CLIPSegConfig(
        text_config=_clip_text(40, "CLIPSegTextConfig").to_dict(), vision_config=vision.to_dict(),
        projection_dim=16, extract_layers=[0, 1, 2], reduce_dim=16,
        decoder_num_attention_heads=2, decoder_intermediate_size=32,
    )  # fmt: skip
    model = tf.CLIPSegForImageSegmentation(config).eval()
    _spread(model)
    model.save_pretrained(folder)
    pictures = tf.ViTImageProcessor(size={"height": PIXELS, "width": PIXELS})
    tf.CLIPSegProcessor(pictures, _clip_words(40)).save_pretrained(folder)
    return folder


MODELS = {
    "grounding-dino": grounding_dino,
    "mm-grounding-dino": lambda folder: grounding_dino(folder, "MMGroundingDino"),
    "owlv2": owl,
    "owlvit": lambda folder: owl(folder, "OwlViT"),
    "omdet-turbo": omdet_turbo,
    "sam": sam,
    "sam-hq": lambda folder: sam(folder, "SamHQ"),
    "sam2": sam2,
    "sam2-video": lambda folder: sam2(folder, video=True),
    "edgetam": edgetam,
    "sam3-tracker": sam3_tracker,
    "sam3-tracker-video": lambda folder: sam3_tracker(folder, video=True),
    "sam3": sam3,
    "sam3-video": lambda folder: sam3(folder, video=True),
    "clipseg": clipseg,
    "segment-anything": segment_anything,
}
"""How each family's tiny model is made in a folder."""
