"""The formats that a model is exported to.

Whatever the format, uint8 images (N, C, H, W) go in, any N of them, and probabilities float32
(N, K) come out, normalisation, resizing and calibration inside: what `Servable` answers. The
classes, in the order of the columns, are in the file as well.
"""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from pipeline.core.errors import UserError
from pipeline.networks import checkpoint
from pipeline.networks.servable import Servable, example

Answers = Callable[[np.ndarray], np.ndarray]  # uint8 (N, C, H, W) -> float32 (N, K)
IMAGES, PROBABILITIES = "images", "probabilities"  # what goes in and what comes out are called


class Format(ABC):
    """How a program is written and read.

    Attributes:
        packages: that it needs beside torch.
    """

    packages: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, program: ExportedProgram, card: dict) -> bytes:
        """The file.

        Args:
            card: what it says of itself besides.
        """

    @abstractmethod
    def load(self, data: bytes) -> Answers:
        """What a reader of the file answers, on a CPU."""

    def check(self, name: str) -> None:
        """Refuse a format that this Python cannot write.

        Raises:
            UserError: a package is not installed.
        """
        missing = [package for package in self.packages if not find_spec(package)]
        if missing:
            fix = f"pip install {' '.join(missing)}, or choose another format"
            raise UserError("--format", f"'{name}' needs {', '.join(missing)}", fix)


class Onnx(Format):
    """ONNX, for onnxruntime and others."""

    packages = ("onnx", "onnxscript", "onnxruntime")

    def encode(self, program: ExportedProgram, card: dict) -> bytes:
        """Through torch's exporter; the card is in the file's metadata."""
        names = {"input_names": [IMAGES], "output_names": [PROBABILITIES]}
        exported = torch.onnx.export(program, (), dynamo=True, verbose=False, **names)
        proto = exported.model_proto
        for key, value in card.items():
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
        return proto.SerializeToString()

    def load(self, data: bytes) -> Answers:
        """By onnxruntime, with as many threads as torch."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors: a warning there is nothing that a user can act on
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(data, options, providers=providers)
        return lambda images: session.run([PROBABILITIES], {IMAGES: images})[0]


class Pt2(Format):
    """torch.export's own, which torch reads without our code."""

    def encode(self, program: ExportedProgram, card: dict) -> bytes:
        """The card is the file's `card.json`."""
        buffer = io.BytesIO()
        extra = {"card.json": json.dumps(card, ensure_ascii=False)}
        torch.export.save(program, buffer, extra_files=extra)
        return buffer.getvalue()

    def load(self, data: bytes) -> Answers:
        """By torch."""
        module = torch.export.load(io.BytesIO(data)).module()

        @torch.inference_mode()
        def answers(images: np.ndarray) -> np.ndarray:
            return module(torch.from_numpy(images)).numpy()

        return answers


FORMATS: dict[str, Format] = {"onnx": Onnx(), "pt2": Pt2()}


def program(servable: Servable, card: dict) -> ExportedProgram:
    """The model's computation, for any number of images, on a CPU."""
    images = torch.from_numpy(example(card))
    with torch.no_grad():
        return torch.export.export(servable, (images,), dynamic_shapes=({0: Dim("batch")},))


def said(card: dict) -> dict:
    """What a file says of itself: its model, the classes by column, the images that it takes."""
    return {
        "name": card["name"],
        "sha256": card["sha256"],
        "classes": checkpoint.classes(card),
        "tasks": {head["task"]: head["classes"] for head in card["heads"]},
        "image_shape": card["image_shape"],
    }
