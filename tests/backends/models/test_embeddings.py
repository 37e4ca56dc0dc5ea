"""What a network saw is kept to the last bit, found by content, bounded, and checked when read."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segmenters import CPU, FAMILIES

import geoseg
from geoseg.backends.detections import Detections
from geoseg.backends.models import embeddings
from geoseg.backends.models.asking import Code
from geoseg.backends.models.embeddings import Embeddings, folder_of, packed, unpacked
from geoseg.backends.prompts import Prompt
from geoseg.errors import BackendError

SHAPE = (61, 83)

POINT = Prompt(points=np.array([[30.5, 22.0]], np.float32), positive=np.array([True]))


def pictures(count=3, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, (*SHAPE, 3), dtype=np.uint8) for _ in range(count)]


def boxes(count=4):
    draw = np.random.default_rng(1)
    low = draw.uniform(0, 40, (count, 2))
    found = np.hstack((low, low + draw.uniform(8, 20, (count, 2)))).astype(np.float32)
    found[1::2, 2:] = found[1::2, :2]
    return Detections(found, np.zeros(count, np.int32), np.full(count, np.nan, np.float32))


def same(a, b):
    assert (a is None) == (b is None)
    if a is not None:
        assert (a.box, a.quality) == (b.box, b.quality)
        np.testing.assert_array_equal(a.mask, b.mask)


def caching(folder, **more):
    return CPU.model_copy(update={"cache": str(folder), **more})


def files(folder):
    return sorted(folder.glob("*.embedding"))


def answers(segmenter, shown):
    """Ask all that can be asked, of pictures met together."""
    asked, count = boxes(), len(shown)
    yield from segmenter.cut(shown, [asked] * count, [SHAPE] * count)
    yield from segmenter.propose(shown, [asked.boxes[:2, :2]] * count, [SHAPE] * count)
    for picture in shown:
        yield segmenter.ask(segmenter.look(picture), POINT, SHAPE)


def test_answers_with_the_cache_are_those_without_to_the_last_bit(family, saved, ready, tmp_path):
    shown = pictures()
    # One by one: in a batch, last digits depend on the company, without a cache.
    plain = [list(answers(ready(family), [picture])) for picture in shown]
    expected = [plain[i][kind] for kind in range(3) for i in range(3)]
    for encoded in (3, 0):
        keeping = FAMILIES[family](str(saved(family)), caching(tmp_path))
        # The second picture is met alone, the others in a batch with it; then all are kept.
        keeping.look(shown[1])
        for answer, wanted in zip(answers(keeping, shown), expected, strict=True):
            for a, b in zip(answer, wanted, strict=True):
                same(a, b)
        assert keeping.encoded == encoded
        assert len(files(tmp_path)) == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_code_comes_back_as_it_was(family, saved, precision):
    segmenter = FAMILIES[family](
        str(saved(family)), CPU.model_copy(update={"precision": precision})
    )
    code = segmenter.look(pictures(1)[0])
    back = unpacked(packed(code))
    assert (back.picture, back.seen, back.canvas) == (code.picture, code.seen, code.canvas)
    assert back.features.keys() == code.features.keys()
    for name, value in code.features.items():
        other = back.features[name]
        assert isinstance(value, list) == isinstance(other, list)
        pairs = zip(value, other, strict=True) if isinstance(value, list) else [(value, other)]
        for a, b in pairs:
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
            many = [k for k in range(a.dim()) if a.shape[k] > 1]
            assert [a.stride(k) for k in many] == [b.stride(k) for k in many]


@given(st.permutations(range(4)), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
@settings(max_examples=30)
def test_the_order_of_a_tensor_in_memory_is_kept(order, dtype):
    tensor = torch.randn(2, 3, 4, 5).to(dtype).permute(order)
    code = Code({"a": tensor, "b": [tensor * 2, tensor[:1]]}, (3, 4), (5, 6), None)
    back = unpacked(packed(code))
    assert torch.equal(back.features["a"], tensor)
    assert back.features["a"].stride() == tensor.stride()
    assert torch.equal(back.features["b"][1], tensor[:1])
    assert (back.picture, back.seen, back.canvas) == ((3, 4), (5, 6), None)


def code_of(size=1000, value=1.0):
    return Code({"e": torch.full((1, size), value)}, SHAPE, SHAPE, None)


def keeper(folder, most=10**9, network="sam2 0123 cpu fp32"):
    return Embeddings(folder, most, network)


def test_another_picture_shape_or_network_is_not_found(tmp_path):
    (picture,) = pictures(1)
    kept = keeper(tmp_path)
    kept.write(picture, code_of())
    assert kept.read(picture) is not None
    other = picture.copy()
    other[60, 82, 2] ^= 1
    assert kept.read(other) is None
    assert kept.read(np.ascontiguousarray(picture.transpose(1, 0, 2))) is None
    assert kept.read(picture.reshape(83, 61, 3)) is None
    assert keeper(tmp_path, network="sam2 0123 cpu bf16").read(picture) is None


def test_other_weights_and_another_arithmetic_keep_apart(saved, tmp_path):
    (picture,) = pictures(1)
    for family, more in (("sam2", {}), ("sam", {}), ("sam2", {"precision": "bf16"})):
        segmenter = FAMILIES[family](str(saved(family)), caching(tmp_path, **more))
        segmenter.look(picture)
        assert segmenter.encoded == 1
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize(
    "harm",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:0],
        lambda whole: whole[:200] + bytes([whole[200] ^ 4]) + whole[201:],
        lambda whole: bytes([whole[0] ^ 1]) + whole[1:],
        lambda whole: whole + b"x",
    ],
    ids=["cut", "half", "empty", "a bit inside", "a bit of the digest", "longer"],
)
def test_a_damaged_file_counts_as_not_there_and_is_made_again(saved, tmp_path, harm):
    (picture,) = pictures(1)
    make = partial(FAMILIES["sam2"], str(saved("sam2")), caching(tmp_path))
    expected = make().look(picture)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(harm(whole))
    second = make()
    assert torch.equal(
        second.look(picture).features["image_embeddings"][0],
        expected.features["image_embeddings"][0],
    )
    assert second.encoded == 1
    assert file.read_bytes() == whole


def test_a_file_under_the_name_of_another_picture_is_not_taken(tmp_path):
    a, b = pictures(2)
    kept = keeper(tmp_path)
    kept.write(a, code_of(value=1))
    (file_a,) = files(tmp_path)
    kept.write(b, code_of(value=2))
    (file_b,) = set(files(tmp_path)) - {file_a}
    file_b.write_bytes(file_a.read_bytes())
    assert kept.read(b) is None
    assert kept.read(a) is not None


def size_of(folder):
    return sum(f.stat().st_size for f in folder.iterdir())


def test_what_was_used_least_recently_goes_and_nothing_of_others(tmp_path):
    shown = pictures(4)
    kept = keeper(tmp_path)
    kept.write(shown[0], code_of())
    one = size_of(tmp_path)
    kept = keeper(tmp_path, most=3 * one)
    mine = tmp_path / "notes.txt"
    mine.write_bytes(bytes(10 * one))
    os.utime(mine, (1, 1))
    for k in (1, 2):
        kept.write(shown[k], code_of())
    for age, file in enumerate(files(tmp_path)):
        os.utime(file, (1000 + age, 1000 + age))
    # Used now: the others are older.
    assert kept.read(shown[1]) is not None
    kept.write(shown[3], code_of())
    assert kept.read(shown[1]) is not None
    assert kept.read(shown[3]) is not None
    assert sum(kept.read(shown[k]) is not None for k in (0, 2)) == 1
    assert mine.exists()
    assert len(files(tmp_path)) == 3


def test_it_never_takes_more_than_it_may(tmp_path_factory):
    fitting = []

    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=30), st.integers(1, 9)
    )
    @settings(max_examples=25, deadline=None)
    def law(steps, tenth):
        folder = tmp_path_factory.mktemp("kept")
        kept, shown = keeper(folder, most=tenth * 4000), pictures(10)
        for which, size in steps:
            code = code_of(25 * size)
            kept.write(shown[which], code)
            assert size_of(folder) <= kept.most
            fitting.append(len(packed(code)) + 32 <= kept.most)
            if fitting[-1]:
                # Old ones made room for it.
                assert kept.read(shown[which]) is not None

    law()
    assert any(fitting)


def test_one_that_is_larger_than_all_may_be_is_not_kept_and_that_is_said_once(tmp_path, caplog):
    kept = keeper(tmp_path / "new", most=100)
    for picture in pictures(3):
        kept.write(picture, code_of())
    (record,) = caplog.records
    assert "raise --cache-size" in record.getMessage()
    assert not files(tmp_path / "new")


def test_a_folder_that_cannot_be_written_is_told_once_and_work_goes_on(
    saved, ready, tmp_path, caplog
):
    (tmp_path / "file").write_text("in the way")
    keeping = FAMILIES["sam2"](str(saved("sam2")), caching(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        for picture in pictures(3):
            found = keeping.ask(keeping.look(picture), POINT, SHAPE)
            plain = ready("sam2")
            for a, b in zip(found, plain.ask(plain.look(picture), POINT, SHAPE), strict=True):
                same(a, b)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith(f"embeddings are not kept in {tmp_path / 'file'}: ")
    assert "room" not in message
    assert "\n" not in message
    assert keeping.encoded == 3


def test_a_full_disk_leaves_no_part_and_is_told_once(tmp_path, caplog, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    kept = keeper(tmp_path)
    for picture in pictures(2):
        kept.write(picture, code_of())
    (record,) = caplog.records
    assert "No space left on device; make room there" in record.getMessage()
    assert not list(tmp_path.iterdir())


def test_parts_of_killed_processes_are_removed_by_the_next_when_old(tmp_path):
    shown = pictures(2)
    kept = keeper(tmp_path)
    kept.write(shown[0], code_of())
    (file,) = files(tmp_path)
    old, new = (file.with_name(f"{file.name}.{n}.part") for n in ("12x3", "45x6"))
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    long_ago = time.time() - embeddings._OLD_S - 60
    os.utime(old, (long_ago, long_ago))
    kept.write(shown[1], code_of())
    assert not old.exists()
    assert new.exists()
    assert kept.read(shown[0]) is not None


KILLED = """
import os, signal, sys, time, numpy as np, torch
from pathlib import Path
from geoseg.backends.models.asking import Code
from geoseg.backends.models.embeddings import Embeddings
torch.set_num_threads(1)
kept = Embeddings(Path(sys.argv[1]), 40_000_000, "n")
shown = [np.full((2, 2, 3), k, np.uint8) for k in range(50)]
found = 0
for death in range(12):
    child = os.fork()
    if not child:
        for k in range(10**6):
            code = Code({"e": torch.full((500_000,), float(k % 50))}, (2, 2), (2, 2), None)
            kept.write(shown[k % 50], code)
    time.sleep(0.01 + 0.013 * death)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for k, picture in enumerate(shown):
        code = kept.read(picture)
        found += code is not None
        assert code is None or (code.features["e"] == k).all()
