"""The stage that gathers evidence for and against every concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsae.evaluation.evidence import Evidence, build_evidence

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace


def evidence_stage(work: Workspace) -> Evidence:
    """The evidence of a run, from the SAE's activations on held-out cases."""
    cases, code = work.heldout, work.sae_codes.heldout
    predictions = work.labeler.predict(work.tested_dictionary.table, cases)
    return build_evidence(code, predictions, cases)
