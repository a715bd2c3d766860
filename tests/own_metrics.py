"""Metrics of a user's own for tests: folders as `evaluate` has them, and tasks that name them."""

import textwrap

CODE = """
import datasets
import evaluate


class Balanced(evaluate.Metric):
    def _info(self):
        features = datasets.Features({{"predictions": {feature}, "references": {references}}})
        return evaluate.MetricInfo(description="mean recall", citation="", features=features)

    def _compute(self, predictions, references, **options):
        {body}
"""
BALANCED = """
classes = sorted(set(references))
recalls = []
for name in classes:
    of_class = [p for p, r in zip(predictions, references) if r == name]
    recalls.append(sum(p == name for p in of_class) / len(of_class))
return {"balanced": sum(recalls) / len(recalls)}
"""
CLASSES = 'datasets.Value("int64")'
TASK = """
title: Mine
dataset: {generator: demo-sentiment}
inputs: [sentence]
labels: [negative, positive]
metrics: [accuracy, balanced]
primary_metrics: [balanced]
own_metrics:
  - %s
training: {epochs: 1, batch_size: 48, learning_rate: 1.0e-3}
"""
ENTRY = "{name: balanced, evaluate: ./balanced, applies_to: classification}"


def code(body=BALANCED, feature=CLASSES, references=None):
    """The text of a module whose `_compute` does this."""
    inside = textwrap.indent(textwrap.dedent(body).strip(), " " * 8).strip()
    return CODE.format(feature=feature, references=references or feature, body=inside)


def write(folder, body=BALANCED, *, entry=ENTRY, name="balanced", **features):
    """Write configs with a task `mine` and the folder of its metric; return the file of the task."""
    tasks = folder / "tasks"
    (tasks / name).mkdir(parents=True, exist_ok=True)
    (tasks / name / f"{name}.py").write_text(code(body, **features), encoding="utf-8")
    (tasks / "mine.yaml").write_text(TASK % entry, encoding="utf-8")
    return tasks / "mine.yaml"
