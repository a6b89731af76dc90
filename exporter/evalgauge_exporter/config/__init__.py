"""The configuration file, environment variables and durations."""
