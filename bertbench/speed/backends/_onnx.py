"""An encoder as an ONNX file of any batch size and length, and what the back-ends that run such a file have in common.

The file is made by torch.onnx directly, from transformers' plain attention: the fused one leaves more nodes (guards against
fully masked rows) and is no faster in ONNX Runtime or OpenVINO, which fuse the plain one themselves. Outputs are the first
one and, without a head, the pooler's, so that the work is that of the other back-ends.

torch.onnx writes a transposition for every use of a weight. Its optimization then stores the transposed weight if there is
one use; of more uses it stores as many copies where weights are small, and keeps the transpositions where they are large.
ALBERT uses its weights 12 times: small ones lost their sharing, and of large ones `quantize_dynamic` left the products
alone, since it takes only stored matrices. 1 of 73 products was quantized, hence int8 gained nothing. `store_transposed`
stores such weights transposed, once for all uses, before that.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError, MeasurementError, first_line
from bertbench.specs.text_files import read_object
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backend import Ids
from bertbench.speed.backends.eager import EagerModel
from bertbench.speed.backends.eager_attention import EagerAttentionBackend

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


VERSION = 1  # of what this module writes; raise it when that changes
OPSET = 20  # the first with GELU as one operator
MODEL_FILE = "model.onnx"
FACTS_FILE = "facts.json"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
EXAMPLE_SHAPE = (2, 8)  # two different sizes above 1, which torch.export would take for constants


@dataclass(frozen=True)
class Facts:
    """What a runtime cannot tell of a file: number of token ids, the one of padding, names of the inputs."""

    vocabulary: int
    pad_id: int
    inputs: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Store the facts beside the model."""
        (folder / FACTS_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Facts:
        """Read the facts of the model in `folder`.

        Raises:
            CheckpointError: they are not there.
        """
        try:
            values = read_object(folder / FACTS_FILE)
            return cls(int(values["vocabulary"]), int(values["pad_id"]), tuple(values["inputs"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(folder, error) from None


def damaged(folder: Path, error: BaseException) -> CheckpointError:
    """Make the error of an exported model that cannot be loaded."""
    return CheckpointError(
        f"{folder}: the exported model cannot be loaded ({first_line(error)})", "delete this folder to export it again"
    )


class FeedModel:
    """What models that take named arrays have in common; `run` and `array` are the runtime's.

    `seconds` reads the host's clock: these runtimes return when the device has finished.
    """

    code_per_shape = False
    attention = "none"

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.vocabulary = facts.vocabulary
        self.pad_id = facts.pad_id

    def feeds(self, ids: Ids, mask: Ids, types: Ids | None = None) -> dict[str, NDArray[np.int64]]:
        """Make the inputs that the model has, as arrays (batch_size, sequence_length); absent token types are zeros."""
        import numpy as np

        arrays = [np.array(ids, np.int64), np.array(mask, np.int64)]  # as in the exported graph
        arrays.append(np.zeros_like(arrays[0]) if types is None else np.array(types, np.int64))
        return {name: array for name, array in zip(INPUTS, arrays, strict=True) if name in self.facts.inputs}

    def run(self, batch: Any) -> Any:
        """Run a forward pass."""
        raise NotImplementedError

    def seconds(self, batch: Any) -> tuple[float, Any]:
        """Run a pass and time it."""
        start = time.perf_counter()
        output = self.run(batch)
        return time.perf_counter() - start, output

    def device_memory(self, *, reset: bool = False) -> None:
        """Return None: these runtimes do not tell."""
        del reset


class OnnxExport:
    """The part of a back-end that makes a float32 ONNX file; equal for all of them, so that they share one export."""

    def export(self, folder: Path, target: Path, settings: ExecutionSettings) -> None:
        """Write model.onnx, its weights and facts.json into `target`.

        Raises:
            CheckpointError: the model in `folder` cannot be loaded.
            MeasurementError: torch.onnx cannot express it.
        """
        plain, eager = replace(settings, device="cpu", dtype="fp32"), EagerAttentionBackend()
        eager.start(plain)
        model = eager.load(folder, plain)
        names = INPUTS[: 3 if model.has_types else 2]
        with quiet():
            try:
                program = _program(model, names)
                store_transposed(program.model.graph)
                program.optimize()
                _drop_remarks(program.model.graph)
            except Exception as error:
                raise MeasurementError(
                    f"{folder}: the model cannot be exported to ONNX ({first_line(error)})",
                    "leave out the back-ends that need it: those of ONNX Runtime and of OpenVINO",
                ) from error
            program.save(target / MODEL_FILE, external_data=True)
        Facts(model.vocabulary, model.pad_id, names).write(target)

    def export_key(self, settings: ExecutionSettings) -> tuple[str, ...]:
        """List the versions of the code and the libraries that write the file."""
        del settings
        packages = ("torch", "transformers", "onnx", "onnx-ir", "onnxscript")
        return (f"onnx {VERSION}", f"opset {OPSET}", *(f"{name} {version_of(name)}" for name in packages))


def version_of(package: str) -> str:
    """Look up the installed version, 'absent' if there is none; the package is not imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _program(model: EagerModel, names: Sequence[str]) -> Any:
    import torch

    module = model.module

    class Outputs(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> tuple[Any, ...]:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            output = self.module(input_ids=input_ids, attention_mask=attention_mask, **types)
            pooled = getattr(output, "pooler_output", None)
            return (output[0],) if pooled is None else (output[0], pooled)

    batch_size, length = EXAMPLE_SHAPE
    ids = [[min(5 + i, model.vocabulary - 1) for i in range(length)]] * batch_size  # within even a tiny vocabulary
    mask = [[1] * length, [1] * (length // 2) + [0] * (length // 2)]
    batch = model.prepare(ids, mask, [[0] * length] * batch_size)
    return torch.onnx.export(
        Outputs().eval(),
        tuple(batch[name] for name in names),
        input_names=list(names),
        dynamic_shapes=tuple({0: "batch", 1: "length"} for _ in names),
        opset_version=OPSET,
        dynamo=True,
        optimize=False,  # of small weights it would store a transposed copy for every use
        verbose=False,
    )


def store_transposed(graph: Any) -> None:
    """Replace transpositions of stored weights by weights stored transposed, one for all uses (an onnx_ir.Graph)."""
    import onnx_ir

    made: dict[tuple[str, tuple[int, ...]], Any] = {}
    for node in list(graph):
        if node.op_type != "Transpose" or not node.inputs[0].is_initializer():
            continue
        weight, order = node.inputs[0], tuple(node.attributes["perm"].as_ints())
        if (weight.name, order) not in made:
            name = f"{weight.name}.{'x'.join(map(str, order))}"
            tensor = onnx_ir.tensor(weight.const_value.numpy().transpose(order).copy(), name=name)
            stored = onnx_ir.Value(
                name=name, const_value=tensor, type=onnx_ir.TensorType(tensor.dtype), shape=onnx_ir.Shape(tensor.shape)
            )
            graph.register_initializer(stored)
            made[weight.name, order] = stored
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], made[weight.name, order])
        graph.remove(node, safe=True)  # raises if something still uses it
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def _drop_remarks(graph: Any) -> None:
    """Leave out where each node comes from: it is longer than the graph and names paths of this machine."""
    graph.metadata_props.clear()
    for node in graph:
        node.metadata_props.clear()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence exporters, which warn and log about what is no matter here, and print."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
