"""The folder of a run: what is done again, what is refused, and what is left after a kill."""

import traceback

import pytest

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, InvalidInput, RecSAEError
from recsae.core.files import read_json, write_json
from recsae.pipeline.plan import STAGES
from recsae.run.config import RunConfig
from recsae.run.record import Run

CONFIG = RunConfig(checkpoint="x.pth")


def started(folder, *sources, config=CONFIG, model="model"):
    run = Run(folder, config)
    run.start([str(s) for s in sources], model, {"torch": "2"})
    return run


def stage(run, name, made_from=1, text="content", output=None):
    """Whether a stage that writes one file did something."""
    output = output or f"{name}.txt"
    return run.stage(name, made_from, [output], lambda: (run.folder / output).write_text(text))


def finished(folder, *sources):
    run = started(folder, *sources)
    for name in STAGES:
        stage(run, name)
    return run


# -- stages ----------------------------------------------------------------------------------------


def test_a_stage_is_done_once(tmp_path):
    run = started(tmp_path / "run")
    assert stage(run, "capture")
    assert not stage(run, "capture")
    assert not stage(started(tmp_path / "run"), "capture")  # in a later process
    assert stage(run, "train")
    assert stage(run, "accuracy")
    run = started(tmp_path / "run")
    assert (
        list(run.seconds(STAGES)) == list(run.peak_mb(STAGES)) == ["capture", "train", "accuracy"]
    )
    assert min(run.seconds(STAGES).values()) >= 0
    assert min(run.peak_mb(STAGES).values()) > 10


def test_a_stage_is_done_again_where_its_inputs_changed(tmp_path):
    run = started(tmp_path)
    stage(run, "capture", [1, {"b": 2, "a": None}])
    assert not stage(run, "capture", [1, {"a": None, "b": 2}])
    assert stage(run, "capture", [1, {"a": None, "b": 3}])


@pytest.mark.parametrize("damage", ["altered", "cut", "gone"])
def test_a_stage_is_done_again_where_its_files_changed(damage, tmp_path):
    """All of them, so that nothing half-damaged is taken for a beginning."""
    run = started(tmp_path)
    seen = []

    def work():
        seen.append(sorted(p.name for p in tmp_path.glob("*.txt")))
        (tmp_path / "a.txt").write_text("a")
        (tmp_path / "b.txt").write_text("b")

    run.stage("train", 1, ["a.txt", "b.txt"], work)
    if damage == "gone":
        (tmp_path / "b.txt").unlink()
    else:
        (tmp_path / "b.txt").write_text({"altered": "c", "cut": ""}[damage])
    assert run.stage("train", 1, ["a.txt", "b.txt"], work)
    assert seen == [[], []]
    assert (tmp_path / "b.txt").read_text() == "b"


def test_a_stage_that_fails_is_not_recorded(tmp_path):
    run = started(tmp_path)
    with pytest.raises(ZeroDivisionError):
        run.stage("capture", 1, ["x"], lambda: 1 / 0)
    assert read_json(tmp_path / "run.json")["stages"] == {}
    assert stage(run, "capture")


def test_a_stage_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        started(tmp_path).stage("capture", 1, ["x"], lambda: None)


# -- finished or not -------------------------------------------------------------------------------


