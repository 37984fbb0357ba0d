"""The command ``fmnist-drift``: tests whether the answers of a fleet have changed beyond chance."""
