"""Tiny random models of every family, saved as their makers save them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers as tf

WORDS = """[PAD] [UNK] [CLS] [SEP] [MASK] . , - ? ' detect a the with and of small large
building tree solar panel roof road water river lake pool car forest bare soil ##s ##land grass wet
meadow house green field pond boat ship bridge""".split()

PIXELS = 64
"""Side of what tiny segmenters look at."""


def _seed() -> None:
    torch.manual_seed(7)


def _bert_words(folder: Path) -> tf.BertTokenizer:
    words = [*WORDS[:5], *(["[unused]"] * 0), *WORDS[5:]]
    # Grounding DINO knows [CLS], [SEP], the dot and the question mark by their numbers in BERT.
    vocabulary = {f"[unused{i}]": i for i in range(1100)}
    numbered = dict(enumerate(vocabulary))
    numbered.update({0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"})
    numbered.update({1012: ".", 1029: "?"})
    free = (i for i in range(1, 1000) if i not in (100, 101, 102, 103))
    for word in words:
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


def grounding_dino(folder: Path, kind: str = "GroundingDino") -> Path:
    _seed()
    words = _bert_words(folder)
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
