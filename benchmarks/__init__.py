"""Ratios: what evalgauge does, measured beside its floor or its peer in one run."""
