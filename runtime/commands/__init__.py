"""The command line: the group `steadyframe`, and the runtime's own subcommands.

Data goes to stdout, everything else to stderr.
"""

from .group import main

__all__ = ["main"]
