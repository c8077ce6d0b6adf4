"""Opening a RecBole checkpoint changes nothing else in the process or in the working folder."""

import logging
import os
import random
import subprocess
import sys
import warnings
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

pytest.importorskip("recbole")

import yaml
from scipy.sparse import dok_matrix

from helpers.recbole_kit import FOLDER, small_checkpoint, tiny
from recsae.core.errors import CannotOpenModel
from recsae_recbole import boundary
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.open import open_checkpoint

pytestmark = [pytest.mark.recbole, pytest.mark.processes]


def everything():
    """What RecBole is known to change, and what it could."""
    root = logging.getLogger()
    return {
        "numpy": sorted(n for n, v in vars(np).items() if not isinstance(v, ModuleType)),
        "anomaly mode": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "torch": (
            torch.get_rng_state().tolist(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
        ),
        "scipy": sorted(vars(dok_matrix)),
        "python": random.getstate(),
        "numpy's generator": [np.asarray(p).tolist() for p in np.random.get_state()],  # noqa: NPY002
        "numpy errors": np.geterr(),
        "logging": (root.level, list(root.handlers), logging.root.manager.disable),
        "argv": (id(sys.argv), list(sys.argv)),
        "path": list(sys.path),
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
        "yaml": yaml.load("[1e3, 1.0e+3, 12e-5]", yaml.FullLoader),
        "folder": (os.getcwd(), sorted(os.listdir())),  # noqa: PTH109, PTH208
    }


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A process with opinions of its own, in an empty folder."""
    talkative = ("FEARec", "SHAN", "S3Rec", "LightGCN", "SimpleX")
    small = [small_checkpoint(FOLDER / f"outside-{name}.pth", name) for name in talkative]
    checkpoints = tiny(), *small
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["recsae", "run", "x.pth", "--hidden_size=128", "--k=32"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    logging.getLogger().setLevel(logging.INFO)
    torch.manual_seed(11)
    random.seed(12)
    yield checkpoints
    logging.getLogger().setLevel(logging.WARNING)


@pytest.mark.parametrize("number", range(6))
def test_opening_changes_nothing(outside, number, capfd, caplog):
    before = everything()
    recommender = open_checkpoint(outside[number], trust=True)
    recommender.evaluation("test")
    recommender.describe()
    assert everything() == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert recommender.config["hidden_size"] == (8 if number else 64)
    assert "k" not in recommender.config


def test_nor_does_the_first_import(outside, tmp_path):
    """In new processes, where RecBole's modules have yet to be imported; they share the rest."""
    script = (
        f"import os, sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        "from pathlib import Path\n"
        "import test_boundary as test\n"
        f"for path in {[str(outside[number]) for number in (0, 4)]!r}:\n"
        "    if os.fork():\n"
        "        os.wait()\n"
        "        continue\n"
        "    before = test.everything()\n"
        "    assert 'recbole.config' not in sys.modules\n"
        "    test.open_checkpoint(Path(path), trust=True).evaluation('test')\n"
        "    after = test.everything()\n"
        "    sys.exit(str([key for key in before if before[key] != after[key]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--k=32"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr.split()) == ("", ["[]", "[]"])
    assert not any(tmp_path.iterdir())


def test_failing_half_way_changes_nothing(outside, monkeypatch):
    import recsae_recbole.open as module

    before = everything()
    for step in ("read_checkpoint", "open_data", "build_model"):
        with monkeypatch.context() as patched:
            patched.setattr(module, step, fail_like_recbole)
            with pytest.raises(ZeroDivisionError):
                open_checkpoint(outside[0], trust=True)
        assert everything() == before, step


def fail_like_recbole(*_, **__):
    """Do all that RecBole does to a process, then fail."""
    np.float = float  # noqa: NPY001
    sys.argv.append("--more")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.autograd.set_detect_anomaly(True)
    torch.backends.cudnn.deterministic = True
    logging.basicConfig(level=logging.ERROR, handlers=[logging.NullHandler()], force=True)
    yaml.FullLoader.add_implicit_resolver("!x", __import__("re").compile("1e3"), list("1"))
    raise ZeroDivisionError


def test_numpys_old_names_are_there_only_inside():
    with recbole_boundary():
        assert (np.float, np.bool) == (np.float64, np.bool_)  # noqa: NPY001
    assert not {"float", "object"} & set(vars(np))


def test_generators_are_seeded_as_by_recbole_but_for_cuda(monkeypatch):
    def draws(seed):
        seed(3)
        return random.random(), np.random.rand(), float(torch.rand(1))  # noqa: NPY002

    with recbole_boundary():
        from recbole.utils import init_seed

        theirs = draws(lambda seed: init_seed(seed, True))
        monkeypatch.setattr(torch.cuda, "manual_seed_all", None)
        assert draws(boundary.seed_generators) == theirs


def test_scipys_old_method_is_there_only_inside(monkeypatch):
    with recbole_boundary():
        matrix = dok_matrix((2, 2))
        matrix._update({(0, 1): 3.0})
        assert matrix.toarray().tolist() == [[0, 3], [0, 0]]
    assert not hasattr(dok_matrix, "_update")
    monkeypatch.setattr(dok_matrix, "_update", "theirs", raising=False)  # SciPy before 1.13
    with recbole_boundary():
        assert dok_matrix._update == "theirs"
    assert dok_matrix._update == "theirs"


def test_what_was_set_before_comes_back():
    torch.autograd.set_detect_anomaly(True)
    np.long = "theirs"
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    resolvers = yaml.FullLoader.yaml_implicit_resolvers
    yaml.FullLoader.yaml_implicit_resolvers = {"1": [("!mine", __import__("re").compile("1x"))]}
    try:
        with pytest.raises(ZeroDivisionError), recbole_boundary():
            fail_like_recbole()
        assert torch.is_anomaly_enabled()
        assert np.long == "theirs"
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
        assert [len(v) for v in yaml.FullLoader.yaml_implicit_resolvers.values()] == [1]
    finally:
        torch.autograd.set_detect_anomaly(False)
        del np.long
        del yaml.FullLoader.yaml_implicit_resolvers
    assert yaml.FullLoader.yaml_implicit_resolvers == resolvers


CURE = 'Try: pip install "recsae[recbole]"'


@pytest.mark.parametrize(
    ("missing", "pandas", "why"),
    [
        ("recbole", "2.2.0", "RecBole is not installed"),
        ("recbole", "3.1.0", "RecBole is not installed"),
        ("recbole.config", "3.1.0", "RecBole is not installed"),
        ("colorlog", "2.2.0", "RecBole cannot be imported (import of colorlog halted"),
        (None, "3.1.0", "RecBole misreads data sets under pandas 3.1.0"),
    ],
)
@pytest.mark.parametrize("python", [(3, 11), (3, 12)])
def test_what_is_missing_is_completed_by_one_command(monkeypatch, missing, pandas, why, python):
    """The base package alone lacks RecBole and has pandas 3: one command mends both."""
    if missing:
        for name in [name for name in sys.modules if name.partition(".")[0] == "recbole"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(boundary.pd, "__version__", pandas)
    monkeypatch.setattr(boundary.sys, "version_info", python)
    with pytest.raises(CannotOpenModel) as error:
        recbole_boundary().__enter__()
    more = " && pip install --no-deps recbole==1.2.1" if python == (3, 12) else ""
    assert str(error.value).startswith(why)
    assert str(error.value).endswith(f". {CURE}{more}")


def test_the_extra_of_that_command_has_all_that_is_missing():
    extras = ConfigParser()
    extras.read(Path(__file__).parents[3] / "setup.cfg")
    asked = extras["options.extras_require"]["recbole"]
    assert 'recbole==1.2.1; python_version < "3.12"' in asked
    assert "pandas<3\n" in asked
