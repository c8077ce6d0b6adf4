"""The exported module as one file for other runtimes: a program of torch.export's, or ONNX."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsae.core.errors import InvalidInput, RecSAEError

if TYPE_CHECKING:
    import torch

    from recsae.steering.serving.loader import SteeredStates

    Score = Callable[[torch.Tensor], torch.Tensor]
    """States ``(n, d)`` in, scores ``(n, n_items)`` out, or states where there is no head."""

LARGEST = 2**31 - 2**20
"""Bytes of weights that fit in one ONNX file; protobuf ends at two gigabytes."""


@dataclass(frozen=True)
class Format:
    """Another file in an exported folder: how it is made, read again, and described."""

    file: str
    packages: tuple[str, ...]
    make: Callable[[SteeredStates], bytes]
    read: Callable[[bytes], Score]
    line: str


def formats_of(names: Iterable[str]) -> dict[str, Format]:
    """The formats of these names, each once.

    Raises
    ------
    InvalidInput
        There is no such format, or a package that it needs is not installed.
    """
    chosen = {}
    for name in names:
        if name not in FORMATS:
            raise InvalidInput(f"There is no format {name!r}, only {' and '.join(FORMATS)}.")
        chosen[name] = FORMATS[name]
        for package in chosen[name].packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InvalidInput(
                    f"The package {package} is needed to write {chosen[name].file}: "
                    'pip install "recsae[onnx]".'
                ) from error
    return chosen


@contextmanager
def failing_as(file: str) -> Iterator[None]:
    """What goes wrong with ``file`` in here is one RecSAEError; exporters' noise is not heard."""
    logger = logging.getLogger("torch.onnx")  # has a handler of its own, on stderr
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except RecSAEError:
        raise
    except Exception as error:  # exporters and runtimes raise their own kinds
        what = (str(error).strip() or "no message").splitlines()[0].rstrip(".")
        raise RecSAEError(
            f"{file} could not be made ({type(error).__name__}: {what}), so nothing was written: "
            "leave its --format out."
        ) from error
    finally:
        logger.setLevel(level)


def _program(module: SteeredStates) -> torch.export.ExportedProgram:
    """The module as one graph of torch's operators, for any number of states."""
    import torch

    example = torch.zeros(2, len(module.mean))  # of one state, n would be fixed
    # without a largest n, torch 2.6 takes the end of the slice in `code[:, latents]` for one
    n = torch.export.Dim("n", min=1, max=2**31 - 1)
    shapes = ({0: n},)
    program = torch.export.export(module, (example,), dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
    return program


def _make_torch(module: SteeredStates) -> bytes:
    import torch

    file = io.BytesIO()
    torch.export.save(_program(module), file)
    return file.getvalue()


def _read_torch(data: bytes) -> Score:
    import torch

    read: Score = torch.export.load(io.BytesIO(data)).module()
    return read


def _make_onnx(module: SteeredStates) -> bytes:
    """By way of a program: one that is not free in n fails there, where tracing would be silent."""
    import onnx
    import torch

    if sum(weight.nbytes for weight in module.buffers()) > LARGEST:
        raise InvalidInput(
            "The weights are more than the 2 GB that fit in one ONNX file: leave --format onnx out."
        )
    made: Any = torch.onnx.export(
        _program(module),
        input_names=["states"],
        output_names=["scores" if hasattr(module, "items") else "steered"],
        dynamic_shapes=({0: "n"},),  # only its name: that it is free is the program's
        dynamo=True,
        verbose=False,
    )
    data: bytes = made.model_proto.SerializeToString()
    onnx.checker.check_model(data, full_check=True)
    return data


def _read_onnx(data: bytes) -> Score:
    """With onnxruntime where it is installed, else with what the package onnx has."""
    import torch

    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        import onnx
        from onnx.reference import ReferenceEvaluator

        run: Any = ReferenceEvaluator(onnx.load_model_from_string(data)).run
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        run = onnxruntime.InferenceSession(data, options, providers=providers).run
    return lambda states: torch.from_numpy(run(None, {"states": states.numpy()})[0])


FORMATS = {
    "torch": Format(
        "steered.pt2",
        (),
        _make_torch,
        _read_torch,
        "the same as a program that needs torch only:\n"
        '  `torch.export.load("steered.pt2").module()(states)`.',
    ),
    "onnx": Format(
        "steered.onnx",
        ("onnx", "onnxscript"),
        _make_onnx,
        _read_onnx,
        "the same for every runtime that reads ONNX; `states` are float32:\n"
        '  `onnxruntime.InferenceSession("steered.onnx").run(None, {"states": states})[0]`.',
    ),
}
