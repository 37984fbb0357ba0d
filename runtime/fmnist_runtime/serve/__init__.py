"""The service ``fmnist-serve``: the classifier over HTTP. Needs the extra ``serve``; ``app`` says how it fits together."""
