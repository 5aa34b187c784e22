"""Choice of frames that stand for a stream. May import the runtime; never torch."""

if __name__ != "steadyframe.calibration":
    raise ImportError(
        "This is a layer of the namespace 'steadyframe': write 'import steadyframe.calibration'. "
        "From a checkout, install it first with 'make .venv' or 'pip install -e .'"
    )
