"""Facts about training photos, mostly kept beside their cache: chroma and class labels, hard and soft.

Owns those side files. ONNX Runtime is imported only where a classifier is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ...runtime.errors import UsageError
from ..data import PhotoCrops

LABEL_SIDE = 160  # what a classifier sees; soft labels need no more, and cost half of what 224 does
_Item = TypeVar("_Item")


def mean_chroma(crops: PhotoCrops) -> NDArray[np.float32]:
    """Mean distance from grey of every crop, (N,) in CIELAB units."""
    path = crops.path.with_suffix(".chroma.npy")
    if not path.exists():
        chroma = np.empty(len(crops.pixels), np.float32)
        watched = _watched(crops.pixels, len(crops.pixels), "measuring chroma")
        for i, pixels in enumerate(watched):
            chroma[i] = chroma_of(pixels)
        _save(path, chroma)
    found: NDArray[np.float32] = np.load(path)
    return found


def chroma_of(pixels: NDArray[np.uint8]) -> float:
    """Mean distance from grey of one crop, (side, side, 3) uint8 BGR, in CIELAB units."""
    small = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return float(np.linalg.norm(cv2.cvtColor(small, cv2.COLOR_BGR2LAB)[..., 1:], axis=-1).mean())


def of_classifier(crops: PhotoCrops, model: Path) -> NDArray[np.float16]:
    """Ask a classifier for its opinion on every crop, in color.

    Parameters
    ----------
    crops : photos
    model : ONNX file; first input (n, 3, h, w) float32 RGB in [0, 1], last output (n, N) scores

    Returns
    -------
    (N photos, N classes) float16, each row sums to 1
    """
    path = crops.path.with_suffix(f".{model.stem}.npy")
    if not path.exists():
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # one image a core scales better than one image on all cores
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        source, target = session.get_inputs()[0].name, session.get_outputs()[-1].name

        def ask(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
            small = cv2.resize(pixels, (LABEL_SIDE, LABEL_SIDE), interpolation=cv2.INTER_AREA)
            feed = np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
            scores = np.asarray(session.run([target], {source: feed})[0], np.float64).reshape(-1)
            return _softmax(scores).astype(np.float16)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            answers = pool.map(ask, crops.pixels)
            rows = list(_watched(answers, len(crops.pixels), "asking the classifier"))
        _save(path, np.stack(rows))
    found: NDArray[np.float16] = np.load(path)
    return found


def of_folders(crops: PhotoCrops) -> NDArray[np.float16]:
    """Take the folder that each photo lies in as its class, as the Places data set is laid out.

    Returns
    -------
    (N photos, N classes) float16, a single 1 in each row; classes in the order of their names

    Raises
    ------
    UsageError
        If there is only one folder.
    """
    folders = [name.partition("/")[0] for name in crops.names]
    classes = sorted(set(folders))
    if len(classes) < 2:
        raise UsageError("All photos lie in one folder", expected="a folder for each class", found=classes[0])
    labels = np.zeros((len(folders), len(classes)), np.float16)
    labels[np.arange(len(folders)), np.searchsorted(classes, folders)] = 1
    return labels


def _watched(items: Iterable[_Item], total: int, words: str) -> Iterable[_Item]:
    return track(items, words, total=total, console=Console(stderr=True))


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _save(path: Path, array: NDArray[np.generic]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp.npy")
    np.save(temporary, array)
    temporary.replace(path)
