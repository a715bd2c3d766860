"""Results folders made into one: nothing twice, nothing overwritten, nothing lost, and shards joined to the session they are."""

import shutil
from dataclasses import replace

import pytest

from bertbench import cli
from bertbench.records.merge import merge
from bertbench.records.store import Store
from tests.factories import failed, predictions, quality_record, session_record, size_record, stored_session

MODELS = ("bert", "distilbert")
TOTAL = 3  # size of both, then quality of each


def shard(
    root, number, *, units=None, models=None, records=None, session_id=None, total=TOTAL, weights="same", **fields
):
    """A store with one complete shard, its `number` counted from 1."""
    session_id = session_id or f"20261124T12000{number}-aaaaa{number}"
    part = {
        "label": f"{number}/{total}", "units": units or [number - 1], "total": total, "models": list(MODELS), "tasks": ["sst2"],
        "kinds": ["size", "quality"], "reference": "bert",
    }  # fmt: skip
    model = MODELS[(number - 2) % 2]
    if records is None:
        quality = quality_record(model, predictions(0.8), sidecar=None)
        records = [size_record(name) for name in MODELS] if number == 1 else [quality]
    mine = models or (MODELS if number == 1 else (model,))
    session = session_record(
        mine,
        session_id=session_id,
        reference=mine[0],
        argv=("run", "--shard", f"{number}/{total}", "--task", "sst2"),
        started_at=f"2026-11-24T12:00:0{number}+00:00",
        request={
            "part": part, "models": dict.fromkeys(mine, weights), "tasks": {"sst2": "data"}, "kinds": ["quality"], "teaching": {},
            "options": {"device": "cpu", "threads": number, "recipes": "task"},
        },
        **fields,
    )  # fmt: skip
    renamed = [replace(each, session_id=session_id, run_id=f"{session_id}-{each.run_id}") for each in records]
    stored_session(root, records=renamed, session=session)
    return Store(root)


@pytest.fixture
def target(tmp_path):
    """Where everything is merged into."""
    return Store(tmp_path / "all")


@pytest.fixture
def shards(tmp_path):
    """The three shards of a grid, in folders of their own."""
    return [shard(tmp_path / f"shard-{number}", number) for number in (1, 2, 3)]


def sessions(store):
    """All sessions of a store, read anew."""
    return list(Store(store.root).sessions())


def test_shards_become_the_session_that_they_are(shards, target):
    """All records are in one session, as they were, with the whole grid's names, and the shards are gone."""
    merged = merge(shards, target)
    (stored,) = sessions(target)
    assert merged.joined == [stored.session.session_id]
    before = [record for store in shards for record in sessions(store)[0].records]
    assert {record.run_id: replace(record, session_id="") for record in stored.records} == {
        record.run_id: replace(record, session_id="") for record in before
    }
    session = stored.session
    assert (session.models, session.tasks, session.reference, session.complete) == (MODELS, ("sst2",), "bert", True)
    assert session.request["models"] == {"bert": "same", "distilbert": "same"}
    assert "part" not in session.request
    assert session.argv == ("run", "--task", "sst2")
    assert session.started_at == "2026-11-24T12:00:01+00:00"
    assert "1/3, 2/3, 3/3" in session.notes[0]
    assert len(merged.problems) == 0


def test_merging_again_changes_nothing(shards, target):
    """The same shards, merged once more, are known; so is a single one of them."""
    merge(shards, target)
    before = sessions(target)
    again = merge([Store(store.root) for store in shards], target)
    assert (again.copied, again.known, again.joined, again.waiting) == (0, 4, [], [])
    assert merge([Store(shards[1].root)], target).waiting == []
    assert sessions(target) == before


def test_order_and_steps_do_not_matter(shards, target, tmp_path):
    """Shard by shard, in any order, gives the session that all at once give."""
    merge(shards, target)
    other = Store(tmp_path / "other")
    waiting = [merge([store], other).waiting for store in reversed([Store(store.root) for store in shards])]
    assert [len(lines) for lines in waiting] == [1, 1, 0]
    assert "2 of 3 cells are missing" in waiting[0][0]
    assert sessions(other)[0].session == sessions(target)[0].session


def test_shards_of_one_folder_are_joined_in_place(tmp_path, shards):
    """Where all machines write to one folder, there is nothing to copy."""
    together = Store(tmp_path / "shared")
    for store in shards:
        shutil.copytree(store.sessions_folder, together.sessions_folder, dirs_exist_ok=True)
    assert len(merge([], together).joined) == 1


