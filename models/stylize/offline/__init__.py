"""Artistic style transfer for videos by optimization, complete: minutes a frame, and the reference for the rest."""
