"""Model files: lookup, integrity checks, metadata and onnxruntime sessions."""