def test_an_incomplete_shard_is_waited_for(shards, target, tmp_path):
    """What was interrupted is no shard yet; its records are copied and stay."""
    begun = shard(tmp_path / "begun", 3, complete=False)
    merged = merge([*shards[:2], begun], target)
    assert (merged.joined, len(merged.waiting), len(sessions(target))) == ([], 1, 3)
    merged = merge([shards[2]], target)
    assert len(merged.joined) == 1


def test_the_newest_of_a_repeated_shard_counts(shards, target, tmp_path):
    """A shard that was measured twice is taken as it was measured last, and the older one goes with the others."""
    newer = shard(tmp_path / "newer", 3, session_id="20261125T120000-bbbbbb")
    merge([*shards, newer], target)
    (stored,) = sessions(target)
    assert any(record.run_id.startswith("20261125T120000-bbbbbb") for record in stored.records)
    assert len(stored.records) == 4


def test_what_several_shards_have_is_kept_once_and_counted(shards, target, tmp_path):
    """A teacher that two shards have trained is one record."""
    teacher, student = quality_record("bert", predictions(0.8)), quality_record("distilbert", predictions(0.8))
    both = shard(tmp_path / "both", 3, models=MODELS, records=[teacher, student])
    merged = merge([*shards[:2], both], target)
    (stored,) = sessions(target)
    assert (merged.again, len(stored.records)) == (1, 4)


def test_shards_with_other_weights_are_not_joined(shards, target, tmp_path):
    """One model must be the same in all of them; otherwise all shards stay, and one line says which model it is."""
    other = shard(tmp_path / "other", 3, weights="newer")
    merged = merge([*shards[:2], other], target)
    assert (merged.joined, len(sessions(target))) == ([], 3)
    assert "weights or configuration of model distilbert differ" in merged.problems[0]


def started(store, starts):
    """The store, with its session asked to start from these checkpoints."""
    (stored,) = store.sessions()
    asked = stored.session.request | {"starts": starts}
    store.write_session(replace(stored.session, request=asked))
    return Store(store.root)


def test_shards_that_started_elsewhere_are_not_joined(shards, target, tmp_path):
    """A model's cells must all begin at one checkpoint; what a shard does not train itself does not matter."""
    fits = [started(store, {"bert": "AAA", "distilbert": f"C{number}"}) for number, store in enumerate(shards[1:])]
    quality = quality_record("bert", predictions(0.8), seed=2)
    other = started(shard(tmp_path / "other", 1, models=("bert",), records=[quality]), {"bert": "BBB"})
    merged = merge([other, *fits], target)
    assert (merged.joined, len(sessions(target))) == ([], 3)
    assert "what model bert starts from differs" in merged.problems[0]
    same = Store(tmp_path / "same")
    assert len(merge([started(other, {"bert": "AAA"}), *fits], same).joined) == 1
    (stored,) = sessions(same)
    assert stored.session.request["starts"] == {"bert": "AAA", "distilbert": "C1"}


def test_shards_on_other_threads_are_joined_and_on_another_device_are_not(shards, target, tmp_path):
    """The number of threads changes no score; a GPU may."""
    assert len(merge(shards, target).joined) == 1
    other = Store(tmp_path / "gpu")
    merge(shards[:2], other)
    on_gpu = shard(tmp_path / "shard-on-gpu", 3)
    (stored,) = sessions(on_gpu)
    options = stored.session.request["options"] | {"device": "cuda"}
    on_gpu.write_session(replace(stored.session, request=stored.session.request | {"options": options}))
    assert len(merge([on_gpu], other).waiting) == 2


def test_a_failed_run_is_a_record_of_the_joined_session(shards, target, tmp_path):
    """What failed is joined like what did not."""
    bad = shard(tmp_path / "bad", 3, records=[failed("quality", "distilbert", task_name="sst2", seed=1)])
    merge([*shards[:2], bad], target)
    assert [record.status for record in sessions(target)[0].records].count("failed") == 1


def test_what_differs_is_named_and_not_overwritten(tmp_path, target):
    """Of two records of one run the target keeps its own."""
    stored_session(tmp_path / "a", records=[size_record()])
    stored_session(target.root, records=[size_record(unique=1000)])
    merged = merge([Store(tmp_path / "a")], target)
    assert (merged.copied, len(merged.problems)) == (0, 1)
    assert "left out, it differs" in merged.problems[0]
    assert sessions(target)[0].records == (size_record(unique=1000),)


