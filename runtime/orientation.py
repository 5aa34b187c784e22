"""The eight ways in which a camera may have been held, and how to turn an array upright.

Owns the turning for images and videos alike. Imports OpenCV only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda array: cv2.flip(array, 1),
    3: lambda array: cv2.rotate(array, cv2.ROTATE_180),
    4: lambda array: cv2.flip(array, 0),
    5: cv2.transpose,
    6: lambda array: cv2.rotate(array, cv2.ROTATE_90_CLOCKWISE),
    7: lambda array: cv2.flip(cv2.transpose(array), -1),
    8: lambda array: cv2.rotate(array, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
# Signs of a display matrix (a, b, c, d), x' = a x + c y and y' = b x + d y, and the code of the same turn.
_SIGNS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def turned_upright(array: NDArray[Any], code: int) -> NDArray[Any]:
    """Turn an (H, W) or (H, W, C) array as the EXIF orientation `code`, 1 to 8, says.

    Examples
    --------
    >>> turned_upright(np.array([[1, 2, 3]], np.uint8), 6).tolist()
    [[1], [2], [3]]
    """
    turn = _TURNS.get(code)
    return array if turn is None else np.asarray(turn(array), array.dtype)


def swaps_sides(code: int) -> bool:
    """Whether width and height change places."""
    return code in (5, 6, 7, 8)


def code_of_display_matrix(matrix: Sequence[int]) -> int:
    """Orientation code of the nine numbers of a video's display matrix; other angles are left alone.

    Examples
    --------
    >>> code_of_display_matrix((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    6
    """
    if len(matrix) < 5:
        return UPRIGHT
    a, b, c, d = (_sign(matrix[place]) for place in (0, 1, 3, 4))
    return _SIGNS.get((a, b, c, d), UPRIGHT)


def _sign(number: int) -> int:
    """Sign of a 16.16 number; what is nearly nothing is nothing."""
    return 0 if abs(number) < 1 << 10 else (1 if number > 0 else -1)
