"""Whole numbers as the scripts' command lines take them. Standard library only."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """A number from 1 up."""
    return _from(1, text)


def whole(text: str) -> int:
    """A number from 0 up."""
    return _from(0, text)


def _from(least: int, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} up")
    return int(text)
