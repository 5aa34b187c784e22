"""What a user may choose for the videos that are written.

Owns `VideoOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError
from ..encode import HARDWARE

_MOST_QUALITY = 51


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """What a user may choose for the videos that are written.

    Parameters
    ----------
    quality : 0 (lossless) to 51, x264's constant rate factor; None for the usual, 20
    encoder : ``x264``, ``nvenc`` or ``v4l2m2m``
    """

    quality: int | None = None
    encoder: str = "x264"

    def __post_init__(self) -> None:
        if self.encoder not in HARDWARE:
            raise UsageError("There is no such encoder", found=self.encoder, available=HARDWARE)
        if self.quality is not None and not 0 <= self.quality <= _MOST_QUALITY:
            raise UsageError("The quality is out of range", expected="0 (lossless) to 51", found=self.quality)
