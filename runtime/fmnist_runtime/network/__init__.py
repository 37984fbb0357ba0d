"""Int8 networks as lists of typed layers, read from ONNX files without the ``onnx`` package."""
