"""Which names of a run (of actions, models, domains, workers) metrics expose by themselves.

Names are free text, so their number is limited, and the rest is summed as ``other``. A counter must never fall, so what
is in ``other`` must not depend on the order in which logs are read: the first names by their first appearance, and by
name where that is equal, are exposed. A name that was exposed once stays so, also after a restart (the run cache
remembers it): an event that is read late may have an earlier time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

Name = str | tuple[str, ...]


class ExposedNames:
    """The names of one kind in a run.

    Args:
        most_tracked: The most names that are told apart at all.
    """

    def __init__(self, most_tracked: int) -> None:
        self.first_seen: dict[Name, float] = {}
        """Unix seconds of the first event with each name."""
        self.chosen: dict[Name, None] = {}
        """The names that were exposed so far, in order."""
        self._most_tracked = most_tracked

    def see(self, name: Name, ts: float) -> bool:
        """Note that an event has this name; return False where there are too many names to tell it apart."""
        first = self.first_seen.get(name)
        if first is None:
            if len(self.first_seen) >= self._most_tracked and name not in self.chosen:
                return False
            self.first_seen[name] = ts
        elif ts < first:
            self.first_seen[name] = ts
        return True

    def choose(self, most: int) -> Collection[Name]:
        """Return the names that are exposed by themselves, ``most`` at most. Call it once everything was read."""
        if len(self.chosen) < most and len(self.chosen) < len(self.first_seen):
            fresh = sorted((ts, name) for name, ts in self.first_seen.items() if name not in self.chosen)
            self.chosen.update(dict.fromkeys(name for _, name in fresh[: most - len(self.chosen)]))
        return self.chosen.keys()

    def overflows(self) -> bool:
        """Return whether there are names that are not exposed."""
        return len(self.first_seen) > len(self.chosen)

    def copy(self) -> ExposedNames:
        """Return a copy."""
        copied = ExposedNames(self._most_tracked)
        copied.first_seen, copied.chosen = dict(self.first_seen), dict(self.chosen)
        return copied

    def adopt(self, chosen: Iterable[Name]) -> None:
        """Expose the names that were exposed before."""
        self.chosen = dict.fromkeys(chosen)