def test_finished(tmp_path):
    source = tmp_path / "x.pth"
    source.write_text("weights")
    finished(tmp_path / "run", source)
    assert Run(tmp_path / "run").is_finished(STAGES)
    assert Run(tmp_path / "run", CONFIG).is_finished(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_not_finished_without_a_stage_or_with_an_altered_file(name, tmp_path):
    run = finished(tmp_path)
    (tmp_path / f"{name}.txt").write_text("Content")
    assert not run.is_finished(STAGES)
    stage(run, name)
    assert run.is_finished(STAGES)
    del run.record["stages"][name]
    assert not run.is_finished(STAGES)


@pytest.mark.parametrize("change", ["altered", "gone", "a folder"])
def test_not_finished_where_a_source_changed(change, tmp_path):
    source = tmp_path / "x.pth"
    source.write_text("weights")
    run = finished(tmp_path / "run", source)
    source.unlink()
    if change == "altered":
        source.write_text("Weights")
    elif change == "a folder":
        source.mkdir()
    assert not run.is_finished(STAGES)


def test_a_run_from_before_a_setting_is_finished_with_its_default(tmp_path):
    run = finished(tmp_path)
    for later in ("labeler", "sae"):
        del run.record["config"][later]
    write_json(tmp_path / layout.RUN, run.record)
    assert Run(tmp_path, CONFIG).is_finished(STAGES)
    changed = CONFIG.model_copy(update={"labeler": "mine"})
    assert not Run(tmp_path, changed).is_finished(STAGES)


def test_not_finished_with_another_configuration(tmp_path):
    finished(tmp_path)
    assert not Run(tmp_path, RunConfig(checkpoint="x.pth", k=9)).is_finished(STAGES)
    assert not Run(tmp_path / "nothing", CONFIG).is_finished(STAGES)


def test_a_run_of_other_settings_is_not_made_over(tmp_path):
    finished(tmp_path)
    other = RunConfig(checkpoint="x.pth", k=9, seed=3)
    said = r"\(k not given there, 9 here; seed 0 there, 3 here\).*--replace"
    with pytest.raises(InvalidInput, match=said):
        Run(tmp_path, other).refuse_other_settings()
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(InvalidInput, match=said):
        Run(tmp_path, other).start([], "model", {}, replace=False)
    assert (tmp_path / "run.json").read_bytes() == before
    Run(tmp_path, CONFIG).refuse_other_settings()
    Run(
        tmp_path, RunConfig(checkpoint="moved.pth")
    ).refuse_other_settings()  # its model is compared
    Run(tmp_path / "nothing", other).refuse_other_settings()


def test_a_run_that_has_done_nothing_may_have_other_settings(tmp_path):
    started(tmp_path)
    Run(tmp_path, RunConfig(checkpoint="x.pth", k=9)).refuse_other_settings()


# -- damage, and who reads meanwhile ---------------------------------------------------------------


def test_stages_made_from_something_else_are_forgotten_before_a_file_changes(tmp_path):
    run = finished(tmp_path)
    kept = dict.fromkeys(STAGES, 1) | {"train": 2, "report": 2}
    files = {path: path.read_bytes() for path in tmp_path.glob("*.txt")}
    run.start([], "model", {}, lambda: kept)
    assert set(read_json(tmp_path / "run.json")["stages"]) == set(STAGES) - {"train", "report"}
    assert {path: path.read_bytes() for path in tmp_path.glob("*.txt")} == files


def test_a_stage_is_taken_out_of_the_record_while_it_is_done_again(tmp_path):
    run = finished(tmp_path)
    (tmp_path / "train.txt").write_text("damaged")

    def work():
        assert "train" not in read_json(tmp_path / "run.json")["stages"]
        (tmp_path / "train.txt").write_text("content")

    assert run.stage("train", 1, ["train.txt"], work)
    assert set(read_json(tmp_path / "run.json")["stages"]) == set(STAGES)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("text", ["content", "other"])
def test_later_stages_are_done_again_where_a_damaged_one_becomes_another(tmp_path, text, killed):
    """As where another machine rounds otherwise; what comes back as it was leaves them be."""
    finished(tmp_path)
    (tmp_path / "train.txt").write_text("damaged")
    run = started(tmp_path)
    if killed:
        with pytest.raises(KeyboardInterrupt):
            run.stage("train", 1, ["train.txt"], raising(KeyboardInterrupt))
        run = started(tmp_path)
    done = [
        name for name in STAGES if stage(run, name, text=text if name == "train" else "content")
    ]
    later = list(STAGES)[list(STAGES).index("train") :]
    assert done == (["train"] if text == "content" else later)
    assert run.is_finished(STAGES)
    assert not started(tmp_path).record.get("before")


def raising(error):
    def work():
        raise error

    return work


def test_files_of_a_pattern_are_recorded_and_only_the_damaged_ones_taken_away(tmp_path):
    outputs, seen = ["states/manifest.json", "states/*.bin"], []

    def work():
        (tmp_path / "states").mkdir(exist_ok=True)
        seen.append(sorted(p.name for p in (tmp_path / "states").iterdir()))
        for name in ("manifest.json", "0.bin", "1.bin"):
            (tmp_path / "states" / name).write_text(name)

    run = started(tmp_path)
    assert run.stage("capture", 1, outputs, work)
    recorded = read_json(tmp_path / "run.json")["stages"]["capture"]["outputs"]
    assert sorted(recorded) == ["states/0.bin", "states/1.bin", "states/manifest.json"]
    assert not run.stage("capture", 1, outputs, work)
    (tmp_path / "states/1.bin").write_text("1.bim")
    assert run.altered() == {"states/1.bin": "capture"}
    assert run.stage("capture", 1, outputs, work)
    assert seen == [[], ["0.bin"]]
    assert run.altered() == {}


def test_what_is_read_is_as_it_was_written(tmp_path):
    finished(tmp_path)
    run = Run(tmp_path)
    with run.reading("train.txt", "c*.txt"):
        pass
    with pytest.raises(ArtifactMismatch, match="is not finished"), run.reading("nothing.txt"):
        raise AssertionError("read")
    (tmp_path / "train.txt").write_text("contemt")
    said = r"train\.txt is not as the run left it: run the same"
    with pytest.raises(ArtifactMismatch, match=said), run.reading("train.txt"):
        raise AssertionError("read")
    (tmp_path / "train.txt").unlink()
    with pytest.raises(ArtifactMismatch, match=r"train\.txt is missing"), run.reading("*.txt"):
        raise AssertionError("read")


@pytest.mark.parametrize("moment", ["before", "meanwhile", "meanwhile, then an error"])
def test_who_reads_a_run_that_is_made_over_is_told(tmp_path, moment):
    finished(tmp_path)
    reader, maker = Run(tmp_path), Run(tmp_path, RunConfig(checkpoint="x.pth", k=9))
    maker.start([], "model", {})

    def made_over():
        assert stage(maker, "train", made_from=2, text="another")

    def read():
        with reader.reading("train.txt"):
            if moment != "before":
                made_over()
            if moment == "meanwhile, then an error":
                raise ArtifactMismatch("train.txt cannot be understood")

    if moment == "before":
        made_over()
    with pytest.raises(ArtifactMismatch, match="has been made anew meanwhile: give the command"):
        read()
    with Run(tmp_path).reading("train.txt"):
        assert (tmp_path / "train.txt").read_text() == "another"


def test_what_another_stage_leaves_is_no_matter(tmp_path):
    """A report written again while concepts are read."""
    finished(tmp_path)
    reader, writer = Run(tmp_path), Run(tmp_path)
    with reader.reading("train.txt"):
        (tmp_path / "report.txt").write_text("redacted")
        writer.keep("report")


def test_who_comes_second_sees_what_the_first_did(tmp_path):
    """The record is read again once the folder is ours."""
    second = Run(tmp_path, CONFIG)
    finished(tmp_path)
    second.start([], "model", {})
    assert set(second.record["stages"]) == set(STAGES)
    assert not stage(second, "train")


def test_files_rebuilt_on_purpose_are_kept(tmp_path):
    run = finished(tmp_path)
    (tmp_path / "report.txt").write_text("without names")
    run.keep("report")
    assert Run(tmp_path).is_finished(STAGES)
    (tmp_path / "report.txt").write_text("content")
    assert not Run(tmp_path).is_finished(STAGES)
    run.keep("no such stage")
    assert set(Run(tmp_path).record["stages"]) == set(STAGES)


# -- the folder ------------------------------------------------------------------------------------


def test_the_record_is_complete_and_survives(tmp_path):
    source = tmp_path / "x.pth"
    source.write_text("weights")
    run = started(tmp_path / "run", source)
    stage(run, "capture")
    record = read_json(tmp_path / "run" / "run.json")
    assert set(record) == {"version", "config", "model", "sources", "versions", "stages"}
    assert set(record["stages"]["capture"]) == {
        *("made_from", "outputs", "seconds", "cpu_seconds", "peak_mb"),
    }
    assert record["config"] == CONFIG.model_dump()
    again = started(tmp_path / "run", source, config=RunConfig(checkpoint="x.pth", seed=5))
    assert again.record["stages"] == record["stages"]
    assert Run(tmp_path / "run").config.seed == 5


def test_a_model_of_another_run_is_refused_and_nothing_changes(tmp_path):
    stage(started(tmp_path), "capture")
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ArtifactMismatch, match=r"another model or data set \(x\.pth\).*--out"):
        started(tmp_path, model="other")
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("five years of work")
    (tmp_path / ".thesis.txt.7.part").write_text("more")
    with pytest.raises(InvalidInput, match="is not empty and holds no run"):
        started(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".thesis.txt.7.part", "thesis.txt"]


