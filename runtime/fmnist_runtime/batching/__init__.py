"""Classification of many images: threads, worker processes, and machines through Ray."""
