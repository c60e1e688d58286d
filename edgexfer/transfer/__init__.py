"""Transfer learning: a network, pretrained or not, is fitted to the user's own classes."""

from edgexfer.transfer.finetune import finetune
from edgexfer.transfer.strategies import AUTO, STRATEGIES, Strategy, transfer

__all__ = ["AUTO", "STRATEGIES", "Strategy", "finetune", "transfer"]
