"""Published figures that stand beside the studies' own: Tan and Le, "EfficientNet", ICML 2019, table 5."""

from __future__ import annotations

SETS = {
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "Birdsnap": "birdsnap",
    "Stanford Cars": "stanford-cars",
    "Flowers": "flowers102",
    "FGVC Aircraft": "fgvc-aircraft",
    "Oxford-IIIT Pets": "oxford-iiit-pet",
    "Food-101": "food101",
}
"""The table's sets, with the names that they have here; Birdsnap is a folder of class folders."""

EFFICIENTNET = {
    "CIFAR-10": ("NASNet-A", "98.0", "85M", "B0", "98.1, 4M (21x)", "GPipe", "99.0", "556M", "B7", "98.9, 64M (8.7x)"),
    "CIFAR-100": ("NASNet-A", "87.5", "85M", "B0", "88.1, 4M (21x)", "GPipe", "91.3", "556M", "B7", "91.7, 64M (8.7x)"),
    "Birdsnap": (
        "Inception-v4", "81.8", "41M", "B5", "82.0, 28M (1.5x)", "GPipe", "83.6", "556M", "B7", "84.3, 64M (8.7x)"),
    "Stanford Cars": (
        "Inception-v4", "93.4", "41M", "B3", "93.6, 10M (4.1x)", "DAT", "94.8", "-", "B7", "94.7, -"),
    "Flowers": ("Inception-v4", "98.5", "41M", "B5", "98.5, 28M (1.5x)", "DAT", "97.7", "-", "B7", "98.8, -"),
    "FGVC Aircraft": (
        "Inception-v4", "90.9", "41M", "B3", "90.7, 10M (4.1x)", "DAT", "92.9", "-", "B7", "92.9, -"),
    "Oxford-IIIT Pets": (
        "ResNet-152", "94.5", "58M", "B4", "94.8, 17M (5.6x)", "GPipe", "95.9", "556M", "B6", "95.4, 41M (14x)"),
    "Food-101": (
        "Inception-v4", "90.8", "41M", "B4", "91.5, 17M (2.4x)", "GPipe", "93.0", "556M", "B7", "93.0, 64M (8.7x)"),
}  # fmt: skip
"""Best public model, its accuracy in percent and parameters, the EfficientNet; the same of the best reported model."""
GEOMETRIC_MEANS = ("(4.7x)", "(9.6x)")
