"""From any photo to the network's 28×28 input: find the garment, remove the person, crop, tone and resize."""
