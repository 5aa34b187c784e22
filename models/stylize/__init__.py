"""Stylize: a feed-forward net that knows its previous output, and the optimisation it descends from."""
