"""The command line: the group `steadyframe`, and the runtime's own subcommands.

Data goes to stdout, everything else to stderr.
"""

import signal
import sys
import threading
from pathlib import Path

# Until `main` handles Ctrl-C, the libraries are loading: then it ends the program quietly, without a traceback.
if Path(sys.argv[0]).stem in ("steadyframe", "-m") and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .group import main

__all__ = ["main"]
