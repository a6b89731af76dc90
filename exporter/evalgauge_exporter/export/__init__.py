"""File exports of a run: tables, ATIF trajectories and run logs."""
