"""Trajectories of SWE-agent and mini-swe-agent, and the verdicts of the SWE-bench harness on them."""
