"""Names the given files over 1 MB; exit 1 when there is one. Large data stay out of the history."""

import sys
from pathlib import Path

LIMIT = 1_000_000  # bytes

large = [(name, size) for name in sys.argv[1:] if (size := Path(name).stat().st_size) > LIMIT]
for name, size in large:
    print(f"{name}: {size / 1e6:.1f} MB, over {LIMIT / 1e6:.0f} MB. "
          f"Shrink it, or let a script fetch or build it.")
sys.exit(bool(large))
