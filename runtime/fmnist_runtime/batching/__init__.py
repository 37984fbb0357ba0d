"""Classification of many images in threads, in their order."""
