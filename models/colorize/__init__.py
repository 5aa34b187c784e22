"""Colorization after Iizuka, Simo-Serra and Ishikawa, *Let there be Color!*, SIGGRAPH 2016."""

from .net import Colorizer, ColorizerOptions

__all__ = ["Colorizer", "ColorizerOptions"]
