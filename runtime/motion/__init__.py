"""Motion between two frames: dense optical flow, warping along it, and where the flow is reliable."""
