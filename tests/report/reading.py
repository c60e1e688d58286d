"""Reads a page as a browser would, and looks its numbers up in the files where they say they stand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgexfer.runs import read_lines


@dataclass
class Page(HTMLParser):
    """What a browser would see: elements with their attributes, numbers with their text, and all text."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    numbers: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""
    cells: list[tuple[str, bool]] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _is_facts: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.tags.append((tag, found))
        self._open.append(tag)
        if tag == "table":
            self._is_facts = "facts" in found.get("class", "")
        if tag == "td":
            self.cells.append(("", found.get("class") == "w" and not self._is_facts))
        if tag == "data":
            if "td" in self._open:
                self.cells[-1] = (self.cells[-1][0], True)
            self.numbers.append((found["value"], found["data-from"], ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open[-1:]):
            self.text += data
        if "td" in self._open:
            self.cells[-1] = (self.cells[-1][0] + data, self.cells[-1][1])
        if self._open[-1:] == ["data"]:
            value, origin, text = self.numbers[-1]
            self.numbers[-1] = (value, origin, text + data)


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


class Files:
    """Looks up where a number says it stands; written apart from the page's own code."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def number(self, origin: str) -> float:
        for sign, join in (("÷", lambda a, b: a / b), ("−", lambda a, b: a - b)):
            first, found, second = origin.partition(f" {sign} ")
            if found:
                return float(join(self.number(first), self.number(second)))
        place, _, derived = origin.partition(" | ")
        file, _, pointer = place.partition("#")
        if derived == "bytes":
            return (self.root / file).stat().st_size
        value = self._predicted(file, pointer, derived) if "predictions" in file else self._at(file, pointer)
        return float(value if "predictions" in file or not derived else _derive(value, derived))

    def _at(self, file: str, pointer: str) -> Any:
        value = _content(self.root / file)
        for key in pointer.removeprefix("metadata").split("/")[1:]:
            value = value[int(key)] if isinstance(value, list) else value[key]
        return value

    def _predicted(self, file: str, pointer: str, derived: str) -> float:
        lines = [line for line in _content(self.root / file) if line["split"] == pointer.strip("/")]
        truth = np.array([line["label"] for line in lines])
        logits = np.array([line["logits"] for line in lines])
        given = logits.argmax(axis=1)
        what, *where = derived.split()
        at = [int(w) for w in where if w.isdigit()]
        if what == "top1":
            return float(np.mean(truth == given))
        if what == "images":
            return float(np.sum(truth == at[0]))
        if what == "recall":
            return float(np.mean(given[truth == at[0]] == at[0]))
        if what == "precision":
            return float(np.mean(truth[given == at[0]] == at[0]))
        if what == "confused":
            return float(np.sum((truth == at[0]) & (given == at[1])))
        every = np.exp(logits - logits.max(axis=1, keepdims=True))
        surest = (every / every.sum(axis=1, keepdims=True)).max(axis=1)
        if what == "count":
            return float(len(lines))
        if what == "confidence":
            return float(np.mean(surest))
        if what == "ece":
            gaps = [
                abs(float(np.sum((truth == given)[mine]) - np.sum(surest[mine])))
                for low in range(15)
                if (mine := (surest > low / 15) & (surest <= (low + 1) / 15)).any()
            ]
            return float(np.sum(gaps) / len(lines))
        if what == "interval":
            mine = (surest > int(where[0]) / 15) & (surest <= (int(where[0]) + 1) / 15)
            right, sure = (truth == given)[mine], surest[mine]
            ways = {"count": len, "confidence": np.mean, "accuracy": lambda _: np.mean(right)}
            ways["gap"] = lambda v: np.mean(right) - np.mean(v)
            return float(ways[where[1]](sure))
        assert what == "probability"
        row = np.exp(logits[at[0]] - logits[at[0]].max())
        return float(row[at[1]] / row.sum())


@cache
def _content(path: Path) -> Any:
    if path.suffix == ".onnx":
        props = onnx.load(str(path)).metadata_props
        return json.loads(next(p.value for p in props if p.key == "edgexfer"))
    return read_lines(path) if path.suffix == ".jsonl" else json.loads(path.read_text())


def _derive(values: list[Any], how: str) -> float:
    what, *words = how.split()
    if words[:1] == ["of"]:
        layer = how.partition(" of ")[2]
        return float(sum(v[what] for v in values if (v["layer"] or v["name"]) == layer))
    if what.startswith("p"):
        first, last = map(int, words or (0, len(values)))
        return float(np.percentile(values[first:last], int(what[1:])))
    if what == "rate":
        return float(int(words[0]) / np.mean(values))
    ways = {"mean": np.mean, "min": min, "max": max, "count": len}
    return float(ways[what](values))
