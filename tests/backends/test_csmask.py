"""The nets of ukis-csmask answer what their makers' preprocessing gives."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason="nets are run by onnxruntime")

from nets import covers, pixels  # noqa: E402

import geoseg  # noqa: E402
from geoseg.backends import available, csmask, words  # noqa: E402
from geoseg.backends.csmask import Csmask  # noqa: E402
from geoseg.errors import BackendError, MissingDependencyError  # noqa: E402
from geoseg.raster import ArrayRaster  # noqa: E402

installed = pytest.mark.skipif(
    find_spec("ukis_csmask") is None, reason="pip install ukis-csmask==0.2.1"
)

ROLES = {"blue": 1, "green": 2, "red": 3, "nir": 4, "swir1": 5, "swir2": 6}
MEAN = np.array([0.19312, 0.18659, 0.18899, 0.30362, 0.23085, 0.16216], np.float32)
STD = np.array([0.16431, 0.16762, 0.18230, 0.17409, 0.16020, 0.14164], np.float32)
CLASSES = ("shadow", "water", "snow", "land", "cloud")

SHARED = Path(os.environ.get("GEOSEG_SHARED", Path(geoseg.__file__).parents[1] / ".." / "shared"))
SCENE = SHARED / "data" / "water" / "sentinel2.npz"


def scene(height: int, width: int, seed: int = 0) -> ArrayRaster:
    """Return reflectance of soft blobs, from dark water to bright cloud."""
    random = np.random.default_rng(seed)
    coarse = random.random((6, height // 32 + 1, width // 32 + 1)) ** 2
    blobs = np.kron(coarse, np.ones((1, 32, 32)))[:, :height, :width]
    noise = random.normal(0, 0.02, blobs.shape)
    return ArrayRaster(np.clip(blobs + noise, 0, 1).astype(np.float32), roles=ROLES)


def evidence(backend, source, legend):
    fitted = backend.fit(source, legend)
    return fitted.model.evidence(fitted.plan, pixels(source))


@installed
@pytest.mark.parametrize("bands", [6, 4])
def test_its_numbers_are_those_of_the_documented_preprocessing(bands):
    source = scene(256, 256)
    source = dataclasses.replace(
        source, data=source.data[:bands], roles=dict(list(ROLES.items())[:bands])
    )
    net = Path(find_spec("ukis_csmask").origin).with_name(f"model_{bands}b.onnx")
    session = onnxruntime.InferenceSession(str(net), providers=["CPUExecutionProvider"])
    shown = (np.moveaxis(source.data, 0, -1) - MEAN[:bands]) / STD[:bands]
    shown = np.pad(shown, ((32, 32), (32, 32), (0, 0)), mode="edge")
    said = session.run(None, {"input_1": shown[None, :256, :256]})[0][0, 32:224, 32:224]
    found = evidence(Csmask(), source, covers(*CLASSES))[:, :192, :192]
    assert np.moveaxis(found, 0, -1) == pytest.approx(said, abs=1e-5)


@installed
def test_rasters_without_short_wave_infrared_get_the_net_of_four_bands(caplog):
    source = scene(64, 64)
    six = Csmask().fit(source, covers("water"))
    four = Csmask().fit(dataclasses.replace(source, roles={k: ROLES[k] for k in list(ROLES)[:4]}),
                        covers("water"))  # fmt: skip
    assert [len(b.model.card.input.bands) for b in (six, four)] == [6, 4]
    assert "no bands swir1 and swir2: csmask takes its net of 4 bands" in caplog.text
    assert six.identity != four.identity
    assert six.halo_px == four.halo_px == Csmask().halo_px == 224


@installed
def test_a_picture_instead_of_reflectance_is_said_so(caplog):
    data = (scene(64, 64).data * 255).astype(np.uint8)
    Csmask().fit(ArrayRaster(data, roles=ROLES), covers("water"))
    assert "'csmask' was made for reflectance" in caplog.text


@installed
def test_red_green_and_blue_are_not_enough():
    source = dataclasses.replace(scene(64, 64), roles={"red": 1, "green": 2, "blue": 3})
    with pytest.raises(BackendError, match=r"nir, swir1, swir2 missing.*--bands"):
        Csmask().fit(source, covers("water"))


@installed
def test_finding_the_nets_does_not_import_their_package():
    code = (
        "import sys, numpy as np; from geoseg.backends.csmask import Csmask, folder; folder(); "
        "print('ukis_csmask' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(geoseg.__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.strip() == "False"


@installed
def test_it_is_registered_with_its_words():
    assert "csmask" in available()
    assert {"water", "cloud", "shadow", "snow", "land", "lake"} <= set(words("csmask"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("Lakes", "water"), ("clouds", "cloud"), ("cloud-shadows", "shadow"), ("glaciers", "snow")],
)
def test_words_are_understood_as_typed(typed, meant):
    from geoseg.backends.vocabulary import known

    read = csmask.card("csmask6")
    index = read.words()[known(typed, read.words(), "csmask", ())]
    assert [read.classes[i].name for i in index] == [meant]


def test_both_cards_say_the_same_of_classes_and_licence():
    six, four = csmask.card("csmask6"), csmask.card("csmask4")
    assert six.classes == four.classes
    assert six.licence == four.licence == "Apache-2.0"
    assert six.input.bands[:4] == four.input.bands


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(csmask, "PACKAGE", "no_such_package_here")
    with pytest.raises(MissingDependencyError, match=r'pip install "geoseg\[csmask\]"'):
        Csmask().fit(scene(8, 8), covers("water"))


@installed
def test_another_version_of_the_package_is_refused(monkeypatch, tmp_path):
    (tmp_path / "model_6b.onnx").write_bytes(b"of version 1.0")
    monkeypatch.setattr(csmask, "folder", lambda: tmp_path)
    with pytest.raises(BackendError, match=r"has SHA-256 .*its card wants abd33028e9e9"):
        Csmask().fit(scene(8, 8), covers("water"))


@installed
@pytest.mark.skipif(not SCENE.is_file(), reason=f"no {SCENE.name}; set GEOSEG_SHARED")
def test_the_published_scene_is_mapped_as_well_as_by_its_makers():
    held = np.load(SCENE)
    truth = held["msk"][..., 0]
    source = ArrayRaster(np.moveaxis(held["img"], -1, 0), roles=ROLES)
    said = evidence(Csmask(), source, covers(*CLASSES)).argmax(axis=0)
    assert (said == truth).mean() >= 0.97
    water = [(x == 1) for x in (said, truth)]
    assert (water[0] & water[1]).sum() / (water[0] | water[1]).sum() >= 0.63
