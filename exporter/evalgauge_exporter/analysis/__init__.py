"""Numbers computed from the state: ETA, costs, machine usage, comparisons."""
