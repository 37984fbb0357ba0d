"""``fmnist-bench``: how long one answer takes on this machine, measured so that noise hits all contestants alike."""
