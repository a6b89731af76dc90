"""Logs of Inspect AI (``.eval`` archives)."""