def test_a_run_that_has_lost_its_raw_values_is_left_out(tmp_path, target):
    """A record never comes without the predictions that it names."""
    stored = stored_session(tmp_path / "a", scored=[("bert", predictions(0.8))])
    for path in stored.folder.glob("*.parquet"):
        path.write_bytes(b"")
    merged = merge([Store(tmp_path / "a")], target)
    assert (merged.copied, len(merged.problems)) == (0, 1)


def test_checkpoints_come_along(tmp_path, target):
    """A run's checkpoint is copied; another one under its name is not overwritten, and the copy is numbered."""
    key = "a" * 64
    for name, content in (("a", b"a"), ("b", b"b")):
        session_id = f"20261124T120000-{name * 6}"
        record = quality_record(
            "bert", predictions(0.8), finetuned_checkpoint=f"checkpoints/{key}", session_id=session_id
        )
        stored_session(tmp_path / name, records=[record], session=session_record(session_id=session_id))
        folder = tmp_path / name / "checkpoints" / key
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(content)
    merge([Store(tmp_path / "a"), Store(tmp_path / "b")], target)
    merge([Store(tmp_path / "a"), Store(tmp_path / "b")], target)
    kept = {
        record.session_id[-1]: (target.checkpoint(record) / "model.safetensors").read_bytes()
        for stored in sessions(target)
        for record in stored.records
    }
    assert kept == {"a": b"a", "b": b"b"}
    assert sorted(path.name for path in target.checkpoints_folder.iterdir()) == [key, f"{key}-2"]


def test_a_checkpoint_with_links_is_left_out(tmp_path, target):
    """What a stranger's folder links to is neither read nor copied; the record comes without."""
    key = "a" * 64
    stored_session(
        tmp_path / "a", records=[quality_record("bert", predictions(0.8), finetuned_checkpoint=f"checkpoints/{key}")]
    )
    folder = tmp_path / "a" / "checkpoints" / key
    folder.mkdir(parents=True)
    (folder / "model.safetensors").symlink_to("/etc/hostname")
    merged = merge([Store(tmp_path / "a")], target)
    assert "its checkpoint is left out" in merged.problems[0]
    assert sessions(target)[0].records[0].finetuned_checkpoint is None


def test_the_command_says_what_it_did(shards, target, capsys):
    """A line each for what was copied, joined or is missing; exit code 1 where something was left out."""
    folders = [str(store.root) for store in shards]
    assert cli.main(["merge", *folders[:2], "--into", str(target.root)]) == 0
    assert (
        "not joined yet: bert, distilbert: shards 1/3, 2/3 are here, 1 of 3 cells is missing" in capsys.readouterr().out
    )
    assert cli.main(["merge", folders[2], "--into", str(target.root)]) == 0
    out = capsys.readouterr().out
    assert "1 record copied" in out
    assert "joined to session 20261124T120001-" in out
    assert cli.main(["merge", folders[0], "--into", folders[0]]) == 2
    assert cli.main(["merge", "nowhere", "--into", folders[0]]) == 2


def test_a_shard_that_was_measured_again_is_named_when_it_goes(shards, target, tmp_path):
    """Of two sessions of one shard the older is dropped, and said by its name."""
    newer = shard(tmp_path / "newer", 3, session_id="20261125T120000-bbbbbb")
    merged = merge([*shards, newer], target)
    assert merged.outdated == ["20261124T120003-aaaaa3"]


@pytest.mark.parametrize(
    "odd",
    [{}, {"units": []}, {"units": [7]}, {"total": 10**15, "units": [10**15]}, {"units": [0], "total": 10**15}],
)  # fmt: skip
def test_what_a_stranger_calls_a_shard_is_left_alone(shards, target, odd):
    """A part that is not described as bertbench does it is no shard: nothing fails, nothing is removed, and its grid is never whole."""
    (store, *_) = shards
    (stored,) = store.sessions()
    part = stored.session.request["part"] | odd if odd else {}
    store.write_session(replace(stored.session, request=stored.session.request | {"part": part}))
    merged = merge([Store(each.root) for each in shards], target)
    assert merged.joined == []
    assert len(sessions(target)) == 3


def test_merging_into_nothing_makes_nothing(tmp_path, capsys):
    """Without folders to read, the one with shards must be there."""
    assert cli.main(["merge", "--into", str(tmp_path / "typo")]) == 2
    assert "not there" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()
