"""Run exported networks on camera streams: frames, bundles, engines, temporal stages, sources and sinks.

Stands on numpy, OpenCV and the standard library; engines are imported lazily, each in its own file. Never imports
torch, onnx, or another layer.
"""

if __name__ != "steadyframe.runtime":
    raise ImportError(
        "This is a layer of the namespace 'steadyframe': write 'import steadyframe.runtime'. "
        "From a checkout, install it first with 'make .venv' or 'pip install -e .'"
    )
