"""Checkpoints of earlier versions, several processes, wrapped models and scripts' own classes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("recbole")

from helpers.recbole_kit import small_checkpoint, small_data
from recsae.core.errors import CannotOpenModel
from recsae.recommender.evaluation import evaluate
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.open import open_checkpoint
from recsae_recbole.versions import bring_up_to_date, without_wrappers

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]

EVALUATION = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
SAMPLED = {"distribution": "uniform", "sample_num": 10}
ALL = {"distribution": "uniform", "sample_num": "none"}


def completed(**settings):
    config = SimpleNamespace(final_config_dict=settings)
    return bring_up_to_date(config, None), config.final_config_dict


def test_settings_of_recbole_1_1():
    version, found = completed(eval_args={**EVALUATION, "mode": "uni10"}, single_spec=False)
    assert version == "1.1"
    assert found["eval_args"] == {**EVALUATION, "mode": {"valid": "uni10", "test": "uni10"}}
    assert found["valid_neg_sample_args"] == found["test_neg_sample_args"] == SAMPLED
    assert found["single_spec"] is True
    assert found["numerical_features"] == []


def test_settings_of_recbole_1_0():
    version, found = completed(eval_args={"mode": "full"}, neg_sampling={"popularity": 2})
    assert version == "1.0"
    assert found["train_neg_sample_args"]["distribution"] == "popularity"
    assert found["train_neg_sample_args"]["sample_num"] == 2
    assert found["test_neg_sample_args"] == ALL
    assert found["eval_args"]["split"] == {"RS": [0.8, 0.1, 0.1]}
    _, found = completed(eval_args={"mode": "full"}, neg_sampling=None)
    assert found["train_neg_sample_args"]["distribution"] == "none"


def test_settings_of_this_version_stay():
    given = {
        "eval_args": {**EVALUATION, "mode": {"test": "pop5"}},
        "train_neg_sample_args": {"distribution": "none"},
        "valid_neg_sample_args": ALL,
        "numerical_features": ["price"],
    }
    version, found = completed(**given)
    assert version is None
    assert found["eval_args"]["mode"] == {"valid": "pop5", "test": "pop5"}
    for name in ("train_neg_sample_args", "valid_neg_sample_args", "numerical_features"):
        assert found[name] == given[name]


def test_settings_before_1_0_are_refused():
    with pytest.raises(CannotOpenModel, match=r"before 1\.0 \(eval_setting='RO_RS,full'"):
        completed(eval_setting="RO_RS,full")


def test_names_of_wrapped_weights():
    assert without_wrappers({"module._orig_mod.a": 1, "module._orig_mod.b": 2}) == {"a": 1, "b": 2}
    assert without_wrappers({"_orig_mod.module.a": 1}) == {"a": 1}
    assert without_wrappers({"module.a": 1, "b": 2}) == {"module.a": 1, "b": 2}
    assert without_wrappers({}) == {}
    assert without_wrappers({"net.model.a": 1, "net.model.b.c": 2}, ["a", "b.c"]) == {
        "a": 1,
        "b.c": 2,
    }
    assert without_wrappers({"b.a": 1, "a": 2}, ["a", "b.a"]) == {"b.a": 1, "a": 2}
    assert without_wrappers({"net.a": 1, "b": 2}, ["a", "b"]) == {"net.a": 1, "b": 2}


def older(checkpoint):
    settings = checkpoint["config"].final_config_dict
    settings["eval_args"]["mode"] = settings["eval_args"]["mode"]["test"]
    for name in ("train", "valid", "test"):
        settings.pop(f"{name}_neg_sample_args", None)
    settings.pop("numerical_features")
    settings.update(single_spec=False, nproc=2, world_size=2, local_rank=0, offset=0)
    names = list(checkpoint["state_dict"])
    checkpoint["state_dict"] = {f"module.{name}": checkpoint["state_dict"][name] for name in names}


@pytest.mark.parametrize("mode", ["full", "uni5", "pop5"])
def test_an_older_checkpoint_evaluates_like_one_of_this_version(mode, tmp_path):
    args = {"eval_args": {**EVALUATION, "mode": mode}}
    found = []
    for change in (None, older):
        with recbole_boundary():
            path = small_checkpoint(tmp_path / "x.pth", change=change, **args)
        recommender = open_checkpoint(path, trust=True, data_path=small_data())
        metrics = evaluate(recommender, recommender.evaluation("test"))
        found.append({name: values.tolist() for name, values in metrics.items()})
    assert found[0] == found[1]


def test_an_older_checkpoint_that_does_not_fit_says_its_version(tmp_path):
    def change(checkpoint):
        older(checkpoint)
        checkpoint["config"].final_config_dict["n_layers"] = 1

    with recbole_boundary():
        path = small_checkpoint(tmp_path / "x.pth", change=change)
    with pytest.raises(
        CannotOpenModel, match=r"do not fit .* written by RecBole 1\.1, whose models"
    ):
        open_checkpoint(path, trust=True, data_path=small_data())


SCRIPT = """
import torch
class Mine: pass
checkpoint = torch.load(PATH, weights_only=False)
torch.save({**checkpoint, "mine": Mine()}, PATH)
"""


def test_a_class_of_the_script_that_trained(tmp_path):
    with recbole_boundary():
        path = small_checkpoint(tmp_path / "x.pth")
    script = "from recsae_recbole.boundary import recbole_boundary\nwith recbole_boundary():\n"
    script += "    import recbole.config" + SCRIPT.replace("PATH", repr(str(path))).replace(
        "\n", "\n    "
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    with pytest.raises(
        CannotOpenModel, match=r"class 'Mine', .*`import __main__; __main__\.Mine = M"
    ):
        open_checkpoint(path, trust=True, data_path=small_data())
