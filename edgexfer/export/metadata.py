"""What an artifact says about itself: one metadata key, ``edgexfer``, that holds JSON.

Only deterministic facts are inside, so that the same run always exports to the same bytes; timings go beside the
artifact into ``<stem>.proof.json``. Reading it needs neither torch nor a runtime.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexfer.errors import FormatError
from edgexfer.files import FORMAT, check_format
from edgexfer.fold import Kept
from edgexfer.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnx

KEY = "edgexfer"
PRECISIONS = ("float32", "int8")
INPUTS = {"uint8": "image", "float": "input"}
TARGETS = ("x86", "arm64")


@dataclass(frozen=True)
class Proof:
    """The figures that the artifact was written on.

    Attributes:
        fold_max_rel_error_f64: Largest relative error of folding in float64, ``None`` when nothing was folded.
        max_abs_error: Largest difference of a logit: float32 against PyTorch on the real images (without any, on the
            golden samples), int8 against the float32 artifact on both.
        top1_agreement: Fraction of pictures on which both name the same class.
        images: Real pictures compared; 0 when there were only the golden samples.
    """

    fold_max_rel_error_f64: float | None
    max_abs_error: float
    top1_agreement: float
    images: int


@dataclass(frozen=True)
class Golden:
    """The expected answers on samples that any machine can make for itself.

    Attributes:
        seed: Seed of the PCG64 generator.
        logits: The artifact's own answers, ``(samples, K)``.
        tolerance: Largest allowed difference of a logit, absolute.
    """

    seed: int
    logits: tuple[tuple[float, ...], ...]
    tolerance: float


@dataclass(frozen=True)
class Cut:
    """How the data of the run was cut into training, validation and test pictures; see ``edgexfer.data.load_splits``.

    Attributes:
        val_split: Share held out for validation, where no folder said so.
        test_split: Share held out for the test, where no folder said so.
        group_by: Regular expression on file names; files with the same match stayed on one side.
        seed: Of the draw.
        fingerprint: SHA-256 over the classes, the pictures' content and their split.
    """

    val_split: float
    test_split: float
    group_by: str | None
    seed: int
    fingerprint: str

    @property
    def rules(self) -> dict[str, Any]:
        """What decided the cut, by the names that ``load_splits`` knows."""
        return {key: value for key, value in asdict(self).items() if key != "fingerprint"}


@dataclass(frozen=True)
class ArtifactInfo:
    """The ``edgexfer`` metadata of an artifact.

    Attributes:
        classes: Class names in the order of the outputs.
        preprocessing: What happens to a picture, inside the graph or (for ``input="float"``) before it.
        model: The network's name.
        parent_sha256: SHA-256 of the weight file, or for int8 of the float32 artifact.
        precision: One of ``PRECISIONS``.
        input: ``"uint8"`` or ``"float"``.
        batchnorm_folded: How many BatchNorms were folded away.
        batchnorm_kept: Those that were not.
        proof: The figures of the proof.
        golden: Expected answers.
        target: For int8, the kind of processor it was quantized for (one of ``TARGETS``), else ``None``.
        cut: How the data of its run was cut; ``None`` where it did not come from one.
        digest: SHA-256 over every tensor, the graph and this metadata, itself excluded.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    model: str
    parent_sha256: str
    precision: str
    input: str
    batchnorm_folded: int
    batchnorm_kept: tuple[Kept, ...]
    proof: Proof
    golden: Golden
    target: str | None = None
    cut: Cut | None = None
    digest: str = ""

    def with_digest(self, digest: str) -> ArtifactInfo:
        """The same value with its digest filled in."""
        return replace(self, digest=digest)

    @property
    def input_name(self) -> str:
        """The name of the graph's input: ``image`` or ``input``."""
        return INPUTS[self.input]

    def to_dict(self) -> dict[str, Any]:
        """The value as the artifact holds it."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.to_dict(),
            "model": self.model,
            "parent_sha256": self.parent_sha256,
            "precision": self.precision,
            "input": self.input,
            "batchnorm": {
                "folded": self.batchnorm_folded,
                "kept": [{"name": k.name, "reason": k.reason} for k in self.batchnorm_kept],
            },
            "proof": {
                "fold_max_rel_error_f64": self.proof.fold_max_rel_error_f64,
                "max_abs_error": self.proof.max_abs_error,
                "top1_agreement": self.proof.top1_agreement,
                "images": self.proof.images,
            },
            "golden": {
                "seed": self.golden.seed,
                "logits": [list(row) for row in self.golden.logits],
                "tolerance": self.golden.tolerance,
            },
            "digest": self.digest,
        }
        if self.target is not None:
            value["target"] = self.target
        if self.cut is not None:
            value["cut"] = asdict(self.cut)
        return value

    def to_json(self) -> str:
        """The value as one line of JSON with sorted keys; NaN and infinities are refused."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, where: str) -> ArtifactInfo:
        """Reads what ``to_json`` wrote.

        Args:
            text: The JSON.
            where: The file it came from, for messages.

        Raises:
            FormatError: It is damaged, incomplete, or of a newer format.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"the metadata of {where!r} is not valid JSON ({error}); export it anew") from error
        if not isinstance(value, dict):
            raise FormatError(f"the metadata of {where!r} holds {type(value).__name__} where an object is expected")
        check_format(value, "artifact", where)
        try:
            return _from_dict(value)
        except (KeyError, TypeError, ValueError, OverflowError, FormatError) as error:
            raise FormatError(
                f"the metadata of {where!r} is incomplete or malformed: {error}; export the model anew"
            ) from error


def read_info(path: Path) -> ArtifactInfo:
    """Reads the metadata of an artifact.

    Raises:
        FormatError: The file cannot be read, is not ONNX, or is not an artifact of edgexfer.
    """
    info = find_info(path)
    if info is None:
        raise FormatError(
            f"{str(path)!r} is an ONNX file but not an artifact of edgexfer: it carries no {KEY!r} metadata"
            " (class names, preprocessing); make one with edgexfer export"
        )
    return info


def find_info(path: Path) -> ArtifactInfo | None:
    """Reads the metadata of an ONNX file; ``None`` for one that some other program wrote.

    Raises:
        FormatError: The file cannot be read, is not ONNX, or its metadata is damaged.
    """
    from edgexfer.export.graph import load_model

    return info_of(load_model(path), str(path))


def info_of(model: onnx.ModelProto, where: str) -> ArtifactInfo | None:
    """The metadata of a loaded model, or ``None``.

    Raises:
        FormatError: It is there, but damaged.
    """
    found = [p.value for p in model.metadata_props if p.key == KEY]
    if len(found) > 1:
        raise FormatError(f"{where!r} carries the {KEY!r} metadata {len(found)} times; export the model anew")
    return ArtifactInfo.from_json(found[0], where) if found else None


def _from_dict(value: Mapping[str, Any]) -> ArtifactInfo:
    proof, golden, batchnorm = value["proof"], value["golden"], value["batchnorm"]
    fold_error = proof["fold_max_rel_error_f64"]
    target, cut = value.get("target"), value.get("cut")
    info = ArtifactInfo(
        classes=_classes(value["classes"]),
        preprocessing=Preprocessing.from_dict(value["preprocessing"]),
        model=str(value["model"]),
        parent_sha256=str(value["parent_sha256"]),
        precision=_one_of("precision", value["precision"], PRECISIONS),
        input=_one_of("input", value["input"], tuple(INPUTS)),
        batchnorm_folded=int(batchnorm["folded"]),
        batchnorm_kept=tuple(Kept(str(k["name"]), str(k["reason"])) for k in batchnorm["kept"]),
        proof=Proof(
            None if fold_error is None else _finite("fold_max_rel_error_f64", fold_error),
            _finite("max_abs_error", proof["max_abs_error"]),
            _finite("top1_agreement", proof["top1_agreement"]),
            int(proof["images"]),
        ),
        golden=Golden(
            int(golden["seed"]),
            tuple(tuple(_finite("golden logit", v) for v in row) for row in golden["logits"]),
            _finite("tolerance", golden["tolerance"]),
        ),
        target=None if target is None else _one_of("target", target, TARGETS),
        cut=None if cut is None else _cut(cut),
        digest=str(value["digest"]),
    )
    if info.golden.seed < 0:
        raise ValueError(f"golden seed is {info.golden.seed}")
    wrong = {len(row) for row in info.golden.logits} - {len(info.classes)}
    if wrong or not info.golden.logits:
        raise ValueError(f"golden logits of {sorted(wrong)} values for {len(info.classes)} classes")
    return info


def _cut(value: Mapping[str, Any]) -> Cut:
    pattern = value["group_by"]
    return Cut(
        val_split=_finite("val_split", value["val_split"]),
        test_split=_finite("test_split", value["test_split"]),
        group_by=None if pattern is None else str(pattern),
        seed=int(value["seed"]),
        fingerprint=str(value["fingerprint"]),
    )


def _classes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(c, str) for c in value):
        raise ValueError(f"classes is {value!r}; expected a list of names")
    return tuple(value)


def _one_of(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{key} is {value!r}; allowed: {', '.join(allowed)}")
    return value


def _finite(key: str, value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{key} is {value!r}; expected a finite number")
    return number
