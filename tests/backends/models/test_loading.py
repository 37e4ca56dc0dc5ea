"""Loading runs no code, opens no socket, and says in one line what is wrong with the files."""

from __future__ import annotations

import json
import os
import shutil
import socket

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from geoseg import LandClass, Legend
from geoseg.backends.models.loading import Remembering
from geoseg.backends.models.owl import owlv2
from geoseg.config import ModelOptions
from geoseg.errors import BackendError

CPU = ModelOptions(device="cpu")
TREES = Legend(classes=[LandClass(name="tree", threshold=0.0)])


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a good model to spoil."""
    return shutil.copytree(saved("owlv2"), tmp_path / "model")


def load(folder):
    return owlv2(str(folder), CPU).ask(TREES)


def refused(folder) -> str:
    with pytest.raises(BackendError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


class Bomb:
    """What a hostile pickle holds: unpickling it makes a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"])
def test_a_pickle_that_tries_to_run_code_is_refused_and_does_not(folder, tmp_path, name):
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Bomb(tmp_path / "owned")}, folder / name)
    if "-of-" in name:
        index = {"metadata": {}, "weight_map": {"weights": name}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert "damaged or are not a plain collection of tensors" in refused(folder)
    assert not (tmp_path / "owned").exists()


def test_a_pickle_of_tensors_is_read_where_there_is_nothing_safer(folder):
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert load(folder).asked


def test_safetensors_are_preferred(folder, tmp_path):
    torch.save({"weights": Bomb(tmp_path / "owned")}, folder / "pytorch_model.bin")
    assert load(folder).asked
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("keep", [0, 7, 100, 5000])
def test_weights_that_are_cut_short_are_refused(folder, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "are damaged" in refused(folder)


def test_a_shard_that_is_missing_is_noticed(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(k for k in weights if "box_head" in k))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    message = refused(folder)
    assert "do not fill a Owlv2ForObjectDetection: 1 tensors are missing (box_head" in message


def test_tensors_of_another_size_are_noticed(folder):
    weights = load_file(folder / "model.safetensors")
    name = next(k for k in weights if "box_head" in k and weights[k].dim() == 2)
    weights[name] = weights[name][:1].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "shape" in refused(folder)


def test_a_model_of_another_family_is_named(saved):
    with pytest.raises(BackendError) as caught:
        owlv2(str(saved("owlvit")), CPU).ask(TREES)
    assert "holds a model of type 'owlvit'; backend owlv2 runs owlv2" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no config.json"),
        ("{", "config.json of"),
        ("[]", "is damaged: no object"),
        ("{}", "a model of type 'None'"),
    ],
)
def test_a_configuration_that_is_none_is_refused(folder, text, words):
    config = folder / "config.json"
    config.unlink()
    if text is not None:
        config.write_text(text)
    assert words in refused(folder)


def test_a_configuration_cannot_name_code(folder, tmp_path, monkeypatch):
    """Neither a module of the folder (auto_map) nor a kernel of the hub is looked at."""
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'owned')!r})\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}
    for part in (config, config["vision_config"], config["text_config"]):
        part["_attn_implementation_internal"] = "someone/kernel:run"
        part["_attn_implementation"] = "someone/kernel:run"
        part["attn_implementation"] = "someone/kernel:run"
    (folder / "config.json").write_text(json.dumps(config))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load(folder).asked
    assert not (tmp_path / "owned").exists()


def test_offline_opens_no_socket_from_the_first_byte_to_the_answer(folder, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    detector = owlv2(str(folder), ModelOptions(device="cpu", offline=True)).ask(TREES)
    assert len(detector.detect([np.zeros((48, 48, 3), np.uint8)])) == 1


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
def test_a_folder_without_vocabulary_or_processor_is_refused(folder, name):
    for file in folder.glob(f"{name.split('_')[0].split('.')[0]}*"):
        file.unlink()
    assert "fetch the whole folder again" in refused(folder)


def test_a_device_that_is_not_there_is_refused_before_weights_are_looked_for():
    with pytest.raises(BackendError) as caught:
        owlv2("nowhere", ModelOptions(device="cuda:7"))
    assert "--device cuda:7 is not there (this machine has " in str(caught.value)


def test_a_remembered_part_works_once_per_tensor_and_its_lists_are_copies():
    class Part(torch.nn.Module):
        worked = 0
        size = 3

        def forward(self, x):
            self.worked += 1
            return [x + 1], {"a": (x,)}

    part = Part()
    kept = Remembering(part, most=2)
    first, second, third = (torch.zeros(1) + k for k in range(3))
    kept(first)[0].append("spoilt")
    assert len(kept(first)[0]) == 1
    assert kept(x=second)[0][0].item() == 2
    assert part.worked == 2
    kept(third)
    kept(second)
    assert part.worked == 3
    kept(first)
    assert part.worked == 4
    assert kept.size == 3
    with pytest.raises(TypeError, match="no tensor"):
        kept("text")
