"""Artistic style transfer for videos by optimisation, complete: minutes a frame, and the reference for the rest."""
