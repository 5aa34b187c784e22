"""Photos in WebDataset shards: tar files of a thousand photos each, read in a stream.

Owns the converter from folders and the source of batches. A folder of photos is decoded once and kept (`data`), which
is quicker, and takes 0.1 to 0.2 MB a photo; shards are for sets that no cache holds.
"""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ..runtime.errors import SinkError, SourceError, SourceNotFound, UsageError
from ..runtime.files import write_whole
from .data import crops_of, find_photos

INDEX = "dataset.json"
SKIPPED = "skipped.jsonl"
_IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
_SHUFFLE = 2000  # samples that are mixed, beside the mixing of whole shards
_AT_ONCE = 256  # photos that the converter holds
_MOST_LOST = 100  # samples in a row that cannot be decoded: then it is no set of photos


@dataclass(frozen=True, slots=True)
class ShardSet:
    """Shards in a folder, and the classes of their photos.

    Parameters
    ----------
    shards : paths of the tar files
    classes : names of the folders that the photos came from
    samples : number of photos
    """

    shards: tuple[Path, ...]
    classes: tuple[str, ...]
    samples: int

    @classmethod
    def of_folder(cls, folder: Path) -> ShardSet:
        """Read what the converter has written.

        Raises
        ------
        SourceNotFound
            If shards are missing, or the index is damaged.
        """
        index, shards = read_index(folder, "classes")
        return cls(shards, tuple(index["classes"]), int(index["samples"]))


def read_index(folder: Path, fact: str) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Read what a converter wrote about a folder, and find its shards.

    Parameters
    ----------
    folder : of shards
    fact : what the index of this kind of samples must say

    Raises
    ------
    SourceNotFound
        If the index cannot be read, is of other samples, or shards are missing.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        shards = tuple(folder / name for name in index["shards"])
        int(index["samples"]), index[fact]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceNotFound(
            f"{folder / INDEX} cannot be read ({error})",
            expected=f"shards, samples and {fact}, as `steadyframe shards` writes them",
        ) from error
    missing = [path.name for path in shards if not path.is_file()]
    if missing or not shards:
        raise SourceNotFound(f"Shards of {folder} are missing", found=", ".join(missing) or "none")
    return index, shards


def write_index(out: Path, name: str, samples: int, skipped: Sequence[Mapping[str, str]], **facts: Any) -> None:
    """Write what was skipped and why, and what is in the shards `NAME-*.tar`.

    Raises
    ------
    SourceNotFound
        If no sample was written.
    """
    write_whole(out / SKIPPED, "".join(json.dumps(one) + "\n" for one in skipped).encode())
    if not samples:
        raise SourceNotFound(f"None of the {name} could be written", found=f"{len(skipped)} files skipped")
    shards = sorted(path.name for path in out.glob(f"{name}-*.tar"))
    index = {"shards": shards, "samples": samples, "skipped": len(skipped), **facts}
    write_whole(out / INDEX, json.dumps(index, indent=1).encode())


def is_shards(folder: Path) -> bool:
    """Whether a folder holds shards that the converter wrote."""
    return (Path(folder) / INDEX).is_file()


def samples_of(shards: Sequence[Path], *, shuffle: int, seed: int) -> Iterator[dict[str, Any]]:
    """Give samples of shards, drawn at random, without end: field -> bytes, and `__key__`.

    Parameters
    ----------
    shards : tar files
    shuffle : samples that are mixed, beside the mixing of whole shards
    seed : of the order
    """
    return iter(
        webdataset.DataPipeline(
            webdataset.ResampledShards(
                [str(path) for path in shards], seed=seed, deterministic=True, worker_seed=lambda: seed
            ),
            webdataset.tarfile_to_samples(),
            webdataset.shuffle(shuffle, rng=random.Random(seed)),
        )
    )


