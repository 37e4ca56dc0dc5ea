"""Tiny random models of every family, saved as their makers save them."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf

WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "-", "?", "'", "detect", "a", "the"),
    *("with", "and", "of", "small", "building", "tree", "solar", "panel", "roof", "road", "water"),
    *("river", "lake", "pool", "car", "forest", "bare", "soil", "##s", "##land", "grass", "wet"),
)


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


MODELS = {
    "grounding-dino": grounding_dino,
    "mm-grounding-dino": lambda folder: grounding_dino(folder, "MMGroundingDino"),
    "owlv2": owl,
    "owlvit": lambda folder: owl(folder, "OwlViT"),
    "omdet-turbo": omdet_turbo,
}
"""How each family's tiny model is made in a folder."""
