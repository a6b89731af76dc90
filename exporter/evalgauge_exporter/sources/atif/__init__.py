"""ATIF trajectories, as Harbor and others write them."""
