"""Which SAM a `.pth` is of is read off its tensors."""

from __future__ import annotations

import pytest
import torch
from segment_anything import sam_model_registry

from geoseg.backends.models.sam import sam
from geoseg.backends.models.segment_anything import SegmentAnything, _build
from geoseg.config import ModelOptions


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_published_architectures_are_recognised(name):
    # Without memory behind it, a network of 640 million weights is quickly made.
    with torch.device("meta"):
        published = sam_model_registry[name]()
        found = _build(published.state_dict())
    assert {k: v.shape for k, v in found.state_dict().items()} == {
        k: v.shape for k, v in published.state_dict().items()
    }
    ours, theirs = found.image_encoder, published.image_encoder
    assert ours.img_size == theirs.img_size == 1024
    assert [b.window_size for b in ours.blocks] == [b.window_size for b in theirs.blocks]
    assert [b.attn.num_heads for b in ours.blocks] == [b.attn.num_heads for b in theirs.blocks]
    assert ours.blocks[0].norm1.eps == theirs.blocks[0].norm1.eps
    assert repr(found.mask_decoder) == repr(published.mask_decoder)
    assert repr(found.prompt_encoder) == repr(published.prompt_encoder)
    attention = found.mask_decoder.transformer.layers[0].self_attn
    assert attention.num_heads == published.mask_decoder.transformer.layers[0].self_attn.num_heads


def test_pixels_are_normalised_as_published():
    with torch.device("meta"):
        published = sam_model_registry["vit_b"]()
        found = _build(published.state_dict())
    torch.testing.assert_close(found.pixel_mean, published.pixel_mean)
    torch.testing.assert_close(found.pixel_std, published.pixel_std)


def test_a_pth_goes_to_its_makers_package(saved):
    segmenter = sam(str(saved("segment-anything")), ModelOptions(device="cpu")).ready()
    assert isinstance(segmenter._network, SegmentAnything)
    assert segmenter.identity.startswith("sam ")
