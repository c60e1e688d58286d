"""The errors that edgexfer raises on purpose.

Every one of them is meant for the person at the keyboard: the message says what was found, what is allowed, and
what to do next, in one line. The command line prints it and exits with 1; everything else is a bug and keeps its
traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class EdgexferError(Exception):
    """Base of every error that edgexfer raises on purpose."""


class UnknownNameError(EdgexferError):
    """A name that no registry entry answers to."""


class RecipeError(EdgexferError):
    """One or several mistakes in the options or the recipe file of a command."""

    @classmethod
    def gathered(cls, mistakes: Iterable[str]) -> RecipeError:
        """One error that lists every mistake, so that a recipe is mended in one go."""
        return cls("; ".join(mistakes))


class DataError(EdgexferError):
    """Images, class folders or splits that cannot be used as they are."""


class NetworkError(EdgexferError):
    """A network that cannot be built, or not at this input size."""


class WeightsError(EdgexferError):
    """A weight file that cannot be read, or does not fit the network."""


class TeacherError(EdgexferError):
    """A teacher that has nothing to teach, or does not fit the data."""


class TrainingError(EdgexferError):
    """A training that cannot start or cannot go on."""


class FormatError(EdgexferError):
    """A file of ours that is damaged, incomplete, or newer than this version reads."""


class FoldError(EdgexferError):
    """BatchNorm folding whose proof failed, or that was asked of a network it cannot read."""


class ExportError(EdgexferError):
    """An ONNX artifact that cannot be written, or whose parity check failed."""


class QuantizationError(EdgexferError):
    """An int8 artifact that cannot be made."""


class DeviceError(EdgexferError):
    """A device, bundle or benchmark that cannot run, or gives wrong answers."""


class WouldOverwriteError(EdgexferError):
    """A target that exists already, without ``--force``."""
