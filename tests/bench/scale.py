"""How much the bars measure: in full, or, with BERTBENCH_BENCH=tiny in the environment, just enough to see that they run.

Figures of a tiny run are printed and not judged.
"""

import os
from dataclasses import dataclass

RELEASED = ("bert", "distilbert", "albert")


@dataclass(frozen=True)
class Scale:
    """Numbers of sessions, rounds and turns, and which models.

    `threads` None: as many as the command line takes by itself.
    """

    judged: bool = True
    threads: int | None = None
    models: tuple[str, ...] = RELEASED
    base: str = "bert"
    speed_options: tuple[str, ...] = ()
    fidelity_rounds: int = 5
    fidelity_turns: int = 6
    batched_turns: int = 2
    same_sessions: int = 40
    slower_sessions: int = 20
    simulated_sessions: int = 2000
    stored_records: int = 100_000
    campaign_records: tuple[int, ...] = (100_000, 1_000_000)
    evaluated_questions: int = 1024
    forecast_samples: int = 500
    grid_options: tuple[str, ...] = ("--seeds", "5", "--epochs", "5", "--train-samples", "22000")


TINY = Scale(
    judged=False,
    stored_records=1000,
    campaign_records=(3500,),
    evaluated_questions=16,
    forecast_samples=20,
    grid_options=("--seeds", "1", "--epochs", "1", "--train-samples", "200", "--eval-samples", "100"),
    threads=1,
    models=("bert-mini", "distilbert-mini", "albert-mini"),
    base="bert-mini",
    speed_options=("--rounds", "2", "--sequence-lengths", "32", "--threads", "1"),
    fidelity_rounds=2,
    fidelity_turns=2,
    batched_turns=1,
    same_sessions=2,
    slower_sessions=2,
    simulated_sessions=20,
)

SCALE = TINY if os.environ.get("BERTBENCH_BENCH") == "tiny" else Scale()
