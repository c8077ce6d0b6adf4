"""A finished run read without its model: tables, and everything that they answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import RecSAEError
from recsae.core.notebook.cells import Table, card
from recsae.explore.concept_facts import OF_TABLE, LatentFacts, concept_rows, latent_facts
from recsae.run.tables import RunTables

if TYPE_CHECKING:
    import pandas as pd

    from recsae.explore.audit import AuditSheet
    from recsae.explore.compare import Comparison
    from recsae.explore.health import Health
    from recsae.steering.files import Steering

N_SHOWN = 10
"""Concepts that a notebook shows of a run."""


class CorrectionsFile(NamedTuple):
    """Where people correct concepts."""

    path: Path
    remark: str | None
    """What was done to the file, where its latents have other numbers now."""


class SteeringFiles(NamedTuple):
    """Steering files of a run, by name."""

    kept: dict[str, Steering]
    damaged: dict[str, str]
    """Those that cannot be used with the run, and why."""


class LoadedRun(RunTables):
    """A finished run without its model: see :func:`load_run`."""

    def concept(self, latent: int) -> LatentFacts:
        """Everything that the run knows of one latent, evidence against its label too.

        Raises
        ------
        InvalidInput
            There is no such latent.
        """
        return latent_facts(self.folder, latent)

    def search(self, text: str | None = None, status: str | None = None) -> pd.DataFrame:
        """Concepts whose name or label contains a text, or of a status, best first.

        Raises
        ------
        InvalidInput
            There is no such status.
        """
        return concept_rows(self.folder, text, status)

    def corrections_file(self) -> CorrectionsFile:
        """The file in which people rename, merge and reject concepts; made where there is none.

        Where the SAE was trained anew its latents are numbered as they are now.
        """
        from recsae.concepts.corrections import FILE
        from recsae.concepts.corrections_file import prepare

        with self.run.reading(*OF_TABLE):
            return CorrectionsFile(self.folder / FILE, prepare(self.folder))

    def corrections(self) -> pd.DataFrame:
        """What people corrected, one row for each entry of their file; empty where there is none.

        Raises
        ------
        InvalidInput
            The file is wrong.
        """
        import pandas as pd

        from recsae.concepts.corrections_file import changes

        with self.run.reading(*OF_TABLE):
            return pd.DataFrame(changes(self.folder))

    def audit(self, size: int, seed: int = 0) -> AuditSheet:
        """A random sample of verified concepts, for a person to judge the labels.

        Raises
        ------
        NotEnoughData
            No concept is verified.
        """
        from recsae.explore.audit import audit_sheet

        return audit_sheet(self.folder, size, seed)

    def compare(self, other: str | Path | RunTables, *, trust: bool = False) -> Comparison:
        """What became of this run's concepts in another run: matched, lost and new.

        Parameters
        ----------
        other
            The other run, or its folder.
        trust
            Open the checkpoints of both where their models are not the same, see
            :func:`recsae.open_run`; without them such runs are compared by name.
        """
        from recsae.explore.compare import compare_runs

        after = other.folder if isinstance(other, RunTables) else Path(other)
        return compare_runs(self.folder, after, trust=trust)

    def concept_map(self, *, placed: bool = False) -> pd.DataFrame:
        """The concepts with their places on the report's map, for Embedding Atlas among others.

        Parameters
        ----------
        placed
            Only the concepts that have a place on the map, which are the verified ones. Give it for
            Embedding Atlas, which takes every row for a point of the map.

        Returns
        -------
        DataFrame
            One row per latent: ``latent``, ``name`` and ``status`` (with people's corrections),
            ``label``, ``kind``, ``precision``, ``recall``, ``explains``, ``x`` and ``y`` (from -1
            to 1, NaN where it has no place) and ``neighbors``: up to five concepts that are active
            on the same held-out cases, as ``{"ids": [...], "distances": [...]}``. Ids are rows of
            this table, counted from 0; a distance is 1 - phi, phi being the correlation of the two
            activities, and the nearest comes first.

        Raises
        ------
        ArtifactMismatch
            The run is not finished, or a file of it is damaged.
        """
        from recsae.finished.concept_map import concept_map, shown_report

        with self.run.reading(layout.REPORT, layout.SAE_WEIGHTS):
            return concept_map(shown_report(self.folder), placed=placed)

    def features(self) -> list[dict[str, Any]]:
        """The concepts as features in the form of Neuronpedia, to be written as JSON.

        Returns
        -------
        list of dict
            One per latent, with Neuronpedia's names: ``modelId``, ``layer`` (the site), ``index``,
            ``explanations`` (the label as ``description``), ``pos_str`` and ``pos_values`` (titles
            of promoted items and their weights), ``neg_str`` and ``neg_values``, ``frac_nonzero``,
            ``maxActApprox`` (the largest of the examples) and ``activations``: for each example
            ``tokens`` (titles of the history), ``values`` (None but after the last item, where the
            activation is known), ``maxValue``, ``maxValueTokenIndex`` and ``user``. ``name``,
            ``status``, ``precision`` and ``recall`` are recsae's own. Users and histories are as
            the report's page shows them: hidden and cut where they are there.

        Raises
        ------
        ArtifactMismatch
            The run is not finished, a file of it is damaged, or what is to be hidden is not known.
        """
        from recsae.finished.concept_map import features, shown_report

        with self.run.reading(layout.REPORT, layout.SAE_WEIGHTS):
            return features(shown_report(self.folder))

    def steering_files(self) -> SteeringFiles:
        """The steering files kept with the run, and what is wrong with those that are damaged."""
        from recsae.steering.files import load_steering, steering_files

        kept: dict[str, Steering] = {}
        damaged: dict[str, str] = {}
        for path in steering_files(self.folder):
            try:
                kept[path.stem] = load_steering(self.folder, path)
            except RecSAEError as error:
                damaged[path.stem] = str(error)
        return SteeringFiles(kept, damaged)

    def health(self) -> Health:
        """Which files of the run are not as its stages left them, and what is not done yet."""
        from recsae.explore.health import examine
        from recsae.pipeline.plan import STAGES

        return examine(self.folder, STAGES)

    def write_report(
        self,
        *,
        redact_users: bool | None = None,
        max_history: int | None = None,
        out: str | Path | None = None,
    ) -> Path:
        """Write the run's page, card and table again; returns the page.

        Parameters
        ----------
        redact_users, max_history, out
            See :func:`recsae.write_report`.
        """
        from recsae.concepts.corrections import remember
        from recsae.core.locks import alone_in
        from recsae.report.write import write_report

        with alone_in(self.folder):
            left = self.run.record["stages"].get("report", {"outputs": {}})["outputs"]
            turn = [layout.TURN] if layout.TURN in left else []
            with self.run.reading(layout.REPORT, *turn, layout.SAE_WEIGHTS):
                remember(self.folder)
                page = write_report(
                    None, self.folder, redact_users=redact_users, max_history=max_history, out=out
                )
            self.run.tidy()
            if out is None:
                self.run.keep("report")  # so that `recsae run` does not undo the redaction
        return page

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        try:
            report, concepts = self.report, self.search()
        except RecSAEError as error:  # a notebook shows a reason, no traceback
            return card("Run", {"folder": self.folder, "cannot be shown": error})
        best = concepts[concepts[C.STATUS] == VERIFIED].head(N_SHOWN)
        facts = {
            "folder": self.folder,
            "model": report["model"]["name"],
            "data": report["data"]["name"],
            "latents": len(concepts),
            "verified concepts": int((concepts[C.STATUS] == VERIFIED).sum()),
        }
        columns = (C.LATENT, C.NAME, C.PRECISION, C.RECALL)
        rows = [(str(latent), *rest) for latent, *rest in best[list(columns)].to_numpy().tolist()]
        tables = [Table("The best verified concepts, on held-out users", columns, rows)]
        return card("Finished run", facts, tables)


def load_run(folder: str | Path) -> LoadedRun:
    """Read a finished run, without its model.

    Returns
    -------
    LoadedRun
        With the tables ``concepts``, ``examples``, ``attributes``, ``steering``, ``goals``,
        ``named_share`` as DataFrames, ``report``, the content of ``report.json``, and answers that
        need no model. :func:`open_run` gives all this and what the model is asked for.

    Raises
    ------
    ArtifactMismatch
        The folder holds no run.
    """
    return LoadedRun(Path(folder))
