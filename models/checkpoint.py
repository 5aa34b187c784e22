"""What a training run leaves behind: weights, the configuration that made them, and how far it came.

Owns the file format. Weights are read with `weights_only`, so that a checkpoint is data and never code.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..runtime.errors import BundleError

FORMAT = 1


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

    @classmethod
    def load(cls, path: str | Path, *, task: str | None = None) -> Checkpoint:
        """Read a checkpoint onto the CPU.

        Raises
        ------
        BundleError
            If the file is missing, is no checkpoint, or belongs to another task.
        """
        path = Path(path)
        if not path.is_file():
            raise BundleError(f"There is no checkpoint {path}", todo="Train one with `steadyframe train`")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen unrelated types for a damaged file
            raise BundleError(f"{path} cannot be read as a checkpoint ({str(error)[:200]})") from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise BundleError(f"{path} is no Steadyframe checkpoint", expected=f"format {FORMAT}")
        try:
            checkpoint = cls(**content)
        except TypeError as error:
            raise BundleError(f"{path} is no Steadyframe checkpoint ({error})") from error
        if task is not None and checkpoint.task != task:
            raise BundleError(f"{path} belongs to another task", expected=task, found=checkpoint.task)
        return checkpoint


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
