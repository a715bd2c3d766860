"""Every packaged config is right, true to its source and true to what is released."""

import csv
import json
from pathlib import Path

import pytest

from bertbench.commands.validate import check_all
from bertbench.specs.catalog import KINDS, Catalog, packaged_folder
from bertbench.stats.claim_tests import Bound
from bertbench.units import QUANTITIES

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_shared = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared")]

CATALOG = Catalog()
EVERY = [(kind, path.stem) for kind in KINDS for path in sorted((packaged_folder() / kind).glob("*.yaml"))]
TASKS = ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli")
BASE_TASKS = ("sst2", "squad", "conll2003")
COMPARED = ("bert", "distilbert", "albert")
COUNTS = {
    "bert": 109_482_240,
    "distilbert": 66_362_880,
    "albert": 11_683_584,
    "bert-large": 335_141_888,
    "bert-base-cased": 108_310_272,
    "albert-large": 17_683_968,
    "albert-xlarge": 58_724_864,
    "albert-xxlarge": 222_595_584,
    "roberta": 124_645_632,
    "distilroberta": 82_118_400,
    "all-minilm-l6": 22_713_216,
}
# The same of the models of the suite `modern` and their like.
MODERN_COUNTS = {
    "modernbert-base": 149_014_272,
    "modernbert-large": 394_781_696,
    "ettin-17m": 16_797_440,
    "ettin-32m": 31_883_136,
    "ettin-68m": 68_144_640,
    "ettin-150m": 149_014_272,
    "mmbert-small": 140_493_696,
    "eurobert-210m": 211_766_016,
    "deberta-v3-small": 141_304_320,
    "deberta-v3-base": 183_831_552,
    "electra-small": 13_483_008,
    "electra-base": 108_891_648,
    "mobilebert": 24_581_888,
    "mpnet-base": 109_486_464,
    "minilm-l6-h384": 22_713_216,
    "minilm-l12-h384": 33_360_000,
    "tinybert-4": 14_350_248,
    "tinybert-6": 66_955_008,
}
EVERY_COUNT = COUNTS | MODERN_COUNTS
# Most tokens of an input, and whether token types tell sentences apart.
INPUTS = {
    "modernbert-base": (8192, False),
    "modernbert-large": (8192, False),
    "ettin-17m": (7999, False),
    "ettin-32m": (7999, False),
    "ettin-68m": (7999, False),
    "ettin-150m": (7999, False),
    "mmbert-small": (8192, False),
    "eurobert-210m": (8192, False),
    "deberta-v3-small": (512, False),
    "deberta-v3-base": (512, False),
    "electra-small": (512, True),
    "electra-base": (512, True),
    "mobilebert": (512, True),
    "mpnet-base": (512, False),
    "minilm-l6-h384": (512, True),
    "minilm-l12-h384": (512, True),
    "tinybert-4": (512, True),
    "tinybert-6": (512, True),
}
PLAUSIBLE = {
    "parameters": (1e7, 1e9),
    "speedup": (0.2, 10),
    "retention": (0.5, 1.1),
    "matthews_correlation": (0.4, 0.7),
    "accuracy": (0.46, 0.97),
    "score": (0.8, 0.95),
}
# By name the verdict to expect, by the published figures and the architectures.
CLAIMS = {
    "distilbert-40-percent-smaller": "supported",
    "distilbert-60-percent-faster": "supported",
    "distilbert-60-percent-less-time": "refuted",
    "distilbert-retains-97-percent": "supported",
    "distilbert-retains-97-percent-without-wnli": "refuted",
    "distilbert-retains-97-percent-per-task": "refuted",
    "distilbert-retains-97-percent-above-chance": "refuted",
    "albert-much-smaller": "supported",
    "albert-trains-faster": "refuted",
    "albert-infers-faster": "refuted",
    "albert-equal-or-better": "supported",
    "albert-equal-or-better-per-task": "supported",
    "distilbert-for-speed": "supported",
    "albert-for-memory": "supported",
    "albert-for-memory-optimizer-state": "supported",
    "albert-for-memory-inference": "supported",
    "albert-for-memory-large-batches": "refuted",
    "albert-for-memory-training": "refuted",
    "modernbert-twice-as-fast-as-deberta": "supported",
    "modernbert-twice-as-fast-as-deberta-on-a-cpu": "refuted",
    "modernbert-faster-than-bert": "refuted",
    "modernbert-87-on-rte": "refuted",
    "modernbert-better-than-deberta-on-glue": "inconclusive",
    "minilm-l6-5-times-as-fast": "supported",
    "minilm-l6-7-times-as-fast": "inconclusive",
}


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_packaged_config_is_valid(kind, name):
    """Every packaged file gives a spec that names what it is and where it comes from."""
    spec = CATALOG.check(CATALOG.entry(kind, name))

    assert spec.name == name
    assert getattr(spec, "title", None) or spec.wording


