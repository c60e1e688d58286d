import os
import unicodedata

import pytest

from edgexfer.data.names import (
    class_name,
    listing,
    mirrors_keep_class,
    natural_key,
    refuse_look_alikes,
)
from edgexfer.errors import DataError
from edgexfer.files import printable


def test_natural_order() -> None:
    names = ["10", "2", "b", "a10", "a9", "B2", "1", "Äpfel", "01"]
    assert sorted(names, key=natural_key) == ["01", "1", "2", "10", "a9", "a10", "b", "B2", "Äpfel"]


def test_natural_order_is_total_for_odd_digits() -> None:
    assert sorted(["x²", "x2", "x१०", "x9", ""], key=natural_key) == ["", "x2", "x9", "x१०", "x²"]


def test_class_name_is_composed_and_stripped() -> None:
    assert class_name(unicodedata.normalize("NFD", "Äpfel ")) == "Äpfel"


def test_class_name_that_is_not_utf8_names_the_remedy() -> None:
    with pytest.raises(DataError, match=r"not UTF-8; rename it"):
        class_name(os.fsdecode(b"caf\xe9"))


@pytest.mark.parametrize(
    "pair",
    [("Cat", "cat"), ("Straße", "STRASSE"), ("é", "e\u0301"), ("dog", "dog ")],
    ids=["case", "sz", "nfc", "space"],
)
def test_look_alikes_are_refused_and_named(pair: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="differ only in case, Unicode form or spaces") as caught:
        refuse_look_alikes([*pair, "other"], "'photos'")
    assert ascii(pair[0]) in str(caught.value) and "other" not in str(caught.value)


def test_different_names_pass() -> None:
    refuse_look_alikes(["cat", "cats", "kat"], "'photos'")


@pytest.mark.parametrize(
    ("classes", "mirrors"),
    [
        (["0", "1", "10"], False),
        (["a", "b", "ß"], False),
        (["turn_left", "turn_right"], False),
        (["Left", "other"], False),
        (["cat", "dog"], True),
        (["bright", "leftover"], True),
    ],
)
def test_mirrors_by_name(classes: list[str], mirrors: bool) -> None:
    assert mirrors_keep_class(classes) is mirrors


def test_printable_and_listing() -> None:
    assert printable(os.fsdecode(b"a\xff.png")) == "a\\xff.png"
    printable(os.fsdecode(b"\xff")).encode("utf-8")
    assert listing(["a", "b"]) == "'a', 'b'"
    assert listing(list("abcd"), 2) == "'a', 'b' and 2 more"
