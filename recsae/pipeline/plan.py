"""From a recommender to a finished run, stage by stage; each stage is skipped where it is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.concepts import corrections
from recsae.concepts.attributes import table as attributes
from recsae.concepts.dictionary import build_concepts
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.errors import ArtifactMismatch, NotEnoughData
from recsae.core.files import write_json, write_parquet
from recsae.evaluation import evidence
from recsae.pipeline.stages import evidence as evidence_module
from recsae.run.config import RunConfig
from recsae.run.record import Run, versions
from recsae.run.workspace import Workspace
from recsae.sae import statistics as interventions
from recsae.sae.quality import quality

if TYPE_CHECKING:
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import Recommender

STORES = ("activations", "heldout")
TABLES = ("concepts.parquet", "examples.parquet", attributes.FILE, interventions.FILE)


def run_pipeline(
    recommender: Recommender,
    folder: Path | str,
    config: RunConfig | None = None,
    *,
    progress: Progress | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> Run:
    """Do whatever is not done yet and write the report.

    Parameters
    ----------
    recommender
        An attached recommender.
    folder
        The run's folder; the same call goes on where an earlier one was stopped.
    config
        What differs from the defaults; its ``checkpoint`` lets ``recsae steer`` open the model
        again.
    progress
        Called with (done, in all, what).
    ranks
        The processes that share the run and its folder, see
        :func:`recsae.core.distributed.ranks_of_torchrun`; each calls this.

    Raises
    ------
    RecSAEError
        Anything that is wrong with the input, in one sentence.
    """
    config = config or RunConfig()
    run = Run(Path(folder), config, ranks)
    work = Workspace(run, recommender, progress, ranks)
    if work.heldout_users.sum() < 2:
        raise NotEnoughData(
            f"Of {len(work.heldout_users)} users only {int(work.heldout_users.sum())} would be "
            "kept for testing: too few for any figure. At least a few dozen users are needed."
        )
    if len(set(ranks.gather(recommender.fingerprint()))) > 1:
        raise ArtifactMismatch(
            "The processes that share this run opened different models or data: give all of them "
            "the same files."
        )
    run.record = ranks.broadcast_from_main(lambda: _started(run, work))
    for name, (made_from, outputs, do) in _plan(work).items():
        run.stage(name, made_from, outputs, partial(do, work))
    return run


def _started(run: Run, work: Workspace) -> dict[str, Any]:
    recommender, items = work.recommender, run.config.items
    sources = recommender.sources() + ([items] if items else [])
    if run.record:
        corrections.remember(run.folder)  # before another SAE takes the place of theirs
    run.start(sources, recommender.fingerprint(), versions(recommender))
    return run.record


Step = tuple[object, list[str], Callable[[Workspace], object]]


def _plan(work: Workspace) -> dict[str, Step]:
    """Every stage: what it is made from, the files it leaves, and what does it."""
    config = work.config
    states = [
        *(work.recommender.fingerprint(), work.site, config.seed, work.run.record["sources"]),
        *(config.construction_positions, config.heldout_positions),
    ]
    sae = [states, config.latents, config.k, config.activation, config.samples]
    labels = [sae, config.title_column, config.attribute_columns]
    scores = [labels, config.chance_directions]
    asked = config.language
    language = [scores, asked.made_from()] if asked else scores
    trained = [f"sae/{name}" for name in ("cfg.json", "sae.safetensors", "quality.json")]
    pages = ["report.json", "report.html", "card.md", "concepts.csv"]
    return {
        "capture": (states, [f"{name}/manifest.json" for name in STORES], _capture),
        "train": (sae, trained, _train),
        "concepts": (labels, list(TABLES), _build),
        "scoring": (scores, ["scores.parquet", "scoring.json"], _score),
        "evidence": (labels, list(evidence.TABLES), _gather_evidence),
        "supervised": (labels, ["supervised.json"], _supervise),
        "stability": ([labels, config.stability], ["stability.json"], _repeat),
        "language": (language, ["language.json"], _ask),
        "accuracy": (sae, ["accuracy.json"], _measure_accuracy),
        "steering": ([scores, "at positions"], ["steering.json"], _measure_steering),
        "goals": (scores, ["goals.json"], _try_goals),
        "report": ([language, config.stability, "goals"], pages, _report),
    }


def _capture(work: Workspace) -> None:
    for name in STORES:
        work.store(name)


def _train(work: Workspace) -> None:
    figures = quality(work.sae, work.heldout_store, work.ranks)
    work.on_main_process(lambda: write_json(work.folder / "sae/quality.json", figures))


def _build(work: Workspace) -> None:
    def build() -> None:
        build_concepts(work.sae_codes[0], work.construction, work.labeler).save(work.folder)
        work.labeler.attributes.save(work.folder)
        interventions.Statistics.of(work.sae_codes[0]).save(work.folder)

    work.on_main_process(build)


def _score(work: Workspace) -> None:
    from recsae.pipeline.stages.scoring import scoring_stage

    scores, figures = scoring_stage(work)

    def keep() -> None:
        write_parquet(work.folder / "scores.parquet", scores)
        write_json(work.folder / "scoring.json", figures)

    work.on_main_process(keep)


def _gather_evidence(work: Workspace) -> None:
    work.on_main_process(lambda: evidence_module.evidence_stage(work).save(work.folder))


def _supervise(work: Workspace) -> None:
    from recsae.pipeline.stages.supervised import supervised_stage

    work.on_main_process(
        lambda: write_json(work.folder / "supervised.json", supervised_stage(work))
    )


def _repeat(work: Workspace) -> None:
    from recsae.pipeline.stages.stability import stability_stage

    n_seeds = work.config.stability
    found = stability_stage(work, n_seeds) if n_seeds else {}
    work.on_main_process(lambda: write_json(work.folder / "stability.json", found))


def _ask(work: Workspace) -> None:
    from recsae.pipeline.stages.language import language_stage

    asked = work.config.language
    work.on_main_process(
        lambda: write_json(
            work.folder / "language.json", language_stage(work, asked) if asked else {}
        )
    )


def _measure_accuracy(work: Workspace) -> None:
    from recsae.pipeline.stages.accuracy import accuracy_stage

    work.on_main_process(lambda: write_json(work.folder / "accuracy.json", accuracy_stage(work)))


def _measure_steering(work: Workspace) -> None:
    from recsae.pipeline.stages.steering import steering_stage

    work.on_main_process(lambda: write_json(work.folder / "steering.json", steering_stage(work)))


def _try_goals(work: Workspace) -> None:
    from recsae.pipeline.stages.goals import goal_stage

    work.on_main_process(lambda: write_json(work.folder / "goals.json", goal_stage(work)))


def _report(work: Workspace) -> None:
    from recsae.pipeline.report_data import build_report
    from recsae.report.write import write_report

    work.on_main_process(lambda: write_report(build_report(work), work.folder))