def test_packaged_configs_fit_together(tmp_path, monkeypatch):
    """Nothing that a packaged config names is missing."""
    monkeypatch.chdir(tmp_path)

    assert check_all(Catalog()).findings == []


def test_parameter_counts_are_the_released_ones():
    """The architecture of every released model has exactly the published number of parameters."""
    import torch
    from transformers import AutoConfig, AutoModel

    counts = {}
    for name in EVERY_COUNT:
        spec = CATALOG.model(name)
        with torch.device("meta"):
            model = AutoModel.from_config(AutoConfig.for_model(spec.architecture, **spec.config))
        counts[name] = sum(parameter.numel() for parameter in model.parameters())

    assert counts == EVERY_COUNT


@pytest.mark.parametrize("name", COMPARED)
def test_every_row_of_the_comparison_has_a_published_statement(name):
    """The three compared models have a sourced statement for each of the table's five rows."""
    rows = {published.row for published in CATALOG.model(name).published}

    assert rows == {"method", "size", "speed", "accuracy", "use"}


@pytest.mark.parametrize("name", EVERY_COUNT)
def test_published_figures_are_plausible_and_sourced(name):
    """Published statements are short, name their source and lie in the range their quantity allows."""
    spec = CATALOG.model(name)

    assert spec.published
    assert spec.source
    for published in spec.published:
        assert published.source.strip()
        assert 0 < len(published.statement) <= 120
        if published.quantity is not None:
            low, high = PLAUSIBLE[published.quantity]
            assert low <= published.value <= high, published
            assert published.quantity in QUANTITIES


def test_every_released_model_is_counted():
    """No packaged model with a checkpoint goes without its exact count."""
    assert {name for name in CATALOG.entries("models") if CATALOG.model(name).checkpoint} == set(EVERY_COUNT)


@pytest.mark.parametrize("name", MODERN_COUNTS)
def test_inputs_are_those_that_the_release_takes(name):
    """How long an input may be, found by trying, and whether sentences have types, as the releases say."""
    from bertbench.models.architecture import config_of
    from bertbench.models.lengths import length_limit
    from bertbench.models.loading import uses_token_types

    config = config_of(CATALOG.model(name))
    assert (length_limit(config), uses_token_types(config)) == INPUTS[name]


@pytest.mark.parametrize("name", EVERY_COUNT)
def test_published_parameters_are_close_to_the_counted_ones(name):
    """A published number of parameters, rounded as it is, is within 6 per cent of the exact one."""
    for published in CATALOG.model(name).published:
        if published.quantity == "parameters":
            assert published.value == pytest.approx(EVERY_COUNT[name], rel=0.06)


@pytest.mark.parametrize("name", COMPARED)
def test_task_scores_are_published_once(name):
    """No task has two published scores, so that what stands beside a measurement is unambiguous."""
    tasks = [published.task for published in CATALOG.model(name).published if published.task]

    assert len(tasks) == len(set(tasks))
    assert "sst2" in tasks


@pytest.mark.parametrize("name", TASKS)
def test_glue_task_follows_the_benchmark(name):
    """GLUE tasks take the benchmark's data; MRPC, QQP and STS-B are the mean of two metrics."""
    task = CATALOG.task(name)

    assert (task.dataset.path, task.dataset.subset) == ("nyu-mll/glue", name)
    assert len(task.primary_metrics) == (2 if name in {"mrpc", "qqp", "stsb"} else 1)
    assert task.is_regression == (name == "stsb")
    assert task.training.epochs == (5 if name in {"mrpc", "wnli"} else 3)
    assert task.training.source
    assert task.source


def test_glue_is_its_nine_tasks():
    """The group 'glue' stands for the nine tasks of the benchmark."""
    assert set(CATALOG.group("glue").tasks) == set(TASKS)


@pytest.mark.parametrize(
    ("name", "kind", "primary", "splits"),
    [
        ("squad", "question-answering", "answer_f1", ("validation",)),
        ("squad_v2", "question-answering", "answer_f1", ("validation",)),
        ("conll2003", "token-classification", "entity_f1", ("validation", "test")),
        ("wnut17", "token-classification", "entity_f1", ("validation", "test")),
        ("imdb", "sequence-classification", "accuracy", ("test",)),
    ],
)
def test_further_tasks_follow_their_benchmarks(name, kind, primary, splits):
    """Question answering, entities and IMDb have the official score and splits, and a recipe with a source."""
    task = CATALOG.task(name)

    assert (task.kind, task.primary_metrics, task.evaluation_splits) == (kind, (primary,), splits)
    assert task.unanswerable == (name == "squad_v2")
    assert task.training.source
    assert task.source


def test_fine_tuned_checkpoints_of_glue_share_their_origin_and_all_use_the_base_tokenizer():
    """The compared models' checkpoints for GLUE come from one place; each is of a task of the base suite and says its origin."""
    for name in COMPARED:
        spec = CATALOG.model(name)
        assert {*BASE_TASKS, "squad_v2"} <= set(spec.finetuned)
        of_glue = [entry for task, entry in spec.finetuned.items() if task in TASKS]
        assert {each.checkpoint.split("/")[0] for each in of_glue} == {"textattack"}
        assert {each.tokenizer for each in spec.finetuned.values()} == {spec.checkpoint}
        assert all(each.origin for each in spec.finetuned.values())


def test_only_distilberts_checkpoint_for_squad_had_a_teacher():
    """DistilBERT (D) of the paper's Table 2 was distilled on SQuAD; every other published checkpoint learnt from labels."""
    distilled = [
        (name, task)
        for name in CATALOG.entries("models")
        for task, entry in CATALOG.model(name).finetuned.items()
        if entry.recipe == "distilled"
    ]
    assert distilled == [("distilbert", "squad")]
    scores = CATALOG.model("distilbert").finetuned["squad"].scores
    assert scores == {"exact_match": 79.1, "answer_f1": 86.9}


def test_mnli_outputs_are_permuted():
    """The fine-tuned MNLI checkpoint's outputs are in another order than the data set's labels."""
    assert CATALOG.model("bert").finetuned["mnli"].labels == ("contradiction", "entailment", "neutral")
    assert CATALOG.task("mnli").labels == ("entailment", "neutral", "contradiction")


def test_base_suite_quotes_speed_at_one_sentence_of_128_tokens():
    """The base suite compares the three models against BERT and quotes speed-ups for 1x128."""
    suite = CATALOG.suite("base")

    assert (suite.models, suite.reference, suite.tasks, suite.fallback) == (COMPARED, "bert", BASE_TASKS, "demo")
    assert [shape.label for shape in suite.timing.shapes] == ["1x128", "1xnatural", "4x128"]


def test_modern_suite_sets_bert_beside_newer_and_smaller_encoders():
    """The models of the claims about newer layers are in it, BERT is the reference, and no task gets another default suite."""
    suite = CATALOG.suite("modern")
    assert suite.reference == "bert"
    assert {"modernbert-base", "deberta-v3-base", "minilm-l6-h384"} < set(suite.models)
    assert set(suite.tasks) <= set(BASE_TASKS)
    assert [shape.label for shape in suite.timing.shapes] == ["1x128", "1x512", "1xnatural"]