def test_an_empty_folder_and_one_that_is_not_there(tmp_path):
    assert stage(started(tmp_path), "capture")
    assert stage(started(tmp_path / "a" / "b"), "capture")


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path):
    folder = tmp_path / "run"
    (folder).mkdir()
    (folder / ".run.json.17.part").write_text("{")  # killed at the very first write
    run = started(folder)
    stage(run, "capture")
    (folder / "sae").mkdir()
    for left in (".run.json.18.part", "sae/.cfg.json.18.part", "sae/.tmpA1b2C3"):
        (folder / left).write_text("{")
    (folder / "mine").mkdir()
    (folder / "mine" / ".film.18.part").write_text("mine")  # in no folder of ours
    started(folder)
    names = ["capture.txt", "mine", "mine/.film.18.part", "run.json", "sae"]
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")) == names


@pytest.mark.parametrize("name", ["../mine.txt", "sae/../../mine.txt", "ABSOLUTE", "link/mine.txt"])
def test_a_record_of_files_elsewhere_is_refused_and_they_stay(tmp_path, name):
    mine = tmp_path / "mine.txt"
    mine.write_text("five years of work")
    folder = tmp_path / "run"
    run = started(folder)
    stage(run, "capture")
    (folder / "link").symlink_to(tmp_path)
    name = str(mine) if name == "ABSOLUTE" else name
    record = read_json(folder / "run.json")
    record["stages"]["capture"]["outputs"] = {name: "0"}
    write_json(folder / "run.json", record)
    with pytest.raises(ArtifactMismatch, match="which is not in the folder of the run"):
        Run(folder, CONFIG)
    assert mine.read_text() == "five years of work"


