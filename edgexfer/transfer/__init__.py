"""Transfer learning: a network, pretrained or not, is fitted to the user's own classes."""

from edgexfer.transfer.finetune import finetune

__all__ = ["finetune"]
