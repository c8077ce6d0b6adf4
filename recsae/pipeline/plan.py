"""The stages of a run, in their order: what each is made from, what it leaves, what does it.

To add a stage, add an entry to :data:`STAGES`; if the report shows what it found, name it in
:func:`_inputs_of_report` too, or existing runs keep their old report. Nothing heavy is imported
before a stage is due, so that a run that is finished says so at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core import layout as files
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.errors import ArtifactMismatch, InvalidInput, NotEnoughData
from recsae.core.files import write_json
from recsae.core.locks import alone_in
from recsae.run.config import RunConfig
from recsae.run.record import Run

if TYPE_CHECKING:
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import Recommender
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE
    from recsae.sae.own import Encodes


@dataclass(frozen=True)
class Stage:
    """One step of a run: skipped if its inputs have not changed and its files are intact."""

    made_from: Callable[[Workspace], object]
    """Everything that its result depends on, as JSON can hold it."""
    leaves: tuple[str, ...]
    """Its files, in the run's folder; a name with a ``*`` stands for all there are."""
    do: Callable[[Workspace], None]
    """Every process of the run calls it; it leaves the files."""


def run_pipeline(
    recommender: Recommender,
    folder: Path | str,
    config: RunConfig | None = None,
    *,
    progress: Progress | None = None,
    done: Callable[[str, Mapping[str, Any]], None] | None = None,
    ranks: Ranks = SINGLE_PROCESS,
    replace: bool = False,
    memory: int | None = None,
    sae: SAE | Encodes | None = None,
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
    done
        Called with the name of each stage that was done and its record: ``seconds`` of wall,
        ``cpu_seconds`` of the process, ``peak_mb``.
    ranks
        The processes that share the run and its folder, see
        :func:`recsae.core.distributed.ranks_of_torchrun`; each calls this.
    replace
        Make a run of other settings over. Stages that the change does not reach are kept; the
        others are taken out of the record before the first file changes.
    memory
        Bytes that the process may take; None: what is free. Blocks of scores are a few dozen MB
        whatever the catalogue; a run that needs more all the same is refused before it begins.
    sae
        One of your own, which the run takes instead of training: an :class:`recsae.sae.SAE`, such
        as ``read_saelens`` gives, or any object with ``encode`` and ``decode`` on torch tensors. No
        gates stand beside it, and the dictionary is not made again from other users.

    Raises
    ------
    RecSAEError
        Anything that is wrong with the input, in one sentence.
    """
    from recsae.concepts.labeler import named_labeler
    from recsae.recommender.protocol import find_site
    from recsae.run.memory import refuse_what_cannot_fit, share_heaps
    from recsae.run.stores import planned_cases
    from recsae.run.workspace import Workspace

    share_heaps()
    config = config or RunConfig()
    if sae is not None:
        config = _with_own(config, recommender, sae)
    elif config.sae is not None:
        raise InvalidInput(f"The run in {folder} has an SAE of its own: give it, as sae=...")
    if config.labeler is not None:
        named_labeler(config.labeler)  # before hours of training
    run = Run(Path(folder), config, ranks)
    work = Workspace(run, recommender, progress, ranks, given=sae)
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
    width = find_site(work.recommender, work.site).width
    n_cases = planned_cases(config, work.recommender.sequences().lengths, work.heldout_users)
    refuse_what_cannot_fit(work.recommender.catalog.n_items, width, n_cases, memory)
    with ExitStack() as held:
        ranks.broadcast_from_main(lambda: held.enter_context(alone_in(run.folder)))
        run.record = ranks.broadcast_from_main(lambda: _started(run, work, replace))
        for name, stage in STAGES.items():
            inputs, outputs = stage.made_from(work), list(stage.leaves)
            if run.stage(name, inputs, outputs, partial(stage.do, work)) and done:
                done(name, run.record["stages"][name])
    return run


def _with_own(config: RunConfig, recommender: Recommender, sae: SAE | Encodes) -> RunConfig:
    """The settings of a run that is given its SAE."""
    from recsae.recommender.protocol import as_recommender, find_site
    from recsae.sae.own import digest_of_sae

    width = find_site(as_recommender(recommender), config.site).width
    update = {"sae": digest_of_sae(sae, width), "core": "none", "stability": 0}
    return config.model_copy(update=update)


def _started(run: Run, work: Workspace, replace: bool) -> dict[str, Any]:
    from recsae.concepts import corrections
    from recsae.run.record import versions

    recommender, items = work.recommender, run.config.items
    sources = recommender.sources() + ([items] if items else [])
    if (run.folder / files.RUN).exists():
        with suppress(ArtifactMismatch):  # damaged weights, which are trained again
            corrections.remember(run.folder)  # before another SAE takes the place of theirs
    run.start(
        *(sources, recommender.fingerprint(), versions(recommender)),
        lambda: {name: stage.made_from(work) for name, stage in STAGES.items()},
        replace=replace,
    )
    return run.record


# inputs of the stages, for ``made_from``: each list contains those of the stages before it


def _inputs_of_states(work: Workspace) -> list[object]:
    config = work.config
    return [
        *(work.recommender.fingerprint(), work.site, config.seed, work.run.record["sources"]),
        *(config.construction_positions, config.heldout_positions),
    ]


def _inputs_of_core(work: Workspace) -> list[object]:
    """Without a core, labels may be asked otherwise and the SAE stays."""
    config = work.config
    if config.core == "none":
        return [_inputs_of_states(work), None]
    return [_inputs_of_states(work), config.attributes_first, *_vocabulary(work)]


def _vocabulary(work: Workspace) -> list[object]:
    """What decides of which attributes and values statements can speak."""
    config, users = work.config, work.users_digest
    known = [] if users is None else [users]
    return [config.title_column, config.attribute_columns, config.separator, *known]


def _inputs_of_sae(work: Workspace) -> list[object]:
    config = work.config
    if config.sae is not None:
        return [_inputs_of_core(work), config.sae]
    return [_inputs_of_core(work), config.latents, config.k, config.activation, config.samples]


def _inputs_of_labels(work: Workspace) -> list[object]:
    named = [] if work.config.labeler is None else [work.config.labeler]
    return [_inputs_of_sae(work), *_vocabulary(work), *named]


def _inputs_of_stability(work: Workspace) -> list[object]:
    return [_inputs_of_labels(work), work.config.stability]


def _inputs_of_language(work: Workspace) -> list[object]:
    model = work.config.language
    return [_inputs_of_labels(work), model.made_from()] if model else _inputs_of_labels(work)


def _inputs_of_report(work: Workspace) -> list[object]:
    return [_inputs_of_language(work), work.config.stability]


# what does them


def _capture(work: Workspace) -> None:
    from recsae.run.kept import keep

    for name in files.STORES:
        work.store(name)
    work.ranks.broadcast_from_main(lambda: keep(work.recommender, work.folder))


def _find_core(work: Workspace) -> None:
    _ = work.core  # of the construction store


def _train(work: Workspace) -> None:
    from recsae.sae.quality import quality

    figures = quality(work.sae, work.heldout_store, work.ranks)
    work.on_main_process(lambda: write_json(work.folder / files.QUALITY, figures))


def _build(work: Workspace) -> None:
    from recsae.sae.statistics import Statistics

    def build() -> None:
        concepts = work.label()
        concepts.save(work.folder)
        catalog = work.recommender.catalog
        work.attribute_labeler.attributes.including(concepts.values_said(), catalog).save(
            work.folder
        )
        Statistics.of(work.sae_codes[0]).save(work.folder)

    work.on_main_process(build)


def _score(work: Workspace) -> None:
    from recsae.core.files import write_parquet
    from recsae.pipeline.stages.scoring import scoring_stage

    scoring = scoring_stage(work)

    def keep() -> None:
        write_parquet(work.folder / files.SCORES, scoring.scores)
        write_parquet(work.folder / files.BASELINES, scoring.baselines)
        write_json(work.folder / files.SCORING, scoring.to_dict())

    work.on_main_process(keep)


def _gather_evidence(work: Workspace) -> None:
    from recsae.pipeline.stages.evidence import evidence_stage

    work.on_main_process(lambda: evidence_stage(work).save(work.folder))


def _supervise(work: Workspace) -> None:
    from recsae.pipeline.stages.supervised import supervised_stage

    _keep(work, files.SUPERVISED, lambda: supervised_stage(work).to_dict())


def _repeat(work: Workspace) -> None:
    from recsae.pipeline.stages.stability import stability_stage

    n = work.config.stability
    figures = stability_stage(work, n).to_dict() if n else {}
    _keep(work, files.STABILITY, lambda: figures)


def _ask_language_model(work: Workspace) -> None:
    from recsae.pipeline.stages.language import language_stage

    model = work.config.language
    _keep(work, files.LANGUAGE, lambda: language_stage(work, model).to_dict() if model else {})


def _measure_accuracy(work: Workspace) -> None:
    from recsae.pipeline.stages.accuracy import accuracy_stage

    figures = accuracy_stage(work).to_dict()
    _keep(work, files.ACCURACY, lambda: figures)


def _measure_steering(work: Workspace) -> None:
    from recsae.pipeline.stages.steering import steering_stage

    figures = steering_stage(work)
    _keep(work, files.STEERING, lambda: figures)


def _try_goals(work: Workspace) -> None:
    from recsae.core.files import write_parquet
    from recsae.pipeline.stages.goals import goal_stage

    found = goal_stage(work)

    def keep() -> None:
        write_json(work.folder / files.GOALS, found.record.to_dict())
        write_parquet(work.folder / files.OBEYED, found.turned)

    work.on_main_process(keep)


def _report(work: Workspace) -> None:
    from recsae.pipeline.report_data import build_report
    from recsae.pipeline.turn import turn_data
    from recsae.report.write import write_report

    def write() -> None:
        turn, report = turn_data(work), build_report(work, STAGES)
        write_json(work.folder / files.TURN, turn.model_dump(mode="json") if turn else {})
        write_report(report, work.folder)

    work.on_main_process(write)


def _keep(work: Workspace, file: str, make: Callable[[], object]) -> None:
    """Let the first process make the figures and write them."""
    work.on_main_process(lambda: write_json(work.folder / file, make()))


STAGES: Mapping[str, Stage] = {
    "capture": Stage(
        _inputs_of_states,
        (
            *(f"{n}/{name}" for n in files.STORES for name in (files.MANIFEST, files.SHARDS)),
            files.KEPT,
        ),
        _capture,
    ),
    "core": Stage(_inputs_of_core, (files.CORE, files.CORE_ARRAYS), _find_core),
    "train": Stage(
        _inputs_of_sae, (files.SAE_CONFIG, files.SAE_WEIGHTS, files.QUALITY, files.K_TRIED), _train
    ),
    "concepts": Stage(
        _inputs_of_labels, (files.CONCEPTS, files.EXAMPLES, files.ATTRIBUTES, files.LATENTS), _build
    ),
    "scoring": Stage(
        _inputs_of_labels,
        (
            *(files.SCORES, files.SCORING, files.BASELINES),
            *(f"{files.PLAIN_FOLDER}/{kind}" for kind in ("*.json", "*.safetensors")),
        ),
        _score,
    ),
    "evidence": Stage(
        _inputs_of_labels,
        (
            *(files.FIRING, files.TOGETHER, files.COUNTEREXAMPLES),
            *(files.ACTIVE_ITEMS, files.ACTIVE_CASES),
        ),
        _gather_evidence,
    ),
    "supervised": Stage(_inputs_of_labels, (files.SUPERVISED,), _supervise),
    "stability": Stage(
        _inputs_of_stability,
        (
            files.STABILITY,
            *(f"{files.STABILITY_FOLDER}/{kind}" for kind in ("*.json", "*.safetensors")),
        ),
        _repeat,
    ),
    "language": Stage(_inputs_of_language, (files.LANGUAGE,), _ask_language_model),
    "accuracy": Stage(_inputs_of_sae, (files.ACCURACY,), _measure_accuracy),
    "steering": Stage(_inputs_of_labels, (files.STEERING,), _measure_steering),
    "goals": Stage(_inputs_of_labels, (files.GOALS, files.OBEYED), _try_goals),
    "report": Stage(
        _inputs_of_report,
        (files.REPORT, files.PAGE, files.CARD, files.CONCEPTS_CSV, files.TURN, files.FIGURES),
        _report,
    ),
}
"""Every stage of a run by its name, in the order in which they are done."""


def is_finished(folder: Path, config: RunConfig) -> bool:
    """Whether a folder holds the run of this configuration, with every stage done and intact."""
    return Run(folder, config).is_finished(STAGES)
