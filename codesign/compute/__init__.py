"""The arithmetic of training, defined in software bit for bit: what PyTorch and the hardware are both compared with.

- `formats`: FP16 and BF16 storage. `order`: in which order the accelerator adds products up. Both are normative.
- `reference`: every operation in numpy, slow and obvious.
- `gemm`, `conv`, `pack_kernels`, `sore_kernels`, `update_kernels`, `half_kernels`: the same operations compiled.
- `bounds`: how far a floating-point result may be from the exact one.
"""
