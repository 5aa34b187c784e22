"""Associative recall with a Neural Turing Machine, its controller plain or noisy.

`python -m steadyframe.models.recall --row noisy` trains every seed of a row at once.

References
----------
Gulcehre et al. 2016, section 6.6; Graves et al. 2014 (arXiv 1410.5401), section 4.3.
"""
