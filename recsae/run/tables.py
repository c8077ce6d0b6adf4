"""The tables of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import read_json
from recsae.run.record import Run

if TYPE_CHECKING:
    import pandas as pd

GOAL = ("goal", "quantity", "before", "after")
CHANGE = ("times", "low", "high")
NDCG = ("ndcg_kept", "ndcg_low", "ndcg_high")
RESULT = ("allowed_loss", "strength", "n_users", "n_positions", "verdict")


class RunTables:
    """The tables of a finished run.

    A table is read when it is used; ArtifactMismatch if its file is damaged, or the run was made
    anew since it was opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.run = Run(self.folder)

    def _table(self, key: str) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self.report[key])

    @property
    def report(self) -> dict[str, Any]:
        """Everything in ``report.json``."""
        with self.run.reading(layout.REPORT):
            return dict(read_json(self.folder / layout.REPORT))

    def _has(self, name: str) -> bool:
        """Whether a stage of the run left this file: earlier versions left fewer."""
        stages = self.run.record.get("stages", {}).values()
        return any(name in stage["outputs"] for stage in stages)

    @property
    def concepts(self) -> pd.DataFrame:
        """One row per latent: label (with people's corrections), status, held-out scores.

        ``obeyed`` is whether turning it does what its label says, see :attr:`obeyed`.
        """
        from recsae.concepts.corrections import corrected
        from recsae.concepts.dictionary import ConceptDictionary
        from recsae.core import columns as C
        from recsae.core.files import read_parquet

        with self.run.reading(layout.CONCEPTS, layout.SCORES, layout.SAE_WEIGHTS):
            tested = read_parquet(self.folder / layout.CONCEPTS)
            check_latents(tested, self.folder)
            labels = corrected(ConceptDictionary(tested, tested.iloc[:0]), self.folder).table
            table = labels.merge(read_parquet(self.folder / layout.SCORES), on=C.LATENT)
        if not self._has(layout.OBEYED):
            return table
        turned = self.obeyed
        mine = turned[turned["code"] == "sae"].set_index(C.LATENT)["obeyed"]
        return table.assign(obeyed=table[C.LATENT].map(mine))

    @property
    def obeyed(self) -> pd.DataFrame:
        """One row per concept, and unit of a baseline, that was turned up and down.

        ``code`` (``sae`` is the dictionary) and ``latent``; ``readable``, whether its label is
        verified; what the label says of its items (``predicted``: ``more`` or ``fewer``), their
        share of the top 10 (``share``, ``share_up``, ``share_down``), its ``change`` from down to
        up with the interval (``change_low``, ``change_high``), and ``obeyed``: ``yes``, ``no``
        where the opposite happens, or ``cannot be told``.

        Raises
        ------
        ArtifactMismatch
            The file is damaged, or the run was made by a version that did not measure it.
        """
        from recsae.core.files import read_parquet

        if not self._has(layout.OBEYED):
            raise ArtifactMismatch(
                f"The run in {self.folder} does not say which concepts do what they say: it is not "
                "finished, or was made by an earlier version; `recsae steer --check` measures it."
            )
        with self.run.reading(layout.OBEYED):
            return read_parquet(self.folder / layout.OBEYED)

    @property
    def examples(self) -> pd.DataFrame:
        """One row per example sequence of a latent, items as internal ids."""
        from recsae.core.files import read_parquet

        with self.run.reading(layout.EXAMPLES):
            return read_parquet(self.folder / layout.EXAMPLES)

    @property
    def attributes(self) -> pd.DataFrame:
        """AUC per attribute: SAE, baselines, supervised."""
        return self._table("attributes")

    @property
    def steering(self) -> pd.DataFrame:
        """Measured effects of turning concepts."""
        return self._table("steering")

    @property
    def goals(self) -> pd.DataFrame:
        """One row per goal that was tried: what turning latents reaches, on held-out users.

        The goal's quantity ``before`` and ``after``, ``times`` what it was with its interval
        (``low``, ``high``), ``ndcg_kept`` with its own (``ndcg_low``, ``ndcg_high``). Empty where
        none was tried.
        """
        import pandas as pd

        goals = self.report.get("goals") or {"rows": []}
        rows = [
            {
                **{key: row[key] for key in GOAL},
                **dict(zip(CHANGE, row["times"], strict=True)),
                **dict(zip(NDCG, row["ndcg_kept"], strict=True)),
                **{key: row[key] for key in RESULT},
            }
            for row in goals["rows"]
        ]
        return pd.DataFrame(rows, columns=[*GOAL, *CHANGE, *NDCG, *RESULT])

    @property
    def named_share(self) -> pd.DataFrame:
        """Share of score variance explained by 8, 16, 32 concepts, per code."""
        return self._table("named_share").T


def check_latents(concepts: pd.DataFrame, folder: Path) -> None:
    """Refuse a table that has not a row for each of the latents 0, 1, ..., in this order."""
    from recsae.core import columns as C

    numbers = concepts.get(C.LATENT)
    if numbers is None or numbers.tolist() != list(range(len(concepts))):
        raise ArtifactMismatch(
            f"{folder / layout.CONCEPTS} has not one row for each latent: this table was not "
            "written by recsae; make a new run, in another folder."
        )
