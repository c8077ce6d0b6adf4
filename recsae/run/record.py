"""A run: one folder, its stages, and what each was made from.

Nothing heavy is imported here, so that a run that is already finished says so at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core import layout
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import digest_of, digest_of_file, lies_within, read_json, write_json
from recsae.run.config import RunConfig

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender

VERSION = 3
"""What the files of a run mean: a run of another version is refused, not read wrongly."""

LEFT_OVER = (".*.[0-9]*.part", ".tmp??????")
"""Files half written, ours and those of safetensors, which a process that was killed leaves."""


class Run:
    """The folder of a run and its record ``run.json``, which the first of ``ranks`` keeps."""

    def __init__(
        self, folder: Path, config: RunConfig | None = None, ranks: Ranks = SINGLE_PROCESS
    ) -> None:
        self.folder = Path(folder)
        self._ranks = ranks
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
        self._refuse_other_places(record)
        return record

    def _refuse_other_places(self, record: dict[str, Any]) -> None:
        """Refuse a record of files that are not in the run's folder."""
        for stage in record.get("stages", {}).values():
            for name in stage.get("outputs", {}):
                if not lies_within(self.folder, name):
                    raise ArtifactMismatch(
                        f"{self.folder / layout.RUN} names the file {name!r}, which is not in the "
                        "folder of the run: this record was not written by recsae."
                    )

    def start(self, sources: list[str], model: str, versions: dict[str, str]) -> None:
        """Record what the run is made from.

        Raises
        ------
        ArtifactMismatch
            The folder holds a run of another model.
        InvalidInput
            The folder has files, but no run.
        """
        if self.record and self.record["model"] != model:
            raise ArtifactMismatch(
                f"{self.folder} holds a run of another model or data set "
                f"({self.record['config']['checkpoint'] or 'a model in memory'}): choose another "
                "folder with --out."
            )
        files = self.folder.iterdir() if self.folder.is_dir() else ()
        unfinished = f".{layout.RUN}.*.part"  # killed while it wrote its first record
        if not self.record and not all(file.match(unfinished) for file in files):
            raise InvalidInput(
                f"{self.folder} is not empty and holds no run: choose another folder with --out."
            )
        self.record = {
            "version": VERSION,
            "config": self.config.model_dump(),
            "model": model,
            "sources": {path: digest_of_file(Path(path)) for path in sources},
            "versions": versions,
            "stages": self.record.get("stages", {}),
        }
        write_json(self.folder / layout.RUN, self.record)
        for own in ("", *layout.STORES, layout.SAE_FOLDER):  # by a process that was killed
            for pattern in LEFT_OVER:
                for left in (self.folder / own).glob(pattern):
                    left.unlink(missing_ok=True)

    def is_finished(self, stages: Iterable[str]) -> bool:
        """Whether these stages, and no others, are done, from this configuration, and intact."""
        if not self.record or self.record["config"] != self.config.model_dump():
            return False
        done = self.record["stages"]
        if set(done) != set(stages) or not all(map(self._intact, done.values())):
            return False
        return not self.changed_sources()

    def refuse_other_settings(self, stages: Iterable[str]) -> None:
        """Refuse to make another run in the place of one that is finished.

        Raises
        ------
        InvalidInput
            Every stage is done, with other settings; the message names them.
        """
        if not self.record or not set(stages) <= set(self.record["stages"]):
            return
        before, now = self.record["config"], self.config.model_dump()
        differs = [
            f"{key} {before.get(key)!r} there, {now.get(key)!r} here"
            for key in sorted((before.keys() | now.keys()) - {"checkpoint"})  # see start
            if before.get(key) != now.get(key)
        ]
        if differs:
            raise InvalidInput(
                f"{self.folder} holds a finished run with other settings ({'; '.join(differs)}): "
                "choose another folder with --out, or say --replace."
            )

    def changed_sources(self) -> list[str]:
        """Files that the run was made from and that are gone or have changed since."""
        return [
            path
            for path, digest in self.record["sources"].items()
            if not Path(path).is_file() or digest_of_file(Path(path)) != digest
        ]

    def stage(
        self, name: str, made_from: object, outputs: list[str], work: Callable[[], object]
    ) -> bool:
        """Do a stage unless it was done from the same inputs and its files are intact.

        Returns whether it was done now. ``made_from`` is anything JSON can hold.
        """
        inputs = digest_of(made_from)
        if not self._ranks.broadcast_from_main(lambda: self._is_due(name, inputs, outputs)):
            return False
        started = time.perf_counter()
        with _PeakMemory() as memory:
            work()

        def record() -> None:
            self.record["stages"][name] = {
                "made_from": inputs,
                "outputs": {o: digest_of_file(self.folder / o) for o in outputs},
                "seconds": round(time.perf_counter() - started, 2),
                "peak_mb": memory.peak_mb,
            }
            write_json(self.folder / layout.RUN, self.record)

        self._ranks.broadcast_from_main(record)
        return True

    def _is_due(self, name: str, inputs: str, outputs: list[str]) -> bool:
        done = self.record["stages"].get(name)
        if done and set(done["outputs"]) == set(outputs) and self._intact(done):
            return bool(done["made_from"] != inputs)
        for output in outputs if done else ():  # changed or cut short: all are made anew
            (self.folder / output).unlink(missing_ok=True)
        return True

    def keep(self, name: str) -> None:
        """Take a stage's files as they are now, because they were rebuilt on purpose."""
        stage = self.record["stages"].get(name)
        if stage:
            stage["outputs"] = {o: digest_of_file(self.folder / o) for o in stage["outputs"]}
            write_json(self.folder / layout.RUN, self.record)

    def _intact(self, stage: dict[str, Any]) -> bool:
        return all(
            (self.folder / name).is_file() and digest_of_file(self.folder / name) == digest
            for name, digest in stage["outputs"].items()
        )

    def altered(self) -> list[str]:
        """Files of finished stages that are gone or are not as the stage left them."""
        return [
            name
            for stage in self.record["stages"].values()
            for name, digest in stage["outputs"].items()
            if not (self.folder / name).is_file() or digest_of_file(self.folder / name) != digest
        ]

    def seconds(self, stages: Iterable[str]) -> dict[str, float]:
        """Wall time of those of the stages that are done, in their order."""
        return self._figure("seconds", stages)

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


class _PeakMemory:
    """Peak resident memory within a block, in MB; of the whole process where Linux cannot say."""

    peak_mb = 0.0

    def __enter__(self) -> _PeakMemory:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            status = Path("/proc/self/status").read_text()
            kb = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            self.peak_mb = round(int(kb.split()[1]) / 1024, 1)
        except (OSError, StopIteration):
            import resource

            self.peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
