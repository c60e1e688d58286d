"""A trained network as a self-describing, proven ONNX file, in float32 and int8.

Nothing is loaded here: ``metadata``, ``graph``, ``golden``, ``quantize`` and ``verify`` work without torch, only
``torch_onnx``, ``parity`` and ``exporter`` need it.
"""
