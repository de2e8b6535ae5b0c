"""How long the threads of shipping wait, and `alexpy ship follow`: between looks that fail, and at most."""

from __future__ import annotations

# Seconds between two attempts that fail: doubled from the interval on, up to this.
_LONGEST_WAIT = 300.0
# As threads can wait no longer than some centuries.
_FOREVER = 1e9


def bounded(seconds: float) -> float:
    """Return a wait that systems take."""
    return min(seconds, _FOREVER)


def after_failure(wait: float) -> float:
    """Return the wait that follows on one of so many seconds, where the attempt after it has failed."""
    return min(max(2 * wait, 1.0), _LONGEST_WAIT)
