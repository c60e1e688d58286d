"""Transfer learning: a network, pretrained or not, is fitted to the user's own classes."""

from edgexfer.transfer.strategies import transfer
from edgexfer.transfer.strategy import AUTO, STRATEGIES, Strategy

__all__ = ["AUTO", "STRATEGIES", "Strategy", "transfer"]
