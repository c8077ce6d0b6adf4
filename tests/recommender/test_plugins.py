"""Plug-ins are found by entry point; a broken one is listed and never in the way."""

import pickle
import zipfile
from copy import copy
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae.recommender import plugins as plugin
from recsae.recommender.plugins import (
    get_plugin,
    installed,
    load_recommender,
    look_into_archive,
    look_into_pickle,
    unpickling_failed,
    usable_device,
)
from recsae.testing.planted import PlantedRecommender


class Opened(PlantedRecommender):
    """What was opened, with which options."""

    catalog, max_length = None, 5

    def __init__(self, source, options):
        self.source, self.options = source, options


class Toy:
    """Opens files that begin with "toy", and the number 7."""

    name = "toy"

    def recognises(self, source):
        if isinstance(source, Path):
            return source.read_bytes()[:3] == b"toy"
        return source == 7

    def open(self, source, **options):
        return Opened(source, options)

    def versions(self):
        return {"toybox": "1.2"}


class Unusable(Toy):
    name = "unusable"

    def recognises(self, source):
        return False

    def versions(self):
        raise ModuleNotFoundError("No module named 'toybox'\nand a second line")


class Raising(Toy):
    name = "raising"

    def recognises(self, source):
        raise RuntimeError("not again")


class RaisingLater(Toy):
    name = "raising later"

    def recognises(self, source):
        if isinstance(source, int):
            raise RuntimeError("not again")
        return False


class Exiting(Toy):
    def versions(self):
        raise SystemExit("a newer toybox is needed")


class Nonsense(Toy):
    def versions(self):
        return ["1.2"]


class Unfinished(Toy):
    """Its recommender is none."""

    def open(self, source, **options):
        return source


class Checked(Toy):
    def check(self):
        raise ModuleNotFoundError("No module named 'toys'")


class Half:
    name = "half"

    def open(self, source, **options):
        return source


class NotMade(Toy):
    def __init__(self):
        raise KeyError("toy")


toy = Toy()


@pytest.fixture
def plugins(monkeypatch):
    """Lets a test say which entry points are installed."""

    def install(**values: str) -> None:
        points = [EntryPoint(name, value, plugin.GROUP) for name, value in values.items()]
        monkeypatch.setattr(plugin, "entry_points", lambda group: points if group else [])

    return install


def test_this_packages_own_plugins_are_entry_points_like_any_other():
    names = [state.name for state in installed()]
    if not names:
        pytest.skip("recsae is on the path but not installed: it has no entry points")
    assert "recbole" in names


def test_states(plugins):
    plugins(zebra=f"{__name__}:toy", ape=f"{__name__}:Toy", bear=f"{__name__}:Unusable")
    ape, bear, zebra = installed()  # in the order of their names
    assert (ape.name, ape.state) == ("ape", "ready (toybox 1.2)")
    assert isinstance(ape.plugin, Toy)  # a class is made an object
    assert zebra.plugin is toy
    assert bear.state == "cannot work here: ModuleNotFoundError: No module named 'toybox'"
    assert (ape.package, ape.version) == ("?", "?")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:thing", "broken: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{__name__}:gone", "broken: AttributeError: "),
        ("broken_at_import:thing", "broken: ZeroDivisionError: "),
        ("exits_at_import:thing", "broken: SystemExit: no licence"),
        ("not:::python", "broken: AttributeError: "),
        (f"{__name__}:NotMade", "broken: KeyError: 'toy'"),
        (f"{__name__}:Half", f"broken: {__name__}:Half has no recognises, versions"),
        (f"{__name__}:pytest", f"broken: {__name__}:pytest has no name, recognises, open, vers"),
        (f"{__name__}:Raising", "broken: recognises() raised RuntimeError: not again"),
    ],
)
def test_broken_plugin_is_listed_and_not_raised(plugins, monkeypatch, tmp_path, value, words):
    (tmp_path / "broken_at_import.py").write_text("1 / 0")
    (tmp_path / "exits_at_import.py").write_text("raise SystemExit('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    plugins(bad=value, good=f"{__name__}:toy")
    bad, good = installed()
    assert bad.state.startswith(words)
    assert "\n" not in bad.state
    assert bad.plugin is None
    assert good.plugin is toy
    assert load_recommender(7).source == 7  # the others still work


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"{__name__}:Exiting", "cannot work here: SystemExit: a newer toybox is needed"),
        (f"{__name__}:Nonsense", "cannot work here: ValueError: "),
    ],
)
def test_plugin_whose_versions_fail_cannot_work_here(plugins, caplog, value, words):
    plugins(odd=value, toy=f"{__name__}:toy")
    assert installed()[0].state.startswith(words)
    assert load_recommender(7).source == 7
    assert caplog.records == []  # such as RecBole's where there is no RecBole: nothing is broken


