"""Where pictures come from: digits, folders and torchvision's sets; their splits; decoded pixels; batches."""

from edgexfer.data.assign import check_fractions
from edgexfer.data.augment import AUGMENTS
from edgexfer.data.decode import SUFFIXES, UnusableImageError, read_picture
from edgexfer.data.live import LiveStore, Room, room_for
from edgexfer.data.loader import Batch, Loader, Views
from edgexfer.data.names import natural_key
from edgexfer.data.prepare import prepare_image, upright_rgb
from edgexfer.data.sources import load_labelled, load_splits, map_labels
from edgexfer.data.store import PackedStore, PixelStore, build_store, eval_pixels, share_store
from edgexfer.data.unlabelled import UNLABELLED, with_unlabelled
from edgexfer.data.views import Splits, View

__all__ = [
    "AUGMENTS",
    "SUFFIXES",
    "Room",
    "UNLABELLED",
    "Batch",
    "LiveStore",
    "Loader",
    "PackedStore",
    "PixelStore",
    "Splits",
    "UnusableImageError",
    "View",
    "Views",
    "build_store",
    "check_fractions",
    "eval_pixels",
    "load_labelled",
    "load_splits",
    "map_labels",
    "natural_key",
    "prepare_image",
    "read_picture",
    "room_for",
    "share_store",
    "upright_rgb",
    "with_unlabelled",
]
