"""What does a network see in pictures, and how often had it to look?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from geoseg.backends.detections import Picture
from geoseg.backends.models.asking import Code, Network
from geoseg.backends.models.device import Device
from geoseg.backends.models.embeddings import Embeddings


class Encoder:
    """Encodes pictures; where embeddings are kept, each picture once.

    Where they are kept, pictures are encoded one by one. The last digits of an embedding depend on
    the company in which a picture is encoded; an answer must not depend on who met it first.
    """

    def __init__(
        self, network: Callable[[], Network], device: Device, kept: Embeddings | None
    ) -> None:
        self._network, self._device, self._kept = network, device, kept
        self.encoded = 0
        """Pictures that went through the network so far."""

    def __call__(self, pictures: Sequence[Picture]) -> list[Code]:
        """Return what is seen in pictures of one size."""
        if self._kept is None:
            return self._encode(pictures)
        return [self._once(picture, self._kept) for picture in pictures]

    def _once(self, picture: Picture, kept: Embeddings) -> Code:
        known = kept.read(picture)
        if known is not None:
            return known.on(self._device)
        (code,) = self._encode([picture])
        kept.write(picture, code)
        return code

    def _encode(self, pictures: Sequence[Picture]) -> list[Code]:
        network = self._network()
        with self._device.computing():
            codes = network.encode(pictures)
        self.encoded += len(pictures)
        return codes
