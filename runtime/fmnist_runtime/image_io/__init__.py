"""Reading of image files from any source within limits of time and memory."""
