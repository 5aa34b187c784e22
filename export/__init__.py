"""From a trained checkpoint to a bundle that is proven equal. May import models, calibration and runtime."""

if __name__ != "steadyframe.export":
    raise ImportError(
        "This is a layer of the namespace 'steadyframe': write 'import steadyframe.export'. "
        "From a checkout, install it first with 'make .venv' or 'pip install -e .'"
    )

import sys
from types import ModuleType
from typing import Any


class _CallableLayer(ModuleType):
    """The layer, which is also the function `steadyframe.export`: a submodule hides an attribute of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from .front import export

        return export(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableLayer
