"""The options of `bertbench distill` that are its own. Not aware of what they do."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bertbench.commands._options import Share


class Ablation(StrEnum):
    """What is left out or varied, one thing at a time."""

    LOSSES = "losses"
    SHARING = "sharing"
    EMBEDDING = "embedding"


TeacherOption = Annotated[
    str, typer.Option("--teacher", help="The model that teaches: a name, hub id, folder or run:<id>.")
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", help="The task that is learnt (`bertbench list tasks`).", show_default=False),
]
StudentOption = Annotated[
    str | None,
    typer.Option("--student", help="Teach this model as it is instead of deriving one.", show_default=False),
]
LayersOption = Annotated[
    int | None,
    typer.Option(
        "--student-layers", help="Layers kept (default: half; all with --share, --embedding-size).", show_default=False
    ),
]
EmbeddingOption = Annotated[
    int | None, typer.Option("--embedding-size", help="Factorize the embeddings to this width.", show_default=False)
]
ShareOption = Annotated[Share, typer.Option("--share", help="What all layers share.")]
RandomOption = Annotated[bool, typer.Option("--random-start", help="Start from random weights, not the teacher's.")]
TemperatureOption = Annotated[float, typer.Option("--temperature", help="Softens both answers.")]
SoftOption = Annotated[
    float | None,
    typer.Option("--alpha-soft", help="Weight of the teacher's answers (default 0.5; on text 5).", show_default=False),
]
HardOption = Annotated[
    float | None, typer.Option("--alpha-hard", help="Weight of the labels (default 0.5).", show_default=False)
]
TextOption = Annotated[
    str | None,
    typer.Option(
        "--text", help="Distil on this text first: files, or a hub id like owner/name:subset.", show_default=False
    ),
]
ColumnOption = Annotated[str, typer.Option("--text-column", help="The column that holds the text.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", help="Steps of distillation on text (default 1000).", show_default=False)
]
MlmOption = Annotated[
    float | None,
    typer.Option("--alpha-mlm", help="On text: weight of the masked tokens (default 2).", show_default=False),
]
CosOption = Annotated[
    float | None,
    typer.Option("--alpha-cos", help="On text: weight of the hidden states (default 1).", show_default=False),
]
AblationOption = Annotated[
    Ablation | None, typer.Option("--ablation", help="Compare students that differ in one thing.", show_default=False)
]
SaveToOption = Annotated[
    Path | None, typer.Option("--save-to", help="Copy the (first) student's checkpoint there.", show_default=False)
]