class ShardSource:
    """Random batches out of shards, as tensors on a device; like `data.BatchSource`, but nothing is kept.

    Shards are drawn at random, without end, by every process for itself: nobody waits for another's last photo.

    Parameters
    ----------
    sets : of shards, with the same classes
    side : of the crops, pixels
    batch_size : crops a batch
    device : torch device
    seed : of the order; another one in every process
    wanted : whether a crop, (side, side, 3) uint8 BGR, of a photo with a name is taken; all are, without it
    threads : that decode photos
    """

    def __init__(
        self,
        sets: Sequence[ShardSet],
        *,
        side: int,
        batch_size: int,
        device: str,
        seed: int = 0,
        wanted: Callable[[NDArray[np.uint8], str], bool] | None = None,
        threads: int = 2,
    ) -> None:
        if len({one.classes for one in sets}) != 1:
            raise UsageError("The shards have different classes", found=[len(one.classes) for one in sets])
        self.classes = sets[0].classes
        self.lost = 0
        self._side, self._size, self._device, self._wanted = side, batch_size, device, wanted
        self._samples = samples_of([path for one in sets for path in one.shards], shuffle=_SHUFFLE, seed=seed)
        self._decoders = ThreadPoolExecutor(threads)
        self._crops = self._decoded()
        self._reader = ThreadPoolExecutor(1)
        self._next = self._reader.submit(self._read)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Give a batch, (B, 3, side, side) float32 **RGB** in [0, 1], and the (B,) numbers of its photos' classes."""
        batch, classes = self._next.result()
        self._next = self._reader.submit(self._read)
        batch = batch.to(self._device, non_blocking=True)
        return batch.flip(-1).permute(0, 3, 1, 2).float().div(255), classes.to(self._device, non_blocking=True)

    def _read(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode the next batch, (B, side, side, 3) uint8 BGR, and its classes, (B,)."""
        found = list(islice(self._crops, self._size))
        return torch.from_numpy(np.stack([crop for crop, _ in found])), torch.tensor([number for _, number in found])

    def _decoded(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Crops and their classes; some photos ahead are decoded at the same time."""
        in_a_row = 0
        while True:
            try:
                samples = list(islice(self._samples, 4 * self._size))
            except (OSError, ValueError, tarfile.TarError) as error:
                raise SourceError(f"A shard cannot be read ({error})", todo="Convert the photos again") from error
            for crops, name, number in self._decoders.map(self._crops_of, samples):
                in_a_row = 0 if crops else in_a_row + 1
                self.lost += not crops
                if in_a_row >= _MOST_LOST:
                    raise SourceError(f"{in_a_row} samples in a row hold no photo", expected="photos", found=name)
                for crop in crops:
                    if self._wanted is None or self._wanted(crop, name):
                        yield crop, number

    def _crops_of(self, sample: dict[str, Any]) -> tuple[list[NDArray[np.uint8]], str, int]:
        """Decode one sample."""
        name = str(sample["__key__"])
        content = next((sample[ending] for ending in _IMAGES if ending in sample), b"")
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        crops = [] if pixels is None else crops_of(np.asarray(pixels, np.uint8), self._side)
        return crops, name.rpartition("/")[2], int(sample.get("cls", b"0"))


def convert(folders: Sequence[Path], out: Path, *, per_shard: int = 1000, seed: int = 0) -> tuple[ShardSet, int]:
    """Write photos into shards, in a random order, their files as they are.

    Parameters
    ----------
    folders : of photos; the folder that a photo lies in is its class
    out : folder of the shards, which must be empty or new
    per_shard : photos in a shard
    seed : of the order

    Returns
    -------
    The shards, and the number of photos that were skipped; `skipped.jsonl` says which and why.

    Raises
    ------
    SinkError
        If the folder holds something, or cannot be written.
    SourceNotFound
        If there are no photos, or none can be decoded.
    """
    photos = find_photos(folders)
    classes = sorted({photo.parent.name for photo in photos})
    make_new_folder(out)
    random.Random(seed).shuffle(photos)
    skipped: list[dict[str, str]] = []
    written = 0
    with ThreadPoolExecutor() as pool, shard_writer(out, "photos", per_shard) as shards:
        # Some at a time: the contents of millions of photos do not fit into memory.
        jobs = (pool.map(_checked, photos[at : at + _AT_ONCE]) for at in range(0, len(photos), _AT_ONCE))
        checked = (one for part in jobs for one in part)
        watched = track(checked, "writing shards", total=len(photos), console=Console(stderr=True))
        for photo, (content, reason) in zip(photos, watched, strict=True):
            if content is None:
                skipped.append({"photo": str(photo), "reason": reason})
                continue
            key = f"{written:09d}/{photo.stem}".replace(".", "_")
            ending = photo.suffix.lower().removeprefix(".")
            shards.write({"__key__": key, ending: content, "cls": classes.index(photo.parent.name)})
            written += 1
    write_index(out, "photos", written, skipped, classes=classes)
    return ShardSet.of_folder(out), len(skipped)


def make_new_folder(out: Path) -> None:
    """Make a folder for shards.

    Raises
    ------
    SinkError
        If it holds something.
    """
    if out.exists() and any(out.iterdir()):
        raise SinkError(f"{out} is not empty", todo="Name a new folder")
    out.mkdir(parents=True, exist_ok=True)


def shard_writer(out: Path, name: str, per_shard: int) -> Any:
    """Open the library's writer of `OUT/NAME-000000.tar` and the ones that follow."""
    pattern = f"{str(out).replace('%', '%%')}/{name}-%06d.tar"
    return webdataset.ShardWriter(pattern, maxcount=per_shard, verbose=0)


def _checked(photo: Path) -> tuple[bytes | None, str]:
    """Content of a photo that can be decoded; otherwise None, and why not."""
    try:
        content = photo.read_bytes()
    except OSError as error:
        return None, str(error.strerror)
    if not content:
        return None, "the file is empty"
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return None, "it cannot be decoded"
    return content, ""