def test_disputes_about_modernbert_are_on_record():
    """The score on RTE is published with where it starts from, and beside it what others found from the released weights."""
    from bertbench.specs.published import load

    figures = [figure for figure in load(CATALOG) if (figure.model, figure.task) == ("ModernBERT-base", "rte")]
    assert [figure.value for figure in figures] == [0.874, 0.57, 0.66]
    assert "MNLI" in figures[0].caution
    assert {figure.source for figure in figures[1:]} == {"AnswerDotAI/ModernBERT#225"}
    claim = CATALOG.claim("modernbert-87-on-rte")
    assert claim.least > 0.66


def test_two_figures_of_one_models_speed_are_two_claims():
    """MiniLM-L6 is 5.3 times as fast by its authors and 7.17 by figures of Intel's; both are judged in one cell."""
    five, seven = (CATALOG.claim(f"minilm-l6-{name}-times-as-fast") for name in ("5", "7"))
    cell = ("models", "quantity", "statistic", "scenario", "batch_size", "sequence_length")
    assert [getattr(five, name) for name in cell] == [getattr(seven, name) for name in cell]
    assert (five.expected, seven.expected) == (5.3, 7.17)


def test_published_figures_are_of_packaged_models_where_there_are_such():
    """Figures of a listed model bear the name of its checkpoint, so that they stand beside what is measured of it."""
    from bertbench.specs.published import load, published_name

    figures = {figure.model for figure in load(CATALOG)}
    named = {name: published_name(CATALOG.model(name).checkpoint) for name in MODERN_COUNTS}
    assert {name for name, title in named.items() if title not in figures} == set()
    counted = {
        figure.model: figure.value
        for figure in load(CATALOG)
        if figure.status == "computed" and figure.quantity == "parameters"
    }
    assert {name: counted[title] for name, title in named.items()} == MODERN_COUNTS
    assert not figures & {"minilm-l6-h384", "minilm-l12-h384", "tinybert4", "tinybert6", "mobilebert", "electra-small"}


def test_papers_repeat_what_the_paper_states():
    """DistilBERT's Table 3: seconds for STS-B dev at batch size 1 on a CPU, so that DistilBERT takes 61 % of BERT's time."""
    paper = CATALOG.paper("distilbert-table-3")

    assert (paper.task, paper.batch_size, paper.device, paper.quantity) == ("stsb", 1, "cpu", "inference_time")
    assert paper.published == {"bert": 668, "distilbert": 410}
    assert paper.reference == "bert"
    assert CATALOG.task(paper.task).evaluation_splits[0] == "validation"


def test_claims_are_all_there():
    """Each reading of the claims has its file, with definition, source, evidence and the verdict that is to be expected."""
    assert set(CATALOG.entries("claims")) == set(CLAIMS)
    for name, verdict in CLAIMS.items():
        claim = CATALOG.claim(name)
        assert all((claim.wording, claim.short, claim.document, claim.source, claim.definition, claim.evidence))
        assert claim.expect == verdict


def test_claims_bind_to_released_checkpoints():
    """Every claim is about the checkpoints that the packaged models are, model and reference."""
    for name in CLAIMS:
        claim = CATALOG.claim(name)
        assert claim.checkpoints == {model: CATALOG.model(model).checkpoint for model in claim.models}


def test_both_readings_of_60_percent_are_of_the_papers_cell():
    """Throughput and time saved are judged in the cell of DistilBERT's Table 3, and the published times differ in verdict."""
    paper = CATALOG.paper("distilbert-table-3")
    ratio = paper.published["distilbert"] / paper.published["bert"]
    faster, less = (CATALOG.claim(f"distilbert-60-percent-{name}") for name in ("faster", "less-time"))
    for claim in (faster, less):
        assert (claim.task, claim.scenario, claim.batch_size, claim.needs.device) == (
            paper.task,
            "offline",
            1,
            paper.device,
        )
    assert 1 / ratio >= faster.expected - faster.margin
    assert ratio > less.expected + less.margin


