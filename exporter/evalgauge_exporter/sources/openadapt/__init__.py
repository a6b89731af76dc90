"""Runs that OpenAdapt wrote, of every release."""
