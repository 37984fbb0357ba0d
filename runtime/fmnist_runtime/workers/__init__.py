"""Classification in worker processes, on this machine or on many."""
