"""On what does a model run, in which arithmetic, and how much of it fits at once?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.config import ModelOptions
from geoseg.errors import BackendError

T = TypeVar("T")
R = TypeVar("R")

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Device:
    """Where networks run."""

    name: str
    """`cpu`, `mps`, `cuda` or `cuda:1`."""
    autocast: torch.dtype | None
    """What matrix products are made in; None for single precision."""
    compiles: bool = False
    """Whether encoders are compiled."""

    @property
    def kind(self) -> str:
        """`cpu`, `mps` or `cuda`."""
        return self.name.partition(":")[0]

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.autocast)

    def computing(self) -> AbstractContextManager[Any]:
        """Return a context in which matrix products are made in `autocast`."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.kind, self.autocast)

    def tune(self, part: torch.nn.Module) -> torch.nn.Module:
        """Return an encoder, compiled if that is asked for."""
        return cast("torch.nn.Module", torch.compile(part)) if self.compiles else part

    def exact(self, part: torch.nn.Module) -> None:
        """Let a part of a network compute in single precision whatever the rest does.

        In half precision a place in a picture of 1024 px is off by up to a pixel (measured).
        """
        if self.autocast is not None:
            part.forward = torch.autocast(self.kind, enabled=False)(part.forward)

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor on the device; to CUDA through pinned memory, without waiting."""
        if self.name.startswith("cuda"):
            return tensor.pin_memory().to(self.name, non_blocking=True)
        return tensor.to(self.name)


def choose(options: ModelOptions) -> Device:
    """Return the device that was asked for, or the best there is.

    Raises:
        BackendError: It is not there; says what is.
    """
    name = options.device
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    there[:0] = [f"cuda:{k}" for k in range(torch.cuda.device_count())]
    if name == "auto":
        name = there[0]
    elif name not in (*there, "cuda" if there[0].startswith("cuda") else "cpu"):
        raise BackendError(
            f"--device {name} is not there (this machine has {', '.join(there)}); use one of "
            "these, or auto"
        )
    if options.precision != "auto":
        return Device(name, _DTYPES[options.precision], options.compile)
    if not name.startswith("cuda"):
        return Device(name, None, options.compile)
    half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return Device(name, half, options.compile)


def check_finite(values: NDArray[np.float32]) -> None:
    """Refuse an answer that is none: compared with a threshold, it would pass for `nothing there`.

    Raises:
        BackendError: A value is infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise BackendError(
            "the network answered with values that are no numbers, as 16 bits can overflow; use "
            "--precision bf16 or fp32"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a failure means that a smaller portion might fit.

    That not even one prompt fitted may be because many pictures were held at once.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, BackendError) and error.__cause__ is not None:
        return is_out_of_memory(error.__cause__)
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


class Portions:
    """Works through items in portions; a portion that does not fit is halved, for the whole run.

    The one mutable part of an adapter: what a device can hold is learnt, and not part of the
    answer.
    """

    def __init__(self, most: int, of: str) -> None:
        self._size = most
        self._of = of
        self._notes: list[str] = []

    def __call__(self, function: Callable[[Sequence[T]], list[R]], items: Sequence[T]) -> list[R]:
        """Return the results of `function` over portions of the items, in order.

        Raises:
            BackendError: Not even one item fits.
        """
        done: list[R] = []
        while len(done) < len(items):
            portion = items[len(done) : len(done) + self._size]
            try:
                done += function(portion)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(portion) == 1:
                    raise BackendError(
                        f"out of memory on the device with one {self._of}; lower --tile, use "
                        "--precision bf16, or another --device"
                    ) from error
            # Outside the handler, so that the traceback lets go of what it holds.
            self._shrink(len(portion))
        return done

    def _shrink(self, failed: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._size = failed // 2
        self._notes.append(f"out of device memory: {self._of}s at once {failed} -> {self._size}")

    def take_notes(self) -> tuple[str, ...]:
        """Return, once, what happened since the last call."""
        notes, self._notes = tuple(self._notes), []
        return notes
