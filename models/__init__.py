"""Networks, losses and training loops, in PyTorch. May import the runtime, and nothing else of ours."""

if __name__ != "steadyframe.models":
    raise ImportError(
        "This is a layer of the namespace 'steadyframe': write 'import steadyframe.models'. "
        "From a checkout, install it first with 'make .venv' or 'pip install -e .'"
    )
