"""Policies: goals and actions from frames (h-DQN).

`scene` says what the objects of a world are and when a goal is reached; `detect` finds them in pixels.
"""
