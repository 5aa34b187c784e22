"""Makes the stand-ins of these tests importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # live_and_noting
