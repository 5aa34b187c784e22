"""Many videos on many processors: cut where the task forgets, worked on apart, joined into the same files."""
