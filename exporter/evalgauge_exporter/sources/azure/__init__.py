"""Azure: virtual machines, machine-learning jobs and retail prices."""
