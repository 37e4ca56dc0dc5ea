"""Weights that are damaged, of another kind or malicious: one line, and no code of theirs runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from geoseg.backends.models import sam, sam2
from geoseg.backends.models.clipseg import clipseg
from geoseg.backends.models.sam3 import sam3
from geoseg.config import ModelOptions
from geoseg.errors import BackendError

CPU = ModelOptions(device="cpu")


class Bomb:
    """What a pickle can carry: a call that is made when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def copied(saved, tmp_path):
    """Return a copy of a tiny model's folder, to be damaged."""
    return lambda name: Path(shutil.copytree(saved(name), tmp_path / name))


def refused(make, source):
    with pytest.raises(BackendError) as caught:
        make(str(source), CPU).ready()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("inside", [False, True])
def test_a_pth_that_tries_to_run_code_is_refused(tmp_path, inside):
    marker, file = tmp_path / "marker", tmp_path / "sam_vit_evil.pth"
    bomb = Bomb(marker)
    torch.save({"image_encoder.pos_embed": bomb} if inside else bomb, file)
    assert "nothing else is read from a pickle" in refused(sam.sam, file)
    assert not marker.exists()
    with file.open("rb") as opened:
        torch.load(opened, weights_only=False)
    assert marker.exists(), "the bomb is none"


def test_a_bin_that_tries_to_run_code_is_refused(copied, tmp_path):
    folder, marker = copied("sam2"), tmp_path / "marker"
    (folder / "model.safetensors").unlink()
    torch.save({"no_memory_embedding": Bomb(marker)}, folder / "pytorch_model.bin")
    assert "not a plain collection of tensors" in refused(sam2.sam2, folder)
    assert not marker.exists()


def test_a_bin_of_tensors_is_read(copied, saved):
    from safetensors.torch import load_file

    folder = copied("sam2")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert sam2.sam2(str(folder), CPU).ready().facts() != sam2.sam2(str(saved("sam2")), CPU).facts()


@pytest.mark.parametrize("kept", [0, 5, 0.5, 0.99])
def test_safetensors_that_are_cut_short_are_refused(copied, kept):
    file = copied("sam2") / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: kept if isinstance(kept, int) else int(len(whole) * kept)])
    assert "weights of" in refused(sam2.sam2, file.parent)


def test_a_pth_that_is_cut_short_is_refused(saved, tmp_path):
    file = tmp_path / "sam.pth"
    file.write_bytes(saved("segment-anything").read_bytes()[:1000])
    assert "is damaged" in refused(sam.sam, file)


@pytest.mark.parametrize("found", [{"weight": torch.ones(2)}, [torch.ones(2)], torch.ones(2), {}])
def test_a_pth_of_something_else_is_refused(tmp_path, found):
    torch.save(found, tmp_path / "other.pth")
    assert "segment-anything" in refused(sam.sam, tmp_path / "other.pth")


def test_a_pth_with_a_tensor_of_another_shape_is_refused(saved, tmp_path):
    tensors = torch.load(saved("segment-anything"), weights_only=True)
    tensors["mask_decoder.iou_token.weight"] = torch.ones(1, 5)
    torch.save(tensors, tmp_path / "odd.pth")
    assert "does not hold the tensors of SAM" in refused(sam.sam, tmp_path / "odd.pth")


@pytest.mark.parametrize(
    ("make", "name", "found"),
    [
        (sam.sam, "sam2", "'sam2'; backend sam runs sam"),
        (sam.sam_hq, "sam", "'sam'; backend sam-hq runs sam_hq"),
        (sam2.sam2, "edgetam", "'edgetam'; backend sam2 runs sam2 or sam2_video"),
        (sam2.edgetam, "sam2", "'sam2'; backend edgetam runs edgetam or edgetam_video"),
    ],
)
def test_a_model_of_another_family_is_named(saved, make, name, found):
    assert f"holds a model of type {found}" in refused(make, saved(name))


def test_words_models_name_other_families_too(saved):
    with pytest.raises(BackendError, match="type 'sam2'; backend sam3 runs sam3 or sam3_video"):
        _ = sam3(str(saved("sam2")), CPU)._family
    with pytest.raises(BackendError, match="type 'sam'; backend clipseg runs clipseg"):
        _ = clipseg(str(saved("sam")), CPU)._loaded


def test_missing_tensors_are_counted(copied):
    from safetensors.torch import load_file, save_file

    file = copied("sam2") / "model.safetensors"
    tensors = load_file(file)
    some = {k: v for k, v in tensors.items() if not k.startswith("mask_decoder")}
    save_file(some, file, {"format": "pt"})
    message = refused(sam2.sam2, file.parent)
    assert f"{len(tensors) - len(some)} tensors are missing" in message


def test_code_that_a_configuration_names_is_not_run(copied):
    folder = copied("sam2")
    config = json.loads((folder / "config.json").read_text())
    evil = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Config"}
    config |= {"auto_map": evil, "_attn_implementation": "someone/kernel"}
    config["vision_config"]["auto_map"] = evil
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    sam2.sam2(str(folder), CPU).ready()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_type": "sam2"', "\x00"])
def test_a_damaged_configuration_is_named(copied, text):
    folder = copied("sam2")
    (folder / "config.json").write_text(text)
    assert "config.json of" in refused(sam2.sam2, folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in refused(sam2.sam2, folder)


def test_a_folder_without_an_image_processor_is_named(copied):
    folder = copied("sam2")
    for file in (*folder.glob("*processor*.json"), *folder.glob("preprocessor*.json")):
        file.unlink()
    assert "lacks what Sam2ImageProcessor needs" in refused(sam2.sam2, folder)


def test_a_file_where_a_folder_is_meant_is_named(saved):
    message = refused(sam2.sam2, saved("sam2") / "model.safetensors")
    assert "is a single file; backend sam2 wants a folder" in message
