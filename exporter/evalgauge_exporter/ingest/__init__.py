"""Everything that keeps the state current: the run collector, the file watcher, the run cache and the fleet pollers."""
