"""Live sources: their states, their supervision, and the clock of their frames."""
