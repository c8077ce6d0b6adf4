"""A run: one folder, its stages, and what each was made from.

Nothing heavy is imported here, so that a run that is already finished says so at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core import layout
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.errors import ArtifactMismatch, InvalidInput, RecSAEError
from recsae.core.files import (
    digest_of,
    digest_of_file,
    has_digest,
    read_json,
    remove_left_over,
    write_json,
)
from recsae.run.config import RunConfig
from recsae.run.known import checked_record, refuse_other_places
from recsae.run.memory import PeakMemory

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender

VERSION = 9
"""What the files of a run mean: a run of another version is refused, not read wrongly."""
ADDED = ("stability", "language")
"""Settings, each of the stage of its name, which leaves an empty file without it."""
BEFORE = "before"
"""The record's key for digests of files that were damaged, until their stage is done again."""


class Run:
    """The folder of a run and its record ``run.json``, which the first of ``ranks`` keeps."""

    def __init__(
        self, folder: Path, config: RunConfig | None = None, ranks: Ranks = SINGLE_PROCESS
    ) -> None:
        self.folder = Path(folder)
        self._ranks = ranks
        self._passed: set[str] = set()
        """Stages that are done and were found intact, or done, by this object."""
        self.record: dict[str, Any] = self._read()
        if config is None and not self.record:
            raise ArtifactMismatch(
                f"{self.folder} holds no run (there is no {layout.RUN}): make one with `recsae run "
                f"CHECKPOINT --out {self.folder}`."
            )
        self.config = config or RunConfig(**self.record["config"])

    def _read(self) -> dict[str, Any]:
        path = self.folder / layout.RUN
        if not path.exists():
            return {}
        try:
            record = read_json(path)
        except ArtifactMismatch as error:
            raise ArtifactMismatch(
                f"{path} is damaged: put back a copy of it, or choose another folder with --out."
            ) from error
        if not isinstance(record, dict) or record.get("version") != VERSION:
            raise ArtifactMismatch(
                f"{self.folder} holds a run made by another version of recsae, whose figures mean "
                "something else: run again, in another folder."
            )
        refuse_other_places(self.folder, checked_record(record, path))
        return record

    def start(
        self,
        sources: list[str],
        model: str,
        versions: dict[str, str],
        made_from: Callable[[], Mapping[str, object]] | None = None,
        *,
        replace: bool = True,
    ) -> None:
        """Record what the run is made from.

        Parameters
        ----------
        made_from
            What each stage will be made from, once the sources are recorded. A stage that was made
            from something else is forgotten at once, before any file changes: whoever reads the run
            meanwhile sees no stages of two runs side by side.
        replace
            Whether a run of other settings may be made over.

        Raises
        ------
        ArtifactMismatch
            The folder holds a run of another model.
        InvalidInput
            The folder has files, but no run, or one that may not be made over.
        """
        self.record = self._read()  # another process may have worked here until now
        if self.record and self.record["model"] != model:
            raise ArtifactMismatch(
                f"{self.folder} holds a run of another model or data set "
                f"({self.record['config']['checkpoint'] or 'a model in memory'}): choose another "
                "folder with --out."
            )
        if not replace:
            self.refuse_other_settings()
        files = self.folder.iterdir() if self.folder.is_dir() else ()
        unfinished = f".{layout.RUN}.*.part"  # killed while it wrote its first record
        if not self.record and not all(file.match(unfinished) for file in files):
            raise InvalidInput(
                f"{self.folder} is not empty and holds no run: choose another folder with --out."
            )
        before = self.record.get(BEFORE, {})
        self.record = {
            "version": VERSION,
            "config": self.config.model_dump(),
            "model": model,
            "sources": {path: digest_of_file(Path(path)) for path in sources},
            "versions": versions,
            "stages": self.record.get("stages", {}),
            **({BEFORE: before} if before else {}),
        }
        if made_from:
            inputs = {name: digest_of(value) for name, value in made_from().items()}
            self.record["stages"] = {
                name: stage
                for name, stage in self.record["stages"].items()
                if stage["made_from"] == inputs.get(name)
            }
        write_json(self.folder / layout.RUN, self.record)
        self.tidy()

    def tidy(self) -> None:
        """Take away what processes that were killed left half-written; nobody else works here."""
        remove_left_over(self.folder)
        for own in layout.OWN_FOLDERS:
            for folder in self.folder.glob(own):
                remove_left_over(folder)

    def is_finished(self, stages: Iterable[str]) -> bool:
        """Whether these stages, and no others, are done, from this configuration, and intact."""
        if not self.record or RunConfig(**self.record["config"]) != self.config:
            return False  # settings that came later had their defaults
        done = self.record["stages"]
        if set(done) != set(stages) or any(map(self._altered, done.values())):
            return False
        return not self.changed_sources()

    def refuse_other_settings(self) -> None:
        """Refuse to make another run in the place of one that is there, finished or not.

        Raises
        ------
        InvalidInput
            A stage is done, with other settings, which the message names; nothing is only added.
        """
        if not self.record or not self.record["stages"]:
            return
        before, now = self.record["config"], self.config.model_dump()
        free = {k for k in ADDED if not before.get(k) or k not in self.record["stages"]}
        differs = [
            f"{key} {before.get(key)!r} there, {now.get(key)!r} here".replace("None", "not given")
            for key in sorted((before.keys() | now.keys()) - {"checkpoint"} - free)
            if before.get(key) != now.get(key)
        ]
        if differs:
            raise InvalidInput(
                f"{self.folder} holds a run with other settings ({'; '.join(differs)}): choose "
                "another folder with --out, or say --replace (replace=True in Python) to make it "
                "over."
            )

    def changed_sources(self) -> list[str]:
        """Files that the run was made from and that are gone or have changed since."""
        return [
            path
            for path, digest in self.record["sources"].items()
            if not has_digest(Path(path), digest)
        ]

    def stage(
        self, name: str, made_from: object, outputs: list[str], work: Callable[[], object]
    ) -> bool:
        """Do a stage unless it was done from the same inputs and its files are intact.

        Returns whether it was done now. ``made_from`` is anything JSON can hold; an output with a
        ``*`` stands for all files of such names, of which there may be none.
        """
        inputs = digest_of(made_from)
        if not self._ranks.broadcast_from_main(lambda: self._is_due(name, inputs, outputs)):
            self._passed.add(name)
            return False
        started, cpu = time.perf_counter(), time.process_time()
        with PeakMemory() as memory:
            work()
        cpu = time.process_time() - cpu

        def record() -> None:
            files = {o: digest_of_file(self.folder / o) for o in self._written(outputs)}
            self._forget_what_stood_on(name, files)
            self.record["stages"][name] = {
                "made_from": inputs,
                "outputs": files,
                "seconds": round(time.perf_counter() - started, 2),
                "cpu_seconds": round(cpu, 2),
                "peak_mb": memory.peak_mb,
            }
            write_json(self.folder / layout.RUN, self.record)

        self._ranks.broadcast_from_main(record)
        self._passed.add(name)
        return True

    def _written(self, outputs: list[str]) -> list[str]:
        """The names of a stage's files, those that a ``*`` stands for looked up."""
        named = [output for output in outputs if "*" not in output]
        found = [
            path.relative_to(self.folder).as_posix()
            for output in outputs
            if "*" in output
            for path in self.folder.glob(output)
        ]
        return [*named, *sorted(found)]

    def _is_due(self, name: str, inputs: str, outputs: list[str]) -> bool:
        """Whether a stage is to be done; its record, and what is damaged, is taken away before."""
        done = self.record["stages"].get(name)
        if done is None:
            return True
        altered, named = self._altered(done), {o for o in outputs if "*" not in o}
        known = [any(fnmatchcase(file, o) for o in outputs) for file in done["outputs"]]
        whole = not altered and all(known) and named <= done["outputs"].keys()
        if whole and done["made_from"] == inputs:
            return False
        del self.record["stages"][name]
        if not whole:
            self.record.setdefault(BEFORE, {})[name] = done["outputs"]
        write_json(self.folder / layout.RUN, self.record)
        for file in () if whole else named | set(altered):  # nothing half-damaged is a beginning
            if any(fnmatchcase(file, output) for output in outputs):
                (self.folder / file).unlink(missing_ok=True)
        return True

    def _forget_what_stood_on(self, name: str, files: dict[str, str]) -> None:
        """Forget all later stages if a stage that was damaged has become another one."""
        before = self.record.get(BEFORE, {}).pop(name, {})
        if not self.record.get(BEFORE):
            self.record.pop(BEFORE, None)
        changed = [o for o in before if before[o] != files.get(o) and o != layout.SAE_CONFIG]
        if changed:  # but for the time that training took, which the SAE's configuration tells
            later = self.record["stages"].keys() - self._passed
            self.record["stages"] = {
                stage: done for stage, done in self.record["stages"].items() if stage not in later
            }

    def keep(self, name: str) -> None:
        """Take a stage's files as they are now, because they were rebuilt on purpose."""
        stage = self.record["stages"].get(name)
        if stage:
            stage["outputs"] = {o: digest_of_file(self.folder / o) for o in stage["outputs"]}
            write_json(self.folder / layout.RUN, self.record)

    def _altered(self, stage: dict[str, Any]) -> list[str]:
        """Files of a stage that are gone or are not as it left them."""
        outputs = stage["outputs"].items()
        return [name for name, digest in outputs if not has_digest(self.folder / name, digest)]

    def altered(self) -> dict[str, str]:
        """Files of finished stages that are gone or are not as the stage left them, with it."""
        stages = self.record["stages"].items()
        return {file: name for name, stage in stages for file in self._altered(stage)}

    def recorded(self, *names: str) -> dict[str, str]:
        """Digests of files that finished stages left; a name may have a ``*``.

        Raises
        ------
        ArtifactMismatch
            The stage of one of them is not done.
        """
        stages = self.record["stages"].values()
        files = {file: digest for stage in stages for file, digest in stage["outputs"].items()}
        found: dict[str, str] = {}
        for name in names:
            of_name = {f: digest for f, digest in files.items() if fnmatchcase(f, name)}
            if not of_name:
                raise ArtifactMismatch(
                    f"The run in {self.folder} is not finished: run the same command again."
                )
            found |= of_name
        return found

    @contextmanager
    def reading(self, *names: str) -> Iterator[None]:
        """Within the context these files may be read: they are as the record says, to the end.

        A stage is taken out of the record before its files change, so that whoever finds the same
        record afterwards has read files of one run.

        Parameters
        ----------
        names
            As in :meth:`recorded`.

        Raises
        ------
        ArtifactMismatch
            A file is gone or damaged, its stage is not done, or another process has made the run
            anew meanwhile.
        """
        digests = self.recorded(*names)
        try:
            for name, digest in digests.items():
                path = self.folder / name
                if not has_digest(path, digest):
                    what = "is not as the run left it" if path.exists() else "is missing"
                    raise ArtifactMismatch(
                        f"{path} {what}: run the same `recsae run` again, which makes it anew."
                    )
            yield
        except RecSAEError:
            self._refuse_another(digests)
            raise
        self._refuse_another(digests)

    def _refuse_another(self, digests: dict[str, str]) -> None:
        """Refuse to go on where the run's record no longer has these digests."""
        try:
            same = Run(self.folder).recorded(*digests) == digests
        except ArtifactMismatch:
            same = False
        if not same:
            raise ArtifactMismatch(
                f"The run in {self.folder} has been made anew meanwhile: give the command again."
            )

    def seconds(self, stages: Iterable[str]) -> dict[str, float]:
        """Wall time of those of the stages that are done, in their order."""
        return self._figure("seconds", stages)

    def cpu_seconds(self, stages: Iterable[str]) -> dict[str, float]:
        """Processor time of the process, in all of its threads, in those of the stages that are
        done, in their order."""
        return self._figure("cpu_seconds", stages)

    def peak_mb(self, stages: Iterable[str]) -> dict[str, float]:
        """Peak memory of the process in those of the stages that are done, in their order."""
        return self._figure("peak_mb", stages)

    def _figure(self, key: str, stages: Iterable[str]) -> dict[str, float]:
        done = self.record["stages"]
        return {name: done[name][key] for name in stages if name in done}


def versions(recommender: Recommender) -> dict[str, str]:
    """Versions and settings that the numbers depend on."""
    import platform

    import torch

    names = ("recsae", "torch", "numpy", "pandas", "scipy", "scikit-learn")
    known = {"python": platform.python_version(), "plugin": recommender.plugin}
    for name in names:
        try:
            known[name] = version(name)
        except Exception:  # a source tree that is not installed has no metadata
            known[name] = "unknown"
    return {**known, "threads": str(torch.get_num_threads())}
