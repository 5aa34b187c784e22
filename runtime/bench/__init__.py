"""Measure a bundle on a video: speed, age, flicker and fidelity of every steady mode."""

from .plot import draw_plot
from .quality import Quality, measure_quality
from .speed import Speed, measure_live, measure_speed
from .subject import Subject

__all__ = ["Quality", "Speed", "Subject", "draw_plot", "measure_live", "measure_quality", "measure_speed"]
