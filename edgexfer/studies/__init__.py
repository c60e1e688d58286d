"""Studies: what batch normalization, transfer learning and distillation do, measured on digits or any pictures.

Each study is one module with ``STUDY``: how one seed is measured, what is expected of the numbers and whether it
appeared, and how that is drawn and told. It is built from the library's public functions and holds no mechanism of its
own. ``catalogue`` names them all without loading any.
"""
