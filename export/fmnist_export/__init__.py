"""Export: PyTorch to ONNX to int8, and the proof that they agree (needs the extra ``export``)."""
