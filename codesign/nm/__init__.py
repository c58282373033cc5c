"""The N:M format, defined here once for the whole project.

- `codesign.nm.format`: the normative text, the ratio `NM` and its sizes. Plain Python, cheap to import.
- `codesign.nm.reference`: mask, prune, pack and unpack in numpy, slow and obvious. Every faster realisation
  (compiled, on a GPU, in hardware) must agree with it bit for bit.
"""
