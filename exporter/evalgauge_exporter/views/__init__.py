"""Views of the state: Prometheus exposition, JSON snapshots and fleet tables."""
