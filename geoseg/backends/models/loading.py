"""How does a model come from files without running any code of theirs?

Classes are ours to name (nothing is looked up by `auto_map`), configurations lose what could pull
in code, tensors come from safetensors first and from pickles only as tensors (`weights_only`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import logging as transformers_logging

from geoseg.backends.detections import Picture
from geoseg.backends.models.device import Device
from geoseg.backends.weights import Weights
from geoseg.errors import BackendError

log = logging.getLogger(__name__)

_UNSAFE = ("auto_map", "custom_pipelines", "_attn_implementation", "attn_implementation")
"""Fields of a configuration that can name code; the third has run code from the hub
(CVE-2026-4372, transformers < 5.3)."""


_UNLIMITED = 10**9

_HOSTILE = "it is a pickle of more than tensors"
"""Said instead of torch's own words, which advise to open it all the same."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The transformers classes of one kind of model, by name: only those in use are imported."""

    kinds: tuple[str, ...]
    """`model_type`s of configurations: its own, and those of larger models that contain it."""
    config: str
    model: str
    pictures: str
    """Image processor."""
    words: str | None = None
    """Tokenizer."""


def load(weights: Weights, classes: Classes, device: Device) -> tuple[Any, Any, Any]:
    """Load a network in evaluation mode onto a device.

    Args:
        weights: A folder as `save_pretrained` writes it.
        classes: What it is loaded with.
        device: Where to.

    Returns:
        (network, image processor, tokenizer or None).

    Raises:
        BackendError: Damaged, of another kind, or lacking tensors.
    """
    config = _config(weights)
    kind = str(config.get("model_type"))
    if kind not in classes.kinds:
        raise BackendError(
            f"{weights.source} holds a model of type '{kind}'; backend {weights.family} runs "
            f"{' or '.join(classes.kinds)}"
        )
    quiet = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        network = _network(weights, classes, config)
        pictures = _part(weights, classes.pictures)
        words = None if classes.words is None else _part(weights, classes.words)
    finally:
        transformers_logging.set_verbosity(quiet)
    if words is not None:
        # Lengths are checked by those who ask; the tokenizer's own warning would only disturb.
        words.model_max_length = _UNLIMITED
    return network.eval().to(device.name), pictures, words


def _config(weights: Weights) -> dict[str, Any]:
    if not weights.path.is_dir():
        raise BackendError(
            f"{weights.source} is a single file; backend {weights.family} wants a folder with "
            "config.json and weights, as save_pretrained writes it"
        )
    try:
        config = json.loads((weights.path / "config.json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise BackendError(f"{weights.source} has no config.json: no model folder") from error
    except (OSError, ValueError) as error:
        raise BackendError(f"config.json of {weights.source} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise BackendError(f"config.json of {weights.source} is damaged: no object")
    harmless: dict[str, Any] = _without_code(config)
    return harmless


def _without_code(value: Any) -> Any:
    if isinstance(value, dict):
        unsafe = [k for k in value if k.startswith(_UNSAFE)]
        if unsafe:
            log.debug("ignored in config.json: %s", ", ".join(unsafe))
        return {k: _without_code(v) for k, v in value.items() if k not in unsafe}
    return [_without_code(v) for v in value] if isinstance(value, list) else value


def _network(weights: Weights, classes: Classes, config: dict[str, Any]) -> torch.nn.Module:
    safe = any(weights.path.glob("*.safetensors"))
    try:
        settings = getattr(transformers, classes.config).from_dict(config)
        network, report = getattr(transformers, classes.model).from_pretrained(
            weights.path,
            config=settings,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=safe,
            weights_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )
    except ImportError as error:
        raise BackendError(
            f"{weights.source} needs a package that is not installed: "
            f'{_line(error)}; pip install "geoseg[models]"'
        ) from error
    except Exception as error:
        # transformers and safetensors raise whatever they meet in a damaged file.
        raise BackendError(
            f"weights of {weights.source} are damaged or are not a plain collection of tensors "
            f"({_HOSTILE if 'weights_only' in str(error) else _line(error)}); fetch them again, as "
            "safetensors"
        ) from error
    lacking = sorted(report["missing_keys"])
    if lacking or report.get("mismatched_keys"):
        raise BackendError(
            f"weights of {weights.source} do not fill a {classes.model}: {len(lacking)} tensors "
            f"are missing ({', '.join(lacking[:2])}) and {len(report['mismatched_keys'])} have "
            "another shape; they are of another model, or cut short"
        )
    return network  # type: ignore[no-any-return]


def _part(weights: Weights, name: str) -> Any:
    """Load an image processor or tokenizer from the model's folder."""
    vocabularies = ("tokenizer.json", "vocab.txt", "vocab.json")
    if "Tokenizer" in name and not any((weights.path / v).exists() for v in vocabularies):
        # transformers would make one of its own, with other numbers.
        raise BackendError(
            f"{weights.source} lacks its vocabulary ({' or '.join(vocabularies)}); fetch the whole "
            "folder again"
        )
    try:
        return getattr(transformers, name).from_pretrained(weights.path, local_files_only=True)
    except Exception as error:
        raise BackendError(
            f"{weights.source} lacks what {name} needs ({type(error).__name__}: {_line(error)}); "
            "fetch the whole folder again"
        ) from error


def prepared(processor: Any, pictures: Sequence[Picture], device: Device) -> Any:
    """Return pictures as a network's input, resized and normalised on the device.

    Args:
        processor: The image processor that was loaded with the network.
        pictures: (row, col, 3) uint8, of one size.
        device: Where to; pictures go there as bytes.
    """
    sent = [device.send(torch.from_numpy(p.transpose(2, 0, 1).copy())) for p in pictures]
    return processor(sent, return_tensors="pt", input_data_format="channels_first")


def _line(error: BaseException) -> str:
    """Return the first sentence of a long message."""
    first = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
    return first.strip()[:200]


class Remembering(torch.nn.Module):
    """A part of a network that does not work twice on one input.

    Models run one whole forward pass per set of words; wrapping the encoders makes several passes
    over a picture cost one encoding of it, and several pictures one encoding of the words, without
    touching the model's own forward.
    """

    def __init__(self, part: torch.nn.Module, most: int = 1) -> None:
        super().__init__()
        self.part = part
        self._most = most
        self._known: dict[int, tuple[torch.Tensor, Any]] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the part's output; the one from before for the very same first tensor."""
        subject = _first_tensor((*args, *kwargs.values()))
        if id(subject) not in self._known:
            while len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            # Holding the tensor keeps its identity from being given to another.
            self._known[id(subject)] = (subject, self.part(*args, **kwargs))
        return _copy(self._known[id(subject)][1])

    def __getattr__(self, name: str) -> Any:
        """Return what the wrapped part has and this has not."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("part"), name)


def _copy(value: Any) -> Any:
    """Copy containers, as some models append to what their encoders return; share tensors."""
    if isinstance(value, list):
        return [_copy(v) for v in value]
    if type(value) is tuple:
        return tuple(_copy(v) for v in value)
    if isinstance(value, dict):
        return type(value)(**{k: _copy(v) for k, v in value.items()})
    return value


def _first_tensor(values: Any) -> torch.Tensor:
    for value in values:
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, list | tuple) and value:
            return _first_tensor(value)
    raise TypeError("no tensor among the arguments")
