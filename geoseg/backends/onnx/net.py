"""Where does a net run, and does it fit its card? The only file that knows onnxruntime.

A Net is a file and how to run it; it can be pickled, and each process opens the file once.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from geoseg.errors import BackendError

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

_FAILURES = tuple(
    e for e in vars(native).values() if isinstance(e, type) and issubclass(e, Exception)
)
"""What onnxruntime raises; it has no common class."""

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
"""Types of input that samples can be given as."""

_ERRORS_ONLY = 3

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Net:
    """A model file, and how to run it."""

    path: str
    """The `.onnx` file."""
    digest: str
    """SHA-256 of what was there when it was loaded."""
    device: str
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    layout: str
    """Order of the input's axes: `NCHW`, `NHWC`, `CHW` or `HWC`."""

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return [output.name for output in self._session().get_outputs()]

    @property
    def input_shape(self) -> dict[str, int | str | None]:
        """Size of each axis of the input, N, C, H and W; text or None where it is free.

        Raises:
            BackendError: More than one input, another rank, or a type that is no number.
        """
        inputs = self._session().get_inputs()
        named = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            raise BackendError(
                f"model '{self.file}' has inputs {named}; export it with one input, a "
                f"picture of one of {', '.join(_TYPES)}"
            )
        if len(inputs[0].shape) != len(self.layout):
            raise BackendError(
                f"model '{self.file}' has the input {named}; layout {self.layout} has "
                f"{len(self.layout)} axes: correct `layout` in its card"
            )
        return dict(zip(self.layout, inputs[0].shape, strict=True))

    def run(self, shown: NDArray[np.float32], names: Sequence[str]) -> list[Array]:
        """Return outputs of one picture (channel, row, col), as the net gives them.

        One picture per call: a batch may be summed in another order, and change the bits.

        Raises:
            BackendError: The net fails.
        """
        session = self._session()
        given = session.get_inputs()[0]
        kind = _TYPES[given.type]
        value = shown if kind != np.uint8 else np.clip(np.rint(shown), 0, 255)
        if self.layout.endswith("HWC"):
            value = np.moveaxis(value, 0, -1)
        if self.layout.startswith("N"):
            value = value[None]
        try:
            feed = {given.name: np.ascontiguousarray(value, kind)}
            found: list[Array] = session.run(list(names), feed)
        except _FAILURES as error:
            raise BackendError(
                f"model '{self.file}' fails on a picture of {value.shape} in layout {self.layout}: "
                f"{_line(error)}; correct its card"
            ) from error
        return found

    @property
    def file(self) -> str:
        """Name of the model file, for messages."""
        return Path(self.path).name

    def _session(self) -> onnxruntime.InferenceSession:
        return _open(self.path, self.digest, self.device)


def digest(path: Path) -> str:
    """Return the SHA-256 of a model file and of weights that lie beside it.

    Large nets keep their weights in `NAME.onnx.data` or `NAME.onnx_data`.

    Raises:
        BackendError: There is no such file.
    """
    try:
        with path.open("rb") as file:
            total = hashlib.file_digest(file, "sha256")
        for data in sorted(path.parent.glob(f"{escape(path.name)}[._]data*")):
            with data.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise BackendError(
            f"model '{path}' cannot be read ({error.strerror}); put it there, or correct `model` "
            "in its card"
        ) from error
    return total.hexdigest()


@lru_cache(maxsize=2)
def _open(path: str, digest: str, device: str) -> onnxruntime.InferenceSession:  # noqa: ARG001
    """Open a model file; the digest is there so that a changed file is opened anew."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait for work must not take the cores that read tiles and keep labels.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # onnxruntime does not read it by itself, as other numeric libraries do; 0 is its own choice.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
    providers = _providers(device)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except _FAILURES as error:
        raise BackendError(
            f"model '{Path(path).name}' is no ONNX model that onnxruntime "
            f"{onnxruntime.__version__} can run: {_line(error)}; fetch or export it again"
        ) from error
    # onnxruntime goes on without a GPU that it cannot start.
    if device.startswith("cuda") and _CUDA not in session.get_providers():
        raise BackendError(f"--device {device}: CUDA does not start here; pass --device cpu")
    return session


def _providers(device: str) -> list[Any]:
    """Return what onnxruntime calls a device.

    Raises:
        BackendError: This onnxruntime does not have it.
    """
    there = onnxruntime.get_available_providers()
    found = re.fullmatch(r"(auto|cpu|cuda)(?::(\d+))?", device)
    if found is None or (found[2] and found[1] != "cuda"):
        raise BackendError(f"--device '{device}' is not for ONNX models; auto, cpu, cuda or cuda:1")
    if found[1] == "cpu" or (found[1] == "auto" and _CUDA not in there):
        return [_CPU]
    if _CUDA not in there:
        raise BackendError(
            f"--device {device} needs {_CUDA}, this onnxruntime has {', '.join(there)}; install "
            "onnxruntime-gpu in its place, or pass --device cpu"
        )
    return [(_CUDA, {"device_id": int(found[2] or 0)}), _CPU]


def _line(error: Exception) -> str:
    """Return the message of an onnxruntime error in one line, without its code."""
    text = " ".join(str(error).split())
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)[:200]
