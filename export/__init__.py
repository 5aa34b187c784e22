"""From a trained checkpoint to a bundle that is proven equal. May import models, calibration and runtime."""

if __name__ != "steadyframe.export":
    raise ImportError(
        "This is a layer of the namespace 'steadyframe': write 'import steadyframe.export'. "
        "From a checkout, install it first with 'make .venv' or 'pip install -e .'"
    )
