"""Stylize: a feed-forward net that knows its previous output, and the optimization it descends from."""
