"""A teacher's probabilities become targets for its student (Xie et al. 2020, arXiv:1911.04252, §3).

The order is fixed: images that look foreign (`foreign.py`), confidence threshold, distribution
alignment over all that is kept, most confident share of each predicted class, temperature, soft or
hard, balance of the classes.
Confidence is the largest probability before any sharpening; alignment (Berthelot et al. 2020,
arXiv:1911.09785) changes it, and which class is predicted, for the steps after it.

The file `data/pseudo_labels/<generation>.safetensors` holds, for M kept images,
`index` int64 (M,) into the unlabelled split (repeats allowed), `probs` float16 (M, K),
`label` int64 (M,) the top class (after alignment), `weight` float32 (M,); and as metadata `kind`
(soft or hard), the hashes of the teacher and of the unlabelled split, the ordered classes, the
rule, the images that went through the teacher, its confidence on val and on the unlabelled images,
what the filter of foreign images did, the schema.

Of a segmentation every pixel is labelled by the same rule, as an image would be: `share` of each
predicted class is of its pixels in all images, which keeps small classes in (Zou et al. 2018,
arXiv:1810.07911). `probs` is (M, K, H, W), 0 throughout where a pixel is not kept, and `label`
uint8 (M, H, W), 255 there; images of which no pixel is kept are left out.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import safe_open as open_tensors
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data.kinds import UNKNOWN
from pipeline.labelling.rule import Labels

SCHEMA = 3  # 2: `kind`, `images_seen`; 3: `confidence`, `foreign`
PIECE = 1 << 15  # probabilities at a time: few enough for a core's own cache
LOST = (1 << 29) - 1  # the bits of a float64 that a float32 has no room for


@dataclass(frozen=True)
class PseudoLabels:
    """Targets for M images (the arrays of the file).

    Attributes:
        kind: `soft` probabilities, or `hard`: the top class, for which label smoothing is.
    """

    index: np.ndarray
    probs: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    kind: str

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {name: value for name, value in vars(self).items() if name != "kind"}

    def num_by_class(self, num_classes: int) -> np.ndarray:
        """Targets of each class, (K,): images, or the pixels that are kept."""
        given = self.label[self.label != UNKNOWN] if self.label.ndim > 1 else self.label
        return np.bincount(given, minlength=num_classes)

    def digest(self) -> str:
        """The hash that stands for all of it."""
        return _digest(self.arrays, {"kind": self.kind})


def make(
    probs: np.ndarray,
    rule: Labels,
    rngs: Sequence[np.random.Generator],
    passes: np.ndarray | None = None,
    unit: str = "image",
) -> PseudoLabels:
    """Filter, balance and sharpen.

    Args:
        probs: float64 (N, K), the teacher's probabilities at temperature 1, a row per image.
        rule: threshold, align, share, temperature, kind, balance.
        rngs: a generator for each class: which of its images a small class repeats. One for each,
            so that the order of the classes does not matter.
        passes: the images that the filter of foreign ones lets through, bool (N,); None = all.
        unit: what a row is, for messages.

    Returns:
        the rows by class, most confident first, repeats behind.

    Raises:
        UserError: nothing is left.
    """
    confidence, label = _answers(probs)
    passes = np.ones(len(probs), dtype=bool) if passes is None else passes
    kept = passes & (confidence >= rule.threshold)
    if not kept.any():
        raise _nothing_left(confidence[passes], rule.threshold, unit)
    if rule.align == "uniform":
        probs = probs.copy()
        probs[kept] = align(probs[kept], np.full(probs.shape[1], 1 / probs.shape[1]))
        confidence, label = _answers(probs)
    rows = _by_class(confidence, label, kept, rule.share, probs.shape[1])
    index = np.concatenate(_balanced(rows, rule.balance, rngs))
    return PseudoLabels(
        index=index,
        probs=_targets(probs, index, rule),
        label=label[index],
        weight=np.ones(len(index), dtype=np.float32),
        kind=rule.kind,
    )


def make_dense(probs: np.ndarray, rule: Labels) -> PseudoLabels:
    """`make` for each pixel of images.

    Args:
        probs: float64 (N, K, H, W), the teacher's probabilities at temperature 1.
        rule: whose `balance` is `none`.

    Raises:
        UserError: nothing is left.
    """
    num, size, *places = probs.shape
    made = make(np.moveaxis(probs, 1, -1).reshape(-1, size), rule, [], unit="pixel")
    targets = np.zeros((num * int(np.prod(places)), size), dtype=np.float16)
    label = np.full(len(targets), UNKNOWN, dtype=np.uint8)
    targets[made.index], label[made.index] = made.probs, made.label
    label = label.reshape(num, *places)
    index = np.flatnonzero((label != UNKNOWN).reshape(num, -1).any(1))
    targets = np.moveaxis(targets.reshape(num, *places, size), -1, 1)
    return PseudoLabels(
        index=index,
        probs=np.ascontiguousarray(targets[index]),
        label=label[index],
        weight=np.ones(len(index), dtype=np.float32),
        kind=rule.kind,
    )


def _answers(probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the largest probability and its class, both (N,); the large array is read once, a
    piece at a time."""
    confidence, label = np.empty(len(probs)), np.empty(len(probs), dtype=np.int64)
    for rows in _pieces(len(probs), probs.shape[1]):
        piece = probs[rows]
        confidence[rows], label[rows] = piece.max(1), piece.argmax(1)
    return confidence, label


