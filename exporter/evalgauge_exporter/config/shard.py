"""The part of the runs that one of several exporters of the same folders exposes."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of ``total`` exporters, counted from 0 as kube-state-metrics does."""

    index: int
    total: int

    def owns(self, run_id: str) -> bool:
        """Return whether a run belongs to this shard: the CRC-32 of its id modulo ``total`` is ``index``."""
        return zlib.crc32(run_id.encode("utf-8", "replace")) % self.total == self.index


WHOLE = Shard(0, 1)
"""The only exporter."""


def parse_shard(text: str) -> Shard:
    """Return the shard of a text ``K/N``.

    Raises:
        ValueError: It is no shard.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if found is None or not 0 <= int(found[1]) < int(found[2]):
        raise ValueError(f"{text!r} is no shard; write it as K/N with K from 0 to N - 1, such as 0/4 of four exporters")
    return Shard(int(found[1]), int(found[2]))
