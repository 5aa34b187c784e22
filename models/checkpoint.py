"""What a training run leaves behind: weights, the configuration that made them, and how far it came.

Owns the file formats: `.pt` while training, `weights.safetensors` in a bundle. Weights are read with `weights_only`,
so that a checkpoint is data and never code.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..runtime.bundle.bundle import MANIFEST_FILE, WEIGHTS_FILE, Bundle, shipped_bundles
from ..runtime.errors import BundleError
from . import weights_file

FORMAT = 1
_STATE_DICT = (
    "Weights of your own need their network: in Python, make the module, load the weights with "
    "module.load_state_dict(…), then steadyframe.export(module, FOLDER, example=image)"
)


@dataclass(slots=True)
class Checkpoint:
    """A network's weights and their history.

    Parameters
    ----------
    task : which trainer made it
    config : options of network and training, plain values only
    weights : state dict to run and export (the running average, where the trainer keeps one)
    training : state dicts that only a resumed run needs; may be empty in a released file
    step, seconds : progress of the run
    metrics : name -> figure on the validation set
    commit : of the code that trained it, with `+dirty` if the tree had changes
    """

    task: str
    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    commit: str = ""

    def save(self, path: Path) -> None:
        """Write to a temporary name and rename, so that a cut run never leaves half a file.

        Raises
        ------
        TypeError
            If `config` or `metrics` hold anything but plain values: `load` would refuse the file.
        """
        json.dumps([self.config, self.metrics])
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        content = {"format": FORMAT} | {name: getattr(self, name) for name in self.__slots__}
        try:
            torch.save(content, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def round_weights(self) -> None:
        """Round the weights to what float16 can hold, in place, as at the end of a training."""
        self.weights = weights_file.rounded(self.weights)

    def is_rounded(self) -> bool:
        """Say whether float16 holds every weight that it can hold at all."""
        return all(
            torch.equal(value, self.weights[name]) for name, value in weights_file.rounded(self.weights).items()
        )

    def to_safetensors(self) -> bytes:
        """Give the content of a bundle's `weights.safetensors`; what only a resumed run needs is left out."""
        about = {name: getattr(self, name) for name in ("task", "step", "seconds", "commit")}
        texts = {name: json.dumps(getattr(self, name)) for name in ("config", "metrics")}
        return weights_file.to_bytes(
            self.weights, {"format": str(FORMAT)} | {n: str(v) for n, v in about.items()} | texts
        )

    @classmethod
    def load(cls, path: str | Path, *, task: str | None = None) -> Checkpoint:
        """Read a checkpoint onto the CPU: a `.pt` of a run, a `.safetensors`, or a bundle by its name or folder.

        Raises
        ------
        BundleError
            If the file is missing, is no checkpoint, or belongs to another task, or a bundle carries no weights.
        """
        path = _weights_path(path)
        if path.suffix == ".safetensors":
            return cls._of_safetensors(path, task)
        if not path.is_file():
            raise BundleError(f"There is no checkpoint {path}", todo="Train one with `steadyframe train`")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen unrelated types for a damaged file
            reason = (
                str(error).strip().splitlines()[0][:200] if str(error).strip() else "it is empty or no torch file"
            )
            if not path.stat().st_size:
                reason = "the file is empty"
            raise BundleError(f"{path} cannot be read as a checkpoint ({reason})", todo=_STATE_DICT) from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise BundleError(
                f"{path} is no Steadyframe checkpoint",
                expected="a file that `steadyframe train` wrote",
                found=_what_else(content),
                todo=_STATE_DICT if isinstance(content, dict) and content else "",
            )
        try:
            checkpoint = cls(**content)
        except TypeError as error:
            raise BundleError(f"{path} is no Steadyframe checkpoint ({error})") from error
        return checkpoint._of_task(path, task)

    @classmethod
    def _of_safetensors(cls, path: Path, task: str | None) -> Checkpoint:
        """Read a bundle's weights."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror})") from error
        weights, about = weights_file.from_bytes(content, str(path))
        try:
            checkpoint = cls(
                task=about["task"], config=json.loads(about["config"]), weights=weights, step=int(about["step"]),
                seconds=float(about["seconds"]), metrics=json.loads(about["metrics"]), commit=about["commit"],
            )  # fmt: skip
        except (KeyError, ValueError) as error:
            raise BundleError(f"{path} holds weights, but is no Steadyframe checkpoint ({error})") from error
        return checkpoint._of_task(path, task)

    def _of_task(self, path: Path, task: str | None) -> Checkpoint:
        """Give this checkpoint if it is of a task; None is any."""
        if task is not None and self.task != task:
            raise BundleError(f"{path} belongs to another task", expected=task, found=self.task)
        return self


def is_checkpoint(path: str | Path) -> bool:
    """Say whether a path, or a bundle's name, is something that `Checkpoint.load` may read."""
    return str(path) in shipped_bundles() or Path(path).exists()


def _weights_path(path: str | Path) -> Path:
    """Find the file: a bundle stands for the weights in it."""
    folder = Path(path)
    if folder.is_file() and folder.name != MANIFEST_FILE:
        return folder
    if str(path) not in shipped_bundles() and not folder.is_dir() and folder.name != MANIFEST_FILE:
        return folder
    bundle = Bundle.load(path)
    weights = bundle.folder / WEIGHTS_FILE
    if not weights.is_file():
        raise BundleError(
            f"Bundle {bundle.manifest.name!r} carries no weights to train on or compare with",
            expected=f"a file {WEIGHTS_FILE} in {bundle.folder}",
            todo="Export it again from its checkpoint with `steadyframe export`, or name the checkpoint itself",
        )
    return weights


def code_commit() -> str:
    """Commit of this code, `+dirty` with local changes, or an empty string outside a checkout."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
    except OSError:  # no git on this machine
        return ""
    return commit + ("+dirty" if commit and git("status", "--porcelain", "--untracked-files=no") else "")


def _what_else(content: Any) -> str:
    """Say what a file holds that is no checkpoint of ours."""
    if not isinstance(content, dict):
        return type(content).__name__
    tensors = sum(isinstance(value, torch.Tensor) for value in content.values())
    if tensors and tensors == len(content):
        return f"a bare state dict of {tensors} tensors, without the network they belong to"
    return f"a dict of {', '.join(map(str, list(content)[:6]))}"