def _pieces(num_rows: int, num_columns: int) -> Iterator[slice]:
    step = max(1, PIECE // num_columns)
    return (slice(start, start + step) for start in range(0, num_rows, step))


def align(probs: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """q = p * prior / mean p, normalised for each image.

    The mean of q is nearer to the prior than that of p, not equal to it; where the mean is the
    prior already, nothing changes.

    Args:
        probs: (N, K), rows that sum to 1, N at least 1.
        prior: class shares (K,).
    """
    mean = probs.mean(0)
    ratio = np.divide(prior, mean, out=np.zeros_like(mean), where=mean > 0)
    aligned = probs * ratio
    return aligned / aligned.sum(1, keepdims=True)


def _by_class(
    confidence: np.ndarray, label: np.ndarray, kept: np.ndarray, share: float, num_classes: int
) -> list[np.ndarray]:
    """For each predicted class the rows kept, most confident first (of equals the earlier)."""
    order = np.argsort(-confidence, kind="stable")
    order = order[kept[order]]
    label = label[order]
    order = order[np.argsort(label, kind="stable")]
    rows = np.split(order, np.bincount(label, minlength=num_classes).cumsum()[:-1])
    # rounded first: 0.07 * 100 is 7.000000000000001, which is no eighth row
    return [r[: int(np.ceil(round(share * len(r), 9)))] for r in rows]


def _balanced(
    rows: list[np.ndarray], balance: str | int, rngs: Sequence[np.random.Generator]
) -> list[np.ndarray]:
    """At most K rows a class, the most confident; fewer are filled by random repeats.

    A class without any candidate stays empty: nothing is invented.
    """
    if balance == "none":
        return rows
    sizes = [len(r) for r in rows if len(r)]
    per_class = int(np.rint(np.mean(sizes))) if balance == "equal" else balance
    balanced = []
    for kept, rng in zip(rows, rngs):
        missing = per_class - len(kept) if len(kept) else 0
        repeats = rng.choice(kept, size=missing) if missing > 0 else kept[:0]
        balanced.append(np.concatenate([kept[:per_class], repeats]))
    return balanced


def _targets(probs: np.ndarray, index: np.ndarray, rule: Labels) -> np.ndarray:
    """The targets of the rows `index`, float16 (M, K)."""
    targets = np.empty((len(index), probs.shape[1]), dtype=np.float16)
    for rows in _pieces(*targets.shape):
        targets[rows] = _half(_sharpened(probs[index[rows]], rule))
    return targets


def _sharpened(probs: np.ndarray, rule: Labels) -> np.ndarray:
    """softmax(log p / temperature), or the top class as one-hot."""
    if rule.kind == "hard":
        return np.eye(probs.shape[1])[probs.argmax(1)]
    if rule.temperature == 1:
        return probs
    logits = np.log(np.maximum(probs, np.finfo(np.float64).tiny)) / rule.temperature
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def _half(values: np.ndarray) -> np.ndarray:
    """float16 nearest to non-negative float64, as NumPy's cast, which takes 8 to 70 ns a number.

    First to the 24 bits of a float32, to odd: then the second rounding cannot err (Boldo and
    Melquiond 2008, doi:10.1109/TC.2007.70819).
    """
    bits = values.view(np.int64)
    odd = bits & LOST
    odd += LOST  # carries into the last bit kept, if there is anything to lose
    odd |= bits
    odd &= ~LOST
    return torch.from_numpy(odd.view(np.float64)).half().numpy()


def _nothing_left(confidence: np.ndarray, threshold: float, unit: str) -> UserError:
    highest = float(confidence.max()) if len(confidence) else 0.0
    shares = ", ".join(
        f"{np.mean(confidence >= t):.0%} at {t:g}" for t in (0.3, 0.5, 0.7, 0.9, 0.95)
    )
    suggestion = np.floor(100 * np.median(confidence)) / 100 if len(confidence) else 0.0
    return UserError(
        "labels.threshold",
        f"no {unit} of {len(confidence)} reaches {threshold:g} (highest confidence {highest:.3f}; "
        f"kept would be {shares})",
        f"lower it, to {suggestion:g} for half of the {unit}s",
    )


def save(path: Path | str, labels: PseudoLabels, **metadata: object) -> None:
    """Write the file; `metadata` as described above, JSON-able."""
    arrays = {name: np.ascontiguousarray(value) for name, value in labels.arrays.items()}
    meta = {"schema": SCHEMA, "kind": labels.kind, **metadata}
    meta["sha256"] = _digest(arrays, meta)
    # one key: safetensors writes several in an order that differs from run to run
    data = save_tensors(arrays, metadata={"lineage": json.dumps(meta, sort_keys=True)})
    files.write_bytes(path, data)


def load(path: Path | str) -> tuple[PseudoLabels, dict]:
    """Read the file and its metadata.

    Raises:
        UserError: missing, of another version, or not the bytes that were written.
    """
    path, fix = Path(path), "run `pseudo_label` again"
    if not path.is_file():
        raise UserError(str(path), "no such file", fix)
    try:
        with open_tensors(path, "np") as file:
            metadata = json.loads((file.metadata() or {})["lineage"])
        arrays = load_tensors(path.read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(str(path), f"cannot be read ({error})", fix) from None
    recorded = metadata.pop("sha256", None)
    if _digest(arrays, metadata) != recorded:
        raise UserError(str(path), "sha256 differs from the one recorded when it was written", fix)
    if metadata["schema"] != SCHEMA:
        what = f"schema {metadata['schema']}, this version reads {SCHEMA}"
        raise UserError(str(path), what, fix)
    return PseudoLabels(**arrays, kind=metadata["kind"]), metadata


def _digest(arrays: dict[str, np.ndarray], metadata: dict) -> str:
    content = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        content.update(f"{name} {arrays[name].dtype} {arrays[name].shape} ".encode())
        content.update(arrays[name].tobytes())
    return content.hexdigest()
