"""How fast the passes of a loop go by."""

from __future__ import annotations

_AT_ONCE = 0.005  # seconds: passes closer than that to the first ended with it, as in a batch
_ENOUGH = 0.1  # seconds: over less, a rate says nothing


class Pace:
    """Counts the passes of a loop as they are seen to end.

    Those that ended before the first one was seen (in another run) do not count, nor does the time
    until then: it is that of loading a model, or of a batch whose passes end together.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._at_first = 0
        self._seen = 0

    def passed(self, now: float) -> float | None:
        """One more has ended; how many a second do so, if that can be told.

        Args:
            now: The time, in seconds.
        """
        self._seen += 1
        if self._seen == 1:
            self._began = now
        spent = now - self._began
        if spent < _AT_ONCE:
            self._at_first = self._seen
        return (self._seen - self._at_first) / spent if spent >= _ENOUGH else None
