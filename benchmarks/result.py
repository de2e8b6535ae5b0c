"""What the benchmarks of this folder share: an answer checked, and a result with what it depends on.

Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from alexpy.compare.machine import machine


def require(holds: Any, what: str) -> None:
    """End the benchmark where an answer is wrong."""
    if not holds:
        sys.exit(f"WRONG ANSWER: {what}")


def write(path: Path, found: dict[str, Any], folder: Path | None = None) -> None:
    """Write `found` as JSON after what made it; the stores lay in `folder`, else in the temporary folder."""
    program = f"benchmarks/{Path(sys.argv[0]).name}"
    made = {
        "benchmark": program,
        "command": " ".join(["python", program, *sys.argv[1:]]),
        "machine": machine(folder or Path(tempfile.gettempdir())),
    }
    path.write_text(json.dumps(made | found, indent=1) + "\n")
