"""What people's modules are like, and what an export needs.

Owns `adapted`, which makes a module of one frame give a tuple of float32 tensors in the order of the names, or says
in one line why it cannot; and `plain_cause`, the last cause of a torch error as one line of text.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..runtime.errors import BundleError, UsageError

IMAGE = "image"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(
    r"^(The above exception|Traceback|File |##|\(Refer|For (more|C\+\+)|- |\d+\. |Hint|While executing)"
)
_LONGEST = 300
_DATA_DEPENDENT = ("data-dependent", "GuardOnDataDependent", "cond", "Could not guard", "unbacked")


class Adapted(nn.Module):
    """A module behind one interface: (1, 3, H, W) float32 to one tensor, or a tuple in the order of the names.

    Parameters
    ----------
    module : of the user; copied and brought to float32
    outputs : names of what it gives
    """

    def __init__(self, module: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).float().eval()
        self.names = tuple(outputs)

    def forward(self, image: Tensor) -> Any:
        """Run the module on (1, 3, H, W), and order its outputs by name; a grey image gets three equal channels."""
        found = self.module(image)
        if isinstance(found, Mapping):
            tensors = [found[name] for name in self.names]
        else:
            tensors = list(found) if isinstance(found, tuple | list) else [found]
        if self.names == (IMAGE,) and tensors[0].shape[1] == 1:
            tensors[0] = tensors[0].expand(-1, 3, -1, -1)
        return tensors[0] if len(tensors) == 1 else tuple(tensors)


def adapted(module: nn.Module, outputs: Sequence[str], size_wh: tuple[int, int]) -> Adapted:
    """Make a module exportable, after one run on noise that shows what it gives.

    Parameters
    ----------
    module : takes (1, 3, H, W), gives a tensor, a tuple or a dict of them; half and bfloat16 become float32
    outputs : names of what it gives; of a dict its keys
    size_wh : of the run

    Raises
    ------
    UsageError
        If names and outputs do not fit, or the result called `image` is none.
    BundleError
        If the module cannot be run on one image.
    """
    _refuse_what_is_no_module(module)
    wrapped = Adapted(module, outputs)
    width, height = size_wh
    try:
        with torch.no_grad():
            found = wrapped.module(torch.rand(1, 3, height, width))
    except Exception as error:  # anything may be raised in somebody's module
        raise BundleError(
            f"The module cannot be run on one (1, 3, {height}, {width}) float32 image ({plain_cause(error)})"
        ) from error
    _check_outputs(found, tuple(outputs))
    return wrapped


def _refuse_what_is_no_module(module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(
            "A TorchScript module cannot be exported", expected="the nn.Module that it was scripted or traced from",
            found=type(module).__name__,
        )  # fmt: skip
    if not isinstance(module, nn.Module):
        raise UsageError(
            "This is no module", expected="a torch.nn.Module", found=type(module).__name__,
            todo="A state dict holds weights only: make the module, then module.load_state_dict(…)",
        )  # fmt: skip
    needed = [
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) > 1:
        raise UsageError(
            f"The module takes {len(needed)} inputs, and a bundle's network sees one image",
            expected="forward(image)", found=f"forward({', '.join(needed)})",
            todo="Wrap it in a module that makes the other inputs from the image",
        )  # fmt: skip


def _check_outputs(found: Any, names: tuple[str, ...]) -> None:
    """Compare what a module gave with the names."""
    if isinstance(found, Mapping):
        if set(found) != set(names):
            raise UsageError(
                "The names are not those of the module's dict", expected=sorted(map(str, found)), found=list(names)
            )
        tensors = [found[name] for name in names]
    else:
        tensors = list(found) if isinstance(found, tuple | list) else [found]
    if len(tensors) != len(names):
        raise UsageError(
            "There is not one name for each output of the module",
            expected=f"{len(tensors)} names, for shapes {[tuple(getattr(one, 'shape', ())) for one in tensors]}",
            found=list(names),
        )
    strange = [type(one).__name__ for one in tensors if not isinstance(one, Tensor)]
    if strange:
        raise UsageError("An output is no tensor", expected="tensors", found=", ".join(strange))
    shape = tuple(tensors[0].shape)
    if names == (IMAGE,) and not (len(shape) == 4 and shape[0] == 1 and shape[1] in (1, 3)):
        raise UsageError(
            "The output called `image` is no image", expected="(1, 3, h, w), or (1, 1, h, w) for grey, in [0, 1]",
            found=shape, todo="Give it another name, and it becomes a named array",
        )  # fmt: skip


def plain_cause(error: BaseException) -> str:
    r"""Say the last cause of an error in one line, without color codes.

    Examples
    --------
    >>> plain_cause(ValueError("\x1b[96mno\x1b[0m way"))
    'ValueError: no way'
    """
    cause, seen = error, {id(error)}
    while (deeper := cause.__cause__ or cause.__context__) is not None and id(deeper) not in seen:
        seen.add(id(deeper))
        cause = deeper
    lines = [line.strip() for line in _COLORS.sub("", str(cause)).splitlines()]
    told = next((line for line in lines if line and not _NOISE.match(line)), "")
    text = f"{type(cause).__name__}: {told}" if told else type(cause).__name__
    if any(sign in str(cause) or sign in type(cause).__name__ for sign in _DATA_DEPENDENT):
        text = f"a branch depends on the values in a tensor, which a graph cannot hold: {text}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"
