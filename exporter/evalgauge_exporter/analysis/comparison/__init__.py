"""The paired comparison of two runs and the statistics behind it."""
