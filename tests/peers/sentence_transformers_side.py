"""The other side of the comparison: sentence-transformers' own public API, run in its own environment.

    python sentence_transformers_side.py ORDER.json ANSWER.json

An order is `{"do": "export" | "time" | "similarities", "folder": …, "backends": […], …}`. Nothing of bertbench is imported.
"""

import json
import statistics
import sys
import time
from pathlib import Path

LENGTH = 128  # tokens of the text that is timed
WARMUP = 5
ONNX, ONNX_INT8, OPENVINO = "onnx/model.onnx", "onnx/model_qint8_avx512_vnni.onnx", "openvino/openvino_model.xml"


def onnx(file, threads):
    """The arguments of the ONNX back-end."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    arguments = {"file_name": file, "provider": "CPUExecutionProvider", "session_options": options}
    return {"backend": "onnx", "model_kwargs": arguments}


def openvino(threads, **config):
    """The arguments of the OpenVINO back-end; without a precision it takes its own, bfloat16 where the processor has it."""
    config |= {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"}
    return {"backend": "openvino", "model_kwargs": {"file_name": OPENVINO, "ov_config": config}}


BACKENDS = {
    "torch": lambda threads: {"backend": "torch"},  # noqa: ARG005 (torch takes them from the environment)
    "onnx": lambda threads: onnx(ONNX, threads),
    "onnx-int8": lambda threads: onnx(ONNX_INT8, threads),
    "openvino": lambda threads: openvino(threads, INFERENCE_PRECISION_HINT="f32"),
    "openvino-own": openvino,
}


def load(order, name):
    """A model on a back-end."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(order["threads"])
    return SentenceTransformer(order["folder"], device="cpu", **BACKENDS[name](order["threads"]))


def export(order):
    """Save the model with the files of its other back-ends, which are then read and not made anew."""
    import sentence_transformers
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(order["model"], device="cpu").save_pretrained(order["folder"])
    made = {name.partition("-")[0] for name in order["backends"]} - {"torch"}
    for backend in sorted(made):
        SentenceTransformer(order["folder"], device="cpu", backend=backend).save_pretrained(order["folder"])
    if "onnx-int8" in order["backends"]:
        model = SentenceTransformer(order["folder"], device="cpu", **onnx(ONNX, order["threads"]))
        sentence_transformers.export_dynamic_quantized_onnx_model(model, "avx512_vnni", order["folder"])
    return sorted(str(path.relative_to(order["folder"])) for path in Path(order["folder"]).rglob("*.*"))


def measure(order):
    """The median seconds of `encode` of one text, by back-end, one pass of each in turn."""
    models = {name: load(order, name) for name in order["backends"]}
    text = " ".join(["the"] * (LENGTH - 2))
    for model in models.values():
        assert model.tokenizer(text, return_tensors="np")["input_ids"].shape == (1, LENGTH)
        for _ in range(WARMUP):
            model.encode(text, show_progress_bar=False)
    seconds = {name: [] for name in models}
    for _ in range(order["passes"]):
        for name, model in models.items():
            model.encode(text, show_progress_bar=False)  # untimed: caches are the other model's
            start = time.perf_counter()
            model.encode(text, show_progress_bar=False)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def remembering(encode):
    """`encode` that encodes the same texts once."""
    known = {}

    def encode_once(texts, *arguments, **options):
        if tuple(texts) not in known:
            known[tuple(texts)] = encode(texts, *arguments, **options)
        return known[tuple(texts)]

    return encode_once


def similarities(order):
    """The cosine similarities of pairs by back-end, and their evaluator's Spearman correlation with the scores."""
    from sentence_transformers import util
    from sentence_transformers.evaluation import EmbeddingSimilarityEvaluator

    pairs = json.loads(Path(order["pairs"]).read_text(encoding="utf-8"))
    left, right, scores = (pairs[key] for key in ("sentence1", "sentence2", "score"))
    answers = {}
    for name in order["backends"]:
        model = load(order, name)
        model.encode = remembering(model.encode)  # the very embeddings that their evaluator correlates
        options = {"main_similarity": "cosine", "show_progress_bar": False}
        figures = EmbeddingSimilarityEvaluator(left, right, scores, **options)(model)
        spearman = next(value for key, value in figures.items() if key.endswith("spearman_cosine"))
        cosines = util.pairwise_cos_sim(model.encode(left), model.encode(right))
        answers[name] = {"spearman": float(spearman), "cosines": [float(value) for value in cosines]}
    return answers


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"export": export, "time": measure, "similarities": similarities}[asked["do"]](asked)
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
