"""Names of classes: their natural order, which of them look the same, and whether mirroring keeps them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from edgexfer.errors import DataError
from edgexfer.files import printable

_DIGITS = re.compile(r"(\d+)")
_SIDES = re.compile(r"(?:^|[\W_])(?:left|right)(?:$|[\W_])", re.IGNORECASE)


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sorts ``"2"`` before ``"10"`` and ``"apple"`` beside ``"Apple"``."""
    pieces = _DIGITS.split(name.casefold())
    return tuple(int(piece) if i % 2 else piece for i, piece in enumerate(pieces)), name


def class_name(folder: str) -> str:
    """The class that a folder stands for: its name, composed (NFC), without spaces around it.

    Raises:
        DataError: The name is not valid Unicode, so that no file of ours could hold it.
    """
    try:
        folder.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"the class folder {printable(folder)!r} has a name that is not UTF-8; rename it, for example with convmv"
        ) from None
    return unicodedata.normalize("NFC", folder).strip()


def look_alike_key(name: str) -> str:
    """Equal for names that differ only in case, Unicode form, or spaces around them."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def refuse_look_alikes(names: Iterable[str], where: str) -> None:
    """Refuses class names that a reader, or another file system, cannot tell apart.

    Raises:
        DataError: Two names differ only in case, Unicode form, or spaces around them; all such are listed.
    """
    seen: dict[str, list[str]] = {}
    for name in names:
        seen.setdefault(look_alike_key(name), []).append(name)
    doubles = [" and ".join(ascii(n) for n in group) for group in seen.values() if len(group) > 1]
    if doubles:
        raise DataError(
            f"{where} has class folders that differ only in case, Unicode form or spaces: {'; '.join(doubles)};"
            " merge or rename them"
        )


def mirrors_keep_class(classes: Sequence[str]) -> bool:
    """Whether a mirrored picture keeps its class, judged by the names alone.

    False for characters (``"0" ... "9"``, ``"a"``) and where a name says left or right.
    """
    characters = all(len(name) == 1 or name.isdecimal() for name in classes)
    return not characters and not any(_SIDES.search(name) for name in classes)


def listing(names: Sequence[str], limit: int = 10) -> str:
    """``'a', 'b' and 7 more``."""
    shown = ", ".join(repr(n) for n in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
