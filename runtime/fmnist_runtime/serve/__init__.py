"""The service ``fmnist-serve``: the classifier over HTTP; needs the extra ``serve``. ``app`` documents its structure."""
