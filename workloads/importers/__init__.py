"""Workloads from files: YAML, SCALE-Sim topology CSV and ONNX."""