@pytest.mark.parametrize(
    ("name", "reference"), [("distilbert-40-percent-smaller", "bert"), ("albert-much-smaller", "bert")]
)
def test_exact_claims_hold_for_the_released_counts(name, reference):
    """What is counted exactly lies within the margin."""
    claim = CATALOG.claim(name)
    ratio = COUNTS[claim.model] / COUNTS[reference]
    assert Bound(claim.relation, claim.expected, claim.margin).range[0] <= ratio
    assert ratio <= Bound(claim.relation, claim.expected, claim.margin).range[1]


class TestAgainstTheReleased:
    """Comparisons with released configurations, data sets and published figures."""

    pytestmark = needs_shared

    @pytest.mark.parametrize("name", [*COMPARED, "bert-base-cased", "all-minilm-l6"])
    def test_architecture_is_the_released_one(self, name):
        """Every key of a model's architecture has the value of the released config.json."""
        spec = CATALOG.model(name)
        released = json.loads((SHARED / "hub/models" / spec.checkpoint / "config.json").read_text())

        assert spec.architecture == released["model_type"]
        assert {key: released[key] for key in spec.config} == spec.config

    @pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "rte", "stsb", "wnli"])
    def test_columns_and_labels_are_the_data_sets(self, name):
        """Columns exist in every split, and label names are in the order of the data set's ids."""
        import pyarrow.parquet as pq

        task = CATALOG.task(name)
        for split in (task.train_split, *task.evaluation_splits):
            path = SHARED / f"hub/datasets/nyu-mll/glue/{name}/{split}-00000-of-00001.parquet"
            schema = pq.read_schema(path)
            label = json.loads(schema.metadata[b"huggingface"])["info"]["features"][task.label]
            assert {*task.inputs, task.label} <= set(schema.names)
            assert (tuple(label["names"]) if "names" in label else None) == task.labels

    @pytest.mark.parametrize("name", ["squad", "squad_v2"])
    def test_columns_of_questions_are_the_data_sets(self, name):
        """Question, context and answers exist in every split."""
        import pyarrow.parquet as pq

        task = CATALOG.task(name)
        for split in (task.train_split, *task.evaluation_splits):
            folder = SHARED / "hub/datasets" / task.dataset.path / task.dataset.subset
            names = pq.read_schema(folder / f"{split}-00000-of-00001.parquet").names
            assert {*task.inputs, task.label} <= set(names)

    @pytest.mark.parametrize("name", ["conll2003", "wnut17"])
    def test_columns_and_tags_are_the_data_sets(self, name):
        """Words and tags exist in every split at the named revision, and tags are in the order of the data set's ids."""
        import pyarrow.parquet as pq

        task = CATALOG.task(name)
        folder = SHARED / "hub/datasets" / task.dataset.path / f"_{task.dataset.revision}"
        for split in (task.train_split, *task.evaluation_splits):
            schema = pq.read_schema(folder / task.dataset.path.split("/")[1] / split / "0000.parquet")
            tags = json.loads(schema.metadata[b"huggingface"])["info"]["features"][task.label]["feature"]
            assert set(task.inputs) <= set(schema.names)
            assert tuple(tags["names"]) == task.labels

    @pytest.mark.parametrize("name", COUNTS)
    def test_scores_are_the_published_ones(self, name):
        """Every published task score stands in a paper or README for this model and task."""
        spelled = {"sst2": "SST-2", "stsb": "STS-B", "cola": "CoLA"}
        with (SHARED / "reference/published.csv").open(encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["split"] == "dev"]
        for published in CATALOG.model(name).published:
            if published.task is None:
                continue
            task = spelled.get(published.task, published.task.upper())
            model = CATALOG.model(name).checkpoint.split("/")[-1].removesuffix("-uncased")
            known = {
                float(row["value"])
                for row in rows
                if row["model"].removesuffix("-uncased") == model and row["task"] in {f"GLUE/{task}", f"GLUE/{task}-m"}
            }
            assert round(published.value * 100, 6) in known, published
