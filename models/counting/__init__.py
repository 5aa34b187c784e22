"""Counting the unique integers of a sequence with an LSTM: the experiment on annealed noise, rebuilt.

`python -m steadyframe.models.counting --row nan-annealed` trains one row of the table, every seed at once;
`python -m steadyframe.models.counting.table` prints the table and draws the curves.

References
----------
Gulcehre et al. 2016, section 6.6 (arXiv 1603.00391).
"""