print(found)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills its own copies")
def test_killed_at_any_instant_what_is_read_is_whole(tmp_path):
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(geoseg.__file__).parent.parent,
    )
    assert int(done.stdout) > 0


def test_several_may_write_and_read_at_once(tmp_path):
    shown = pictures(6)
    kept = keeper(tmp_path, most=20_000)

    def work(seed):
        for k in np.random.default_rng(seed).integers(0, 6, 40).tolist():
            code = kept.read(shown[k])
            assert code is None or (code.features["e"] == k).all()
            kept.write(shown[k], code_of(value=k))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert not list(tmp_path.glob("*.part"))


def test_a_copy_in_another_process_keeps_in_the_same_place(saved, tmp_path):
    keeping = FAMILIES["sam2"](str(saved("sam2")), caching(tmp_path))
    (picture,) = pictures(1)
    keeping.look(picture)
    copy = pickle.loads(pickle.dumps(keeping))  # noqa: S301
    copy.look(picture)
    assert copy.encoded == 0


def test_auto_is_the_users_own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder_of("auto") == tmp_path / "geoseg" / "embeddings"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder_of("auto") == tmp_path / "home" / ".cache" / "geoseg" / "embeddings"
    assert folder_of("/elsewhere") == Path("/elsewhere")


def test_auto_without_a_home_is_refused_before_any_tile(saved, monkeypatch):
    monkeypatch.setattr(embeddings, "_caches", lambda: (_ for _ in ()).throw(RuntimeError("no")))
    segmenter = FAMILIES["sam2"](str(saved("sam2")), caching("auto"))
    with pytest.raises(BackendError, match=r"--cache auto: .*; give a folder"):
        segmenter.ready()
