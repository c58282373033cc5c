"""codesign: N:M sparse DNN training, from the algorithm to the accelerator."""

__version__ = "0.1.0"
