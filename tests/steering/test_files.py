"""Steering files: what is written is what is read, for the same run only."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.runs import copy_of
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json, write_json
from recsae.run.record import Run
from recsae.sae.editing import Intervention
from recsae.steering.files import (
    Steering,
    check_place,
    check_saving,
    composed,
    described,
    load_steering,
    place,
    save_steering,
    steering_files,
)
from recsae.steering.steps.kinds import Calibration, Direction, Filter, ReRanking

pytestmark = pytest.mark.end_to_end


STEERING = Steering(
    [
        Intervention((3, 5), "set", (1.5, 0.25), "Horror"),
        Intervention((3,), "scale", 2.0, where="active"),
    ],
    ("u1", "u7"),
    "concept:Horror>0.1",
)


RE_RANKED = {
    "kind": "re-ranking",
    "by": "probability",
    "more": ["Comedy"],
    "strength": 0.5,
    "unit": 0.01,
    "temperature": 0.7,
}
LIKELIER = {"powers": {"p": 1.2, "place": 0.1, "popularity": -0.2}}
EVERY_KIND = [
    *STEERING.steps,
    Direction(name="class mean", vector=(0.5,) * 12, strength=2.0),
    Filter(never=("Horror",)),
    ReRanking(by="constant", less=("Drama",), strength=1.0, unit=0.3, candidates=100),
    ReRanking(by="log popularity", popularity="-", strength=0.2, unit=1.0),
    ReRanking(**{**RE_RANKED, "more": ("Comedy",)} | LIKELIER),
]
CALIBRATED = Calibration(
    attribute="genre", by="greedy", strength=0.01, temperature=0.7, candidates=100
)


@pytest.fixture
def folder(tmp_path, planted_run):
    return copy_of(planted_run, tmp_path / "run")


def test_what_is_kept_comes_back_and_is_listed(folder):
    assert steering_files(folder) == []
    save_steering(STEERING, folder, place(folder, "less horror"))
    assert load_steering(folder, folder / "steering/less horror.json") == STEERING
    assert [path.stem for path in steering_files(folder)] == ["less horror"]
    assert described(STEERING) == (
        "Horror: set to 0.25 to 1.5 for everybody; latent 3: 2 times as strong where active "
        "(for 2 users)"
    )
    assert described(STEERING._replace(users=None, cohort=None)).endswith("(for everybody)")


def test_every_kind_of_step_comes_back_in_the_order_in_which_it_is_done(folder):
    path = folder / "one.json"
    save_steering(Steering(EVERY_KIND[::-1]), folder, path)
    steps = load_steering(folder, path).steps
    assert [type(step) for step in steps] == [
        *(Direction, Intervention, Intervention, Filter, ReRanking, ReRanking, ReRanking)
    ]
    assert sorted(map(str, steps)) == sorted(map(str, EVERY_KIND))
    assert steps[-1] == EVERY_KIND[-1]
    said = described(Steering(EVERY_KIND))
    for words in (
        "2 times the direction 'class mean' added to every state",
        "lists without Horror",
        "re-ranked by a constant within the first 100: less Drama (strength 1)",
        "re-ranked by log popularity: less popular items (strength 0.2)",
        "re-ranked by calibrated probability: more Comedy (strength 0.5)",
    ):
        assert words in said


def test_a_calibration_comes_back_and_is_done_last(folder):
    path = folder / "one.json"
    steps = [CALIBRATED, *EVERY_KIND[:-1]]
    save_steering(Steering(steps), folder, path)
    assert load_steering(folder, path).steps[-1] == CALIBRATED
    said = "calibrated to each user's own genre greedily within the first 100 (strength 0.01)"
    assert said in described(Steering(steps))
    likely = {**RE_RANKED, "more": ("Comedy",)}
    for other in (CALIBRATED, ReRanking(**likely)):
        with pytest.raises(InvalidInput, match="re-rank by probability or calibrate"):
            save_steering(Steering([CALIBRATED, other]), folder, path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strength", -1.0),
        ("candidates", 9),
        ("by", "greedily"),
        ("temperature", 0.0),
        ("attribute", ""),
        ("gain", 1.0),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(folder, field, value):
    path = folder / "one.json"
    save_steering(Steering([CALIBRATED]), folder, path)
    content = json.loads(path.read_text())
    content["steps"][0][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match=f"one.json is no steering file: '{field}' of step 1 is"):
        load_steering(folder, path)


def test_files_of_the_first_version_are_read(folder):
    """Their steps turn latents and have no kind."""
    path = folder / "one.json"
    save_steering(STEERING, folder, path)
    content = json.loads(path.read_text())
    assert content["version"] == 2
    assert [step.pop("kind") for step in content["steps"]] == ["latents", "latents"]
    path.write_text(json.dumps(content | {"version": 1}))
    assert load_steering(folder, path) == STEERING


def test_one_list_is_made_by_probability_once(folder):
    twice = Steering([EVERY_KIND[-1], EVERY_KIND[-1]])
    with pytest.raises(InvalidInput, match="Two steps re-rank by probability"):
        save_steering(twice, folder, folder / "one.json")
    with pytest.raises(InvalidInput, match="Two steps re-rank by probability"):
        composed([Steering([EVERY_KIND[-1]])] * 2)


def test_a_direction_of_another_width(folder):
    direction = Direction(name="probe", vector=(0.5, 1.0), strength=2.0)
    with pytest.raises(InvalidInput, match="'probe' has 2 numbers, and states here have 12"):
        save_steering(Steering([direction]), folder, folder / "one.json")


@given(
    st.lists(
        st.builds(
            Intervention,
            st.lists(st.integers(0, 15), min_size=1, max_size=4, unique=True).map(tuple),
            st.sampled_from(["set", "scale", "add", "at_most", "at_least"]),
            st.floats(-1e9, 1e9),
            st.text(st.characters(exclude_categories=("Cs",)), max_size=9),
            st.sampled_from(["everyone", "active"]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.none()
    | st.lists(
        st.text(st.characters(exclude_categories=("Cs",))), min_size=1, max_size=9, unique=True
    ).map(tuple),
)
def test_whatever_is_kept_comes_back(tmp_path_factory, planted_run, steps, users):
    path = tmp_path_factory.mktemp("kept") / "one.json"
    save_steering(Steering(steps, users), planted_run, path)
    assert load_steering(planted_run, path) == Steering(steps, users)


@pytest.mark.parametrize("content", ["my only copy", '{"a": 1}', "[]", ""])
def test_only_a_steering_file_is_written_over(folder, content):
    path = folder / "other.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="there already and is no steering file: it stays"):
        save_steering(STEERING, folder, path)
    assert path.read_text() == content
    with pytest.raises(InvalidInput, match="there already"):
        save_steering(STEERING, folder, folder / "run.json")
    with pytest.raises(InvalidInput, match="there already and is no steering file: it stays"):
        save_steering(STEERING, folder, path, replace=True)


def test_another_steering_is_replaced_where_that_is_said_only(folder):
    path, other = folder / "one.json", STEERING._replace(users=None, cohort=None)
    save_steering(STEERING, folder, path)
    kept = path.read_bytes()
    check_saving(STEERING, folder, path, run=Run(folder))
    save_steering(STEERING, folder, path)  # the same content may be there
    assert path.read_bytes() == kept
    for refused in (
        lambda: save_steering(other, folder, path),
        lambda: check_saving(other, folder, path, run=Run(folder)),
        lambda: check_place(folder, path),
    ):
        with pytest.raises(
            InvalidInput,
            match=r"one.json keeps another steering already, Horror: "
            r".*: choose another name, or replace it \(--replace",
        ):
            refused()
    assert path.read_bytes() == kept
    check_place(folder, path, replace=True)
    save_steering(other, folder, path, replace=True)
    assert load_steering(folder, path) == other


def test_the_folder_of_a_path_has_to_be_there(folder, tmp_path):
    path = tmp_path / "nowhere" / "one.json"
    for refused in (
        lambda: check_place(folder, path),
        lambda: save_steering(STEERING, folder, path),
    ):
        with pytest.raises(InvalidInput, match=r"There is no folder .*nowhere to keep one.json in"):
            refused()
    assert not path.parent.exists()
    check_place(folder, place(folder, "one"))  # kept with the run, whose folder is made
    assert not (folder / "steering").exists()


def test_what_a_killed_process_left_of_a_steering_file_is_taken_away(folder, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in (".horror.json.7.part", ".other.json.7.part", ".tmpA1b2C3"):
        (mine / name).touch()
    save_steering(STEERING, folder, mine / "horror.json")
    left = sorted(path.name for path in mine.iterdir())
    assert left == [".other.json.7.part", ".tmpA1b2C3", "horror.json"]


def test_a_file_is_for_the_sae_that_was_opened(folder):
    """Though its run has been made over by the time that the file is written."""
    opened, record = Run(folder), read_json(folder / "run.json")
    record["stages"]["train"]["outputs"]["sae/sae.safetensors"] = "0" * 64
    write_json(folder / "run.json", record)
    with pytest.raises(ArtifactMismatch, match="has been made anew meanwhile"):
        save_steering(STEERING, folder, folder / "one.json", run=opened)
    assert not (folder / "one.json").exists()


@pytest.mark.parametrize("name", ["../outside", "a/b", "/tmp/x", "..", "."])
def test_a_bare_name_stays_in_the_run(name, tmp_path):
    with pytest.raises(InvalidInput, match=r"neither the name of a steering file .* nor a path"):
        place(tmp_path, name)


@pytest.mark.parametrize("nothing", [Steering([]), STEERING._replace(users=())])
def test_nothing_is_not_kept(nothing, folder):
    with pytest.raises(InvalidInput, match="nothing to keep"):
        save_steering(nothing, folder, folder / "none.json")
    assert not (folder / "none.json").exists()


@pytest.mark.parametrize(
    ("step", "match"),
    [
        (Intervention((3,), "scale", -2_159_173_887.0), "cannot be turned by -2.15917e"),
        (Intervention((16,), "set", 0.0), "There is no latent 16"),
        (Intervention((3, 4), "set", (1.0,)), "1 values for 2 latents"),
        (Intervention((3,), "set", float("nan")), "cannot be turned by nan"),
    ],
)
def test_what_is_refused_on_loading_is_refused_on_saving(folder, step, match):
    path = folder / "one.json"
    with pytest.raises(InvalidInput, match=match):
        save_steering(Steering([step]), folder, path)
    assert not path.exists()
    save_steering(STEERING, folder, path)
    content = json.loads(path.read_text())
    content["steps"][0] |= {"latents": step.latents, "value": step.value}
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInput):
        load_steering(folder, path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": "0"}, "made for another model than the run in"),
        ({"sae": "0"}, "made for another SAE than the run in"),
    ],
)
def test_files_of_another_run(folder, change, match):
    path = folder / "one.json"
    save_steering(STEERING, folder, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtifactMismatch, match=match):
        load_steering(folder, path)


LATENTS = {"kind": "latents", "latents": [1], "op": "set", "value": 1}
DIRECTION = {"kind": "direction", "name": "x", "vector": [0.5] * 12, "strength": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": []}, "'steps' is [], and must have an entry at least"),
        ({"steps": {}}, "'steps' is {}, and must be a list"),
        ({"steps": None}, "'steps' is null, and must be a list"),
        ({"steps": [1]}, "step 1 is 1, and must be an object"),
        ({"version": 3}, "'version' is 3, and must be 1 or 2"),
        ({"version": "2"}, "'version' is \"2\", and must be 1 or 2"),
        ({"more": 1}, "'more' is nothing that it can have"),
        ({"model": 5}, "'model' is 5, and must be a text"),
        ({"users": "u1"}, "'users' is \"u1\", and must be a list"),
        ({"users": [1]}, "entry 1 of 'users' is 1, and must be a text"),
        ({"users": []}, "'users' is [], and must have an entry at least"),
        ({"cohort": "\ud800"}, "its content is no text that can be written"),
        ({"goal": "x"}, "'goal' is \"x\", and must be an object"),
        ({"goal": {}}, "'max_loss' of 'goal' is missing"),
        ({"goal": {"max_loss": 2}}, "'max_loss' of 'goal' is 2, and must be less than 1"),
        (
            {"steps": [LATENTS | {"kind": "latent"}]},
            "the 'kind' of step 1 is 'latent', and must be one of 'latents', 'direction',",
        ),
        ({"steps": [{"latents": [1]}]}, "step 1 has no 'kind', such as 'latents'"),
        ({"steps": [LATENTS | {"op": "turn"}]}, "'op' of step 1 is \"turn\", and must be 'set',"),
        ({"steps": [LATENTS | {"latents": []}]}, "'latents' of step 1 is [], and must have an"),
        ({"steps": [LATENTS | {"latents": 3}]}, "'latents' of step 1 is 3, and must be a list"),
        (
            {"steps": [LATENTS, LATENTS | {"latents": [3, "4"]}]},
            "entry 2 of 'latents' of step 2 is \"4\", and must be a whole number",
        ),
        (
            {"steps": [LATENTS | {"latents": [1.5]}]},
            "entry 1 of 'latents' of step 1 is 1.5, and must be a whole number",
        ),
        ({"steps": [LATENTS | {"value": "2"}]}, "'value' of step 1 is \"2\", and must be a number"),
        ({"steps": [LATENTS | {"value": True}]}, "'value' of step 1 is true, and must be a number"),
        (
            {"steps": [LATENTS | {"value": float("nan")}]},
            "'value' of step 1 is NaN, and must be a finite number",
        ),
        (
            {"steps": [LATENTS | {"value": [1, "x"]}]},
            "entry 2 of 'value' of step 1 is \"x\", and must be a number",
        ),
        ({"version": 1, "steps": [LATENTS | {"op": "turn"}]}, "'op' of step 1 is \"turn\""),
        ({"version": 1, "steps": [1]}, "step 1 is 1, and must be an object"),
        ({"steps": [{"kind": "filter"}]}, "'never' of step 1 is missing"),
        ({"steps": [{"kind": "filter", "never": []}]}, "'never' of step 1 is [], and must have"),
        (
            {"steps": [RE_RANKED | {"temperature": None}]},
            "step 1: a temperature is for re-ranking by probability, which needs one",
        ),
        (
            {"steps": [RE_RANKED | {"by": "log popularity"}]},
            "step 1: a temperature is for re-ranking by",
        ),
        ({"steps": [RE_RANKED | {"more": []}]}, "step 1: a re-ranking needs something to favour"),
        (
            {"steps": [RE_RANKED | {"candidates": 9}]},
            "'candidates' of step 1 is 9, and must be at least 10",
        ),
        ({"steps": [RE_RANKED | {"unit": 0}]}, "'unit' of step 1 is 0, and must be more than 0"),
        (
            {"steps": [RE_RANKED | {"temperature": 1e308}]},
            "'temperature' of step 1 is 1e+308, and must be at most 1e+09",
        ),
        (
            {"steps": [RE_RANKED | {"strength": float("nan")}]},
            "'strength' of step 1 is NaN, and must be a finite number",
        ),
        (
            {"steps": [RE_RANKED | {"unit": float("-inf")}]},
            "'unit' of step 1 is -Infinity, and must be a finite number",
        ),
        (
            {"steps": [RE_RANKED | {"strength": 1e8, "unit": 1e8}]},
            "step 1: strength times unit must lie between -1e+09 and 1e+09",
        ),
        (
            {"steps": [DIRECTION | {"vector": [1e300]}]},
            "entry 1 of 'vector' of step 1 is 1e+300, and must be at most 1e+09",
        ),
        (
            {"steps": [RE_RANKED | {"by": "constant", "temperature": None} | LIKELIER]},
            "step 1: powers are for re-ranking by probability",
        ),
        (
            {"steps": [RE_RANKED | {"edits": "candidates"}]},
            "step 1: edits for candidates need candidates, and go by probability",
        ),
        (
            {"steps": [RE_RANKED | {"edits": "pushes", "candidates": 50}]},
            "step 1: what edits push is favoured, so nothing else can be",
        ),
    ],
)
def test_files_that_are_none_say_where_what_is_seen_and_what_is_meant(folder, change, said):
    refused = refusal_of(folder, change)
    assert f"one.json is no steering file: {said}" in refused
    assert refused.endswith(".")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"users": None, "cohort": "concept:Horror>0.5"}, "how users were chosen, and no users"),
        (
            {"steps": [LATENTS, LATENTS | {"latents": [16]}]},
            "step 2: There is no latent 16: the SAE",
        ),
        ({"steps": [LATENTS | {"latents": [-1]}]}, "step 1: There is no latent -1"),
        ({"steps": [LATENTS | {"latents": [10**30]}]}, f"step 1: There is no latent {10**30}"),
        ({"steps": [LATENTS | {"latents": [3, 3]}]}, "step 1: Latent 3 is turned twice at once"),
        ({"steps": [LATENTS | {"value": [1, 2]}]}, "step 1: 2 values for 1 latents"),
        ({"steps": [LATENTS | {"value": 1e10}]}, "step 1: A latent cannot be turned by 1e+10"),
        (
            {"steps": [LATENTS, DIRECTION | {"vector": [1]}]},
            "step 2: The direction 'x' has 1 numbers, and states here have 12",
        ),
    ],
)
def test_files_that_this_run_cannot_use_say_which_step(folder, change, said):
    refused = refusal_of(folder, change)
    assert "one.json cannot be used: " in refused
    assert said in refused


def refusal_of(folder, change):
    path = folder / "one.json"
    save_steering(STEERING, folder, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InvalidInput) as refused:
        load_steering(folder, path)
    return str(refused.value)


def test_a_user_who_is_there_twice_counts_once(folder):
    path = folder / "one.json"
    save_steering(STEERING, folder, path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"users": ["u7", "u1", "u7"]}))
    assert load_steering(folder, path).users == ("u7", "u1")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"\x89PNG", b"[" * 100_000, b'{"a": 1} x']
)
def test_what_is_no_json(folder, content):
    path = folder / "one.json"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"one.json is no steering file: it is not JSON\.$"):
        load_steering(folder, path)


def test_no_file(folder):
    save_steering(STEERING, folder, place(folder, "horror"))
    with pytest.raises(InvalidInput, match=r"no steering file .*\. Did you mean 'horror'"):
        load_steering(folder, place(folder, "horor"))


def test_files_are_composed_in_order_for_the_same_users():
    first, second = STEERING, STEERING._replace(steps=[Intervention((9,), "set", 0.0)])
    both = composed([first, second])
    assert both.steps == first.steps + second.steps
    assert (both.users, both.cohort) == (first.users, first.cohort)
    assert composed([]) == Steering([])
    with pytest.raises(InvalidInput, match="for different users"):
        composed([first, second._replace(users=None)])
