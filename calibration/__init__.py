"""Frames that represent a stream, and what a precision costs in quality. May import runtime, never torch or onnx."""

if __name__ != "steadyframe.calibration":
    raise ImportError(
        "This is a layer of the namespace 'steadyframe': write 'import steadyframe.calibration'. "
        "From a checkout, install it first with 'make .venv' or 'pip install -e .'"
    )
