"""Quantizes float ONNX models to int8."""
