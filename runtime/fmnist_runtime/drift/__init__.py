"""The command ``fmnist-drift``: tests whether the answers of one or several devices have changed beyond chance."""