def test_only_files_that_the_plan_lists_are_made_anew(tmp_path):
    run = started(tmp_path)
    stage(run, "capture")
    (tmp_path / "notes.txt").write_text("mine")
    run.record["stages"]["capture"]["outputs"]["notes.txt"] = "0"
    assert stage(run, "capture")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_no_run(tmp_path):
    with pytest.raises(ArtifactMismatch, match=r"holds no run .* `recsae run CHECKPOINT --out"):
        Run(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", r"run\.json is damaged: put back a copy of it, or choose another folder"),
        ('{"version": 1', r"run\.json is damaged"),
        ("[]", "another version of recsae, whose figures mean something else: run again"),
        (
            '{"version": 99}',
            "another version of recsae, whose figures mean something else: run again",
        ),
        ("{}", "another version of recsae, whose figures mean something else: run again"),
    ],
)
@pytest.mark.parametrize("config", [None, CONFIG])
def test_a_record_that_cannot_be_used(content, match, config, tmp_path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ArtifactMismatch, match=match):
        Run(tmp_path, config)


def test_the_configuration_knows_no_other_keys():
    with pytest.raises(ValueError, match="layers"):
        RunConfig(checkpoint="x", layers=2)
    with pytest.raises(ValueError, match="k"):
        RunConfig(checkpoint="x", k=0)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RecSAEError, match=r"run\.json cannot be written"):
        started(tmp_path / "run")


# -- a record that somebody wrote ------------------------------------------------------------------

OTHER_FORMS = {
    "config": [None, [], {"seed": "x"}, {"latents": 10**9}, {"x": 1}],
    "model": [None, 1],
    "sources": [None, [], {"x": 1}],
    "versions": [None, 1],
    "stages": [None, [], {"train": 1}, {"train": {}}, {"train": {"outputs": ["x"]}}],
}


@pytest.mark.parametrize("key", OTHER_FORMS)
def test_a_record_of_another_form_is_refused_by_its_place(tmp_path, key):
    path = finished(tmp_path / "run").folder / "run.json"
    record = read_json(path)
    others = [{**record, key: value} for value in OTHER_FORMS[key]]
    for content in [*others, {name: value for name, value in record.items() if name != key}]:
        write_json(path, content)
        with pytest.raises(ArtifactMismatch, match=rf"this version of recsae: at {key}"):
            Run(tmp_path / "run")


def test_a_password_in_an_older_record_is_in_no_message(tmp_path):
    path = finished(tmp_path / "run").folder / "run.json"
    record = read_json(path)
    record["config"]["language"] = {"base_url": "http://u:hunter2@x/v1", "model": "m"}
    write_json(path, record)
    with pytest.raises(ArtifactMismatch, match=r"at config\.language\.base_url") as error:
        Run(tmp_path / "run")
    assert "hunter2" not in "".join(traceback.format_exception(error.value))
