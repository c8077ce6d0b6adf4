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
    composed,
    described,
    load_steering,
    place,
    save_steering,
    steering_files,
)
from recsae.steering.steps.kinds import Direction, Filter, ReRanking

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
CALIBRATED = {"calibration": {"p": 1.2, "place": 0.1, "popularity": -0.2}}
EVERY_KIND = [
    *STEERING.steps,
    Direction(name="class mean", vector=(0.5,) * 12, strength=2.0),
    Filter(never=("Horror",)),
    ReRanking(by="constant", less=("Drama",), strength=1.0, unit=0.3, candidates=100),
    ReRanking(by="log popularity", popularity="-", strength=0.2, unit=1.0),
    ReRanking(**{**RE_RANKED, "more": ("Comedy",)}),
]


@pytest.fixture
def folder(tmp_path, planted_run):
    return copy_of(planted_run, tmp_path / "run")


def test_what_is_kept_comes_back_and_is_listed(folder):
    assert steering_files(folder) == []
    save_steering(STEERING, folder, place(folder, "less horror"))
    assert load_steering(folder, folder / "steering/less horror.json") == STEERING
    assert [path.stem for path in steering_files(folder)] == ["less horror"]
    assert described(STEERING) == "Horror = 0.25 to 1.5; 3 x2 where active (for 2 users)"
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
        "re-ranked by probability: more Comedy (strength 0.5)",
    ):
        assert words in said


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
            st.lists(st.integers(0, 15), min_size=1, max_size=4).map(tuple),
            st.sampled_from(["set", "scale", "add", "at_most", "at_least"]),
            st.floats(-1e9, 1e9),
            st.text(st.characters(exclude_categories=("Cs",)), max_size=9),
            st.sampled_from(["everyone", "active"]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.none()
    | st.lists(st.text(st.characters(exclude_categories=("Cs",))), min_size=1, max_size=9).map(
        tuple
    ),
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
    save_steering(STEERING, folder, folder / "one.json")
    save_steering(STEERING._replace(users=None, cohort=None), folder, folder / "one.json")
    assert load_steering(folder, folder / "one.json").users is None


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


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"steps": []}, "no steering file: steps"),
        ({"version": 3}, "no steering file: version"),
        ({"more": 1}, "no steering file: more"),
        ({"steps": [{"latents": [1], "op": "set", "value": 1}]}, "steps.0.*'kind'"),
        ({"version": 1, "steps": [{"latents": [1], "op": "turn", "value": 1}]}, "steps.0.*op"),
        ({"version": 1, "steps": [{"latents": [], "op": "set", "value": 1}]}, "steps.0.*latents"),
        ({"version": 1, "steps": [1]}, "no steering file: steps.0"),
        ({"steps": [{"kind": "filter", "never": []}]}, "steps.0.filter.never"),
        ({"steps": [RE_RANKED | {"temperature": None}]}, "temperature is for re-ranking by prob"),
        ({"steps": [RE_RANKED | {"more": []}]}, "needs something to favour"),
        ({"steps": [RE_RANKED | {"candidates": 9}]}, "steps.0.re-ranking.candidates"),
        ({"steps": [RE_RANKED | {"temperature": 1e308}]}, "steps.0.re-ranking.temperature"),
        ({"steps": [RE_RANKED | {"strength": -1e308}]}, "steps.0.re-ranking.strength"),
        (
            {"steps": [RE_RANKED | {"strength": 1e8, "unit": 1e8}]},
            "strength times unit must lie between -1e\\+09 and 1e\\+09",
        ),
        (
            {"steps": [{"kind": "direction", "name": "x", "vector": [1e300], "strength": 1}]},
            "steps.0.direction.vector.0",
        ),
        ({"users": None, "cohort": "concept:Horror>0.5"}, "how users were chosen, and no users"),
        ({"steps": [RE_RANKED | {"by": "log popularity"}]}, "temperature is for re-ranking by"),
        (
            {"steps": [RE_RANKED | {"by": "constant", "temperature": None} | CALIBRATED]},
            "calibration is for re-ranking by probability",
        ),
    ],
)
def test_files_that_are_none(folder, change, match):
    path = folder / "one.json"
    save_steering(STEERING, folder, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InvalidInput, match=match):
        load_steering(folder, path)


def test_no_json_and_no_file(folder):
    save_steering(STEERING, folder, place(folder, "horror"))
    (folder / "one.json").write_text("{")
    with pytest.raises(InvalidInput, match="it is not JSON"):
        load_steering(folder, folder / "one.json")
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
