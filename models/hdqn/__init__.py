"""h-DQN (Kulkarni et al. 2016): goals chosen by a meta-controller, pursued by a controller, judged by a critic.

`agent` is the algorithm, for any Q-function and any gymnasium environment; `mdp` and `montezuma` are the paper's two
experiments, `camera` is a small world of ours for pan/tilt cameras.
"""
