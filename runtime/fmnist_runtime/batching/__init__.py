"""Classification of many images in threads; the results are in the order of the images."""
