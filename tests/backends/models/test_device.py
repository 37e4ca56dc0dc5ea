"""What does not fit is halved, remembered and told; what cannot fit fails clearly."""

from __future__ import annotations

import pytest
import torch

from geoseg.backends.models.device import Device, Portions, choose, is_out_of_memory
from geoseg.config import ModelOptions
from geoseg.errors import BackendError


def fits(most: int, error: type[BaseException] = torch.OutOfMemoryError):
    sizes: list[int] = []

    def work(items):
        sizes.append(len(items))
        if len(items) > most:
            raise error("DefaultCPUAllocator: can't allocate memory")
        return [2 * i for i in items]

    return work, sizes


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_portions_shrink_until_they_fit_and_nothing_is_lost(most, error):
    portions = Portions(16, "tile")
    work, sizes = fits(most, error)
    assert portions(work, range(20)) == [2 * i for i in range(20)]
    good = [s for s in sizes if s <= most]
    assert sum(good) == 20
    # What fits is remembered: the second time nothing fails.
    before = len(sizes)
    assert portions(work, range(9)) == [2 * i for i in range(9)]
    assert all(s <= most for s in sizes[before:])


def test_it_is_told_once_what_was_halved():
    portions = Portions(16, "tile")
    portions(fits(4)[0], range(16))
    assert portions.take_notes() == (
        "out of device memory: tiles at once 16 -> 8",
        "out of device memory: tiles at once 8 -> 4",
    )
    assert portions.take_notes() == ()


def test_what_cannot_fit_is_a_line_that_names_the_knobs():
    with pytest.raises(BackendError) as caught:
        Portions(16, "box")(fits(0)[0], range(16))
    assert "out of memory on the device with one box; lower --tile, use --precision bf16" in str(
        caught.value
    )


def test_other_failures_pass():
    def work(_items):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        Portions(4, "tile")(work, range(4))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_the_cpu_is_there_in_single_precision_and_half_by_choice():
    assert choose(ModelOptions(device="cpu")) == Device("cpu", None)
    assert choose(ModelOptions(device="cpu", precision="bf16")).precision == "bf16"
    assert choose(ModelOptions(device="cpu", precision="fp32")).precision == "fp32"
    assert choose(ModelOptions(device="cpu", compile=True)).compiles


def test_computing_is_in_the_precision_of_the_device():
    a = torch.ones(2, 2)
    with Device("cpu", torch.bfloat16).computing():
        assert (a @ a).dtype == torch.bfloat16
    with Device("cpu", None).computing():
        assert (a @ a).dtype == torch.float32


def test_cuda_is_chosen_where_it_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose(ModelOptions()) == Device("cuda:0", torch.float16)
    assert choose(ModelOptions(device="cuda:1")).name == "cuda:1"
    assert choose(ModelOptions(device="cuda")).name == "cuda"
    with pytest.raises(
        BackendError, match=r"cuda:2 is not there \(this machine has cuda:0, cuda:1"
    ):
        choose(ModelOptions(device="cuda:2"))