def test_what_a_plugin_stands_on_is_imported_where_it_is_asked_for(plugins):
    plugins(toy=f"{__name__}:Checked")
    assert installed()[0].state == "ready (toybox 1.2)"
    thorough = installed(thorough=True)[0]
    assert thorough.state == "cannot work here: ModuleNotFoundError: No module named 'toys'"
    assert isinstance(thorough.plugin, Checked)


def test_keyboard_interrupt_is_nobodys_fault(plugins, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Toy, "versions", stop)
    plugins(toy=f"{__name__}:toy")
    with pytest.raises(KeyboardInterrupt):
        installed()


def test_broken_plugin_is_warned_of_once(plugins, caplog):
    plugins(absent="no_such_module:thing", later=f"{__name__}:RaisingLater", toy=f"{__name__}:toy")
    plugin._warn.cache_clear()
    for _ in range(2):
        assert load_recommender(7).source == 7
    assert [(r.name, r.levelname) for r in caplog.records] == [("recsae", "WARNING")] * 2
    first, second = (r.getMessage() for r in caplog.records)
    assert first.startswith("The plug-in 'absent' of the package ? ? is broken: ModuleNotFound")
    assert "'later' of the package ? ? is broken: recognises() raised RuntimeError" in second


def test_get_plugin(plugins):
    plugins(toy=f"{__name__}:toy", bad="no_such_module:thing")
    assert get_plugin("toy") is toy
    with pytest.raises(InvalidInput, match=r"'toi'.* Did you mean 'toy'"):
        get_plugin("toi")
    with pytest.raises(InvalidInput, match="'bad'"):
        get_plugin("bad")


def test_options_reach_the_plugin(plugins, tmp_path):
    plugins(toy=f"{__name__}:toy")
    path = tmp_path / "x.pth"
    path.write_bytes(b"toy and more")
    opened = load_recommender(str(path), trust=True, items="items.csv", device="cuda")
    assert opened.source == path
    assert opened.options == {
        "trust": True,
        "data_path": None,
        "items": "items.csv",
        "title_column": None,
        "attribute_columns": None,
        "device": "cuda",
    }


def test_nothing_is_trusted_unless_asked(plugins):
    plugins(toy=f"{__name__}:toy")
    assert load_recommender(7).options["trust"] is False


@pytest.mark.parametrize("name", ["x.pth", "x.zip", "x.npz"])
def test_what_unpacks_to_more_than_it_is_is_looked_at_no_further(plugins, tmp_path, name):
    plugins(toy=f"{__name__}:toy")
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x/data.pkl", bytes(10**8))
    size = path.stat().st_size
    assert size < 10**6
    with pytest.raises(CannotOpenModel, match=f"unpacks from {size:,} to 100,000,000 bytes"):
        load_recommender(path)


