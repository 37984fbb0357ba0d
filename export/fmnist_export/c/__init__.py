"""Plain C99 from an int8 model: the same logits as onnxruntime, to the bit, without an operating system."""
