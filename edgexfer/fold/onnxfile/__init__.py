"""BatchNorm folding in any ONNX file, whichever tool wrote it: read, plan, rewrite, prove. Needs no torch.

``source`` reads a file with suspicion, ``view`` says who feeds whom, ``plan`` what melts into what and why not,
``rewrite`` carries a plan out in any precision, ``float64`` computes a graph in float64 without a runtime, ``proof``
compares, and ``folding`` is all of it in one call.
"""