def test_entries_that_share_their_bytes_unpack_to_more_than_they_are(plugins, tmp_path):
    plugins(toy=f"{__name__}:toy")
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file:
        file.writestr("a", bytes(10**5))
        for number in range(50):  # the directory has them all at one place
            file.filelist.append(copy(file.filelist[0]))
            file.filelist[-1].filename = f"a{number}"
    with pytest.raises(CannotOpenModel, match="to 5,100,000 bytes"):
        load_recommender(tmp_path / "x.pth")


@pytest.mark.parametrize(("name", "words"), [("none.pth", "does not exist"), ("", "is a folder")])
def test_path_that_is_no_file(plugins, tmp_path, name, words):
    plugins(toy=f"{__name__}:toy")
    with pytest.raises(CannotOpenModel, match=words):
        load_recommender(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file, 0 bytes"),
        (b"PK\x03\x04...", "a zip archive, 7 bytes"),
        (b"?" * 1234, "no torch file, 1,234 bytes"),
    ],
)
def test_file_that_nobody_recognises_is_described(plugins, tmp_path, content, words):
    plugins(toy=f"{__name__}:toy", bad="no_such_module:thing")
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CannotOpenModel, match=rf"recognises .*x\.pth \({words}\)") as caught:
        load_recommender(path)
    assert "bad (broken: ModuleNotFoundError" in str(caught.value)
    assert "toy (ready (toybox 1.2))" in str(caught.value)


def test_object_that_nobody_recognises(plugins):
    plugins()
    with pytest.raises(CannotOpenModel, match=r"an object of type dict\. Installed plug-ins: none"):
        load_recommender({})


def test_plugin_that_fails_to_look_is_passed_over_and_named(plugins):
    plugins(raising=f"{__name__}:RaisingLater", toy=f"{__name__}:toy")
    assert load_recommender(7).source == 7
    with pytest.raises(CannotOpenModel, match=r"raising \(broken: recognises\(\) raised Runtime"):
        load_recommender(8)


def test_plugin_that_opens_something_else(plugins):
    plugins(unfinished=f"{__name__}:Unfinished")
    with pytest.raises(CannotOpenModel, match=r"^int lacks name, .* of the protocol"):
        load_recommender(7)


# -- what plug-ins find out about files -----------------------------------------------------------
class Thing:
    """Something of a class that a pickle names."""


def test_a_pickle_is_looked_into_and_not_read():
    whole = pickle.dumps({"a": Thing()}, protocol=4)
    found = look_into_pickle(whole)
    assert found.whole
    assert found.names[0].endswith(".Thing")
    assert "a" in found.strings
    cut = look_into_pickle(whole[:-3])
    assert cut == found._replace(whole=False)
    assert look_into_pickle(b"hello") == ([], set(), False)


def test_a_torch_archive_is_looked_into(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"weights": torch.zeros(2)}, path)
    found = look_into_archive(path)
    assert "torch._utils._rebuild_tensor_v2" in found.names
    assert "weights" in found.strings
    path.write_bytes(path.read_bytes()[:-30])
    assert look_into_archive(path) is None
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "x")
    assert look_into_archive(path) is None


def test_why_something_cannot_be_unpickled():
    gone = ModuleNotFoundError("No module named 'mine'", name="mine")
    assert "needs the module 'mine', which cannot" in str(unpickling_failed(Path("x"), gone))
    other = unpickling_failed(Path("x.pth"), ValueError("odd:\nbytes"))
    assert str(other).startswith("x.pth cannot be read (ValueError: odd): the file is damaged")


def test_devices():
    assert usable_device("cpu") == usable_device("cpu:0") == "cpu"
    with pytest.raises(InvalidInput, match="The device 'meta' cannot be used here; give cpu"):
        usable_device("meta")


@pytest.mark.parametrize("name", ["items", "data_path"])
def test_what_is_no_path_is_refused(name):
    with pytest.raises(InvalidInput, match=f"{name} is a int: give the path of a file"):
        load_recommender("model.pth", **{name: 5})
