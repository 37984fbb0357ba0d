"""The command ``fmnist-drift``: have the answers of a fleet changed, or is it chance?"""
