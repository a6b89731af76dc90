"""The state: a pure fold of the events of a run and of the fleet."""
