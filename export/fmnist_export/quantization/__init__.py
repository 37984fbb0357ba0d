"""Float ONNX to int8 ONNX: ranges, rounding, fallbacks and fine-tuning."""
