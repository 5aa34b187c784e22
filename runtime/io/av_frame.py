"""What a frame of PyAV becomes: planes or BGR of 8 bits, upright.

Owns `image_of`, and what a frame says of its colors and its orientation. Imports PyAV's frames, no container.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ..orientation import UPRIGHT, code_of_display_matrix, swaps_sides, turned_upright
from ..planes import UNSPECIFIED, ColorTags, Planes, bgr_of, plane_view, reformatter, tag
from .hdr import is_hdr, to_sdr


def image_of(frame: Any, tags: ColorTags, code: int = UPRIGHT) -> Planes | NDArray[np.uint8]:
    """Turn a decoded frame upright, as planes where it has any, else as (H, W, 3) uint8 BGR."""
    if is_hdr(tags.transfer):
        return turned_upright(_sdr(frame, tags), code)
    name = frame.format.name
    target = _plane_format(name, turned=swaps_sides(code))
    if target is None:
        return turned_upright(_pixels(frame, tags), code)
    made = frame if name == target else _converted(frame, target, tags)
    return _planes(made, tags, code)


def orientation_of(frame: Any) -> int:
    """Orientation code of a frame, from the display matrix beside it."""
    if not frame.rotation and not frame.side_data:
        return UPRIGHT
    for beside in frame.side_data:
        if getattr(beside.type, "name", "") == "DISPLAYMATRIX":
            return code_of_display_matrix(struct.unpack("=9i", bytes(beside)[:36]))
    return UPRIGHT


def tags_of(frame: Any, context: Any) -> ColorTags:
    """Color tags of a frame."""
    name = frame.format.name
    grey = name.startswith(("gray", "ya", "mono"))
    full = frame.color_range == 2 or name.startswith("yuvj") or (grey and frame.color_range != 1)
    primaries = getattr(frame, "color_primaries", context.color_primaries)
    transfer = getattr(frame, "color_trc", context.color_trc)
    return ColorTags(
        matrix=int(frame.colorspace) or UNSPECIFIED,
        full_range=bool(full),
        primaries=int(primaries) or UNSPECIFIED,
        transfer=int(transfer) or UNSPECIFIED,
    )


@lru_cache(maxsize=64)
def _plane_format(name: str, *, turned: bool) -> str | None:
    """8-bit planar format that the planes of a format are kept in; None for one without (RGB, palettes, alpha)."""
    found = av.VideoFormat(name)
    if name.startswith("gray"):
        return "gray"
    alpha = any(part.is_alpha for part in found.components)
    if found.is_rgb or found.has_palette or alpha or not name.startswith(("yuv", "nv", "p0", "p2", "p4", "uy", "yu")):
        return None
    wide, high = found.chroma_width(16), found.chroma_height(16)
    if (wide, high) == (8, 8):
        return name if name == "yuvj420p" else "yuv420p"
    if (wide, high) == (8, 16) and not turned:
        return name if name == "yuvj422p" else "yuv422p"
    return name if name == "yuvj444p" else "yuv444p"


def _converted(frame: Any, target: str, tags: ColorTags) -> Any:
    """Bring a YUV or grey frame to another depth or subsampling; matrix and range stay."""
    spread = 2 if tags.full_range else 1
    return reformatter().reformat(frame, format=target, src_color_range=spread, dst_color_range=spread, threads=1)


def _planes(frame: Any, tags: ColorTags, code: int) -> Planes:
    """Look at the planes of a frame; nothing is copied unless it is turned."""
    height, width, planes = frame.height, frame.width, frame.planes
    views = [plane_view(planes[0], height, width)]
    if len(planes) >= 3:
        size = (frame.format.chroma_height(height), frame.format.chroma_width(width))
        views += [plane_view(planes[place], *size) for place in (1, 2)]
    y, u, v = (*(turned_upright(view, code) for view in views), None, None)[:3]
    assert y is not None
    return Planes(y, u, v, tags)


def _pixels(frame: Any, tags: ColorTags) -> NDArray[np.uint8]:
    """Convert to BGR; what is transparent lies over black."""
    if not any(part.is_alpha for part in frame.format.components) and not frame.format.has_palette:
        return bgr_of(tag(frame, tags) if not frame.format.is_rgb else frame)
    from ..image_file import over_black

    made = reformatter().reformat(frame, format="bgra", threads=1)
    view = plane_view(made.planes[0], made.height, made.width, 4)
    return over_black(np.ascontiguousarray(view).reshape(made.height, made.width, 4))


def _sdr(frame: Any, tags: ColorTags) -> NDArray[np.uint8]:
    made = reformatter().reformat(tag(frame, tags), format="bgr48le", src_colorspace=9, threads=1)
    view = np.frombuffer(made.planes[0], np.uint16).reshape(made.height, -1)[:, : made.width * 3]
    return to_sdr(np.ascontiguousarray(view).reshape(made.height, made.width, 3), tags.transfer)
