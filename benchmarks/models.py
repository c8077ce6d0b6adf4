"""Train every RecBole model, and some of other libraries, briefly, attach, and write what works.

Each model is trained and measured in a process of its own; what they find is kept as JSON beside
the checkpoint, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from models_factors import FACTORS, train_factors
from models_measuring import BY_PAIRS, RUN, measure, one_line
from models_rectools import RECTOOLS, SETTINGS, train_rectools
from models_training import (
    GENERAL,
    OF_GENERAL,
    PRETRAINING,
    SEQUENTIAL,
    SMALLER,
    TRAINING,
    train,
)

Facts = dict[str, Any]


def train_any(name: str, folder: Path) -> Facts:
    """Train a model by the library that it is of."""
    if name in RECTOOLS:
        return train_rectools(name, folder)
    return train_factors(name, folder) if name in FACTORS else train(name, folder)


STEPS: dict[str, Callable[[str, Path], Facts]] = {"train": train_any, "measure": measure}
GROUPS = {
    "Sequential models": SEQUENTIAL,
    "General models": GENERAL,
    "Factor models": list(FACTORS),
    "RecTools' transformers": RECTOOLS,
}

HEAD = """# Every model that was tried

Written by `python benchmarks/models.py`. {versions}.

Each model is trained by RecBole's own trainer on a part of the ml-100k that RecBole ships, and its
best epoch is kept: {training}. General models: {general}. To save time: {smaller}. Epochs of each
pretraining: {pretrained}. GRU4RecKG and KSR read random embeddings of entities and relations, KSR's
in single precision, because RecBole cannot train it with what it reads; NCL needs faiss-cpu. All
else is as RecBole sets it. Factor models are made by implicit and LightFM: {factors}.
They are of the users of the general models, and the evaluation asks for the last item of each, kept
out of the training. RecTools' transformers are trained by RecTools on the users of the sequential
models without the last item of each, which the evaluation asks for: {rectools}. All these models
are there to be attached to, not to be good.

Then recsae attaches to the checkpoint and does a run: {run}, for models that rank pair by pair also
{by_pairs}. NDCG@10 is of the cases in brackets, all of held-out users; kept is the share that is
left with the SAE's reconstruction, with its 95 % interval. Concepts: verified of tested. Steering:
the verified latent that is most often active (of all latents where none is verified) is turned off;
"yes" if scores change, are bit-equal as long as nothing is turned and bit-equal again afterwards;
then the share of held-out users whose list of ten changes. Seconds: training + measuring, CPU time
of one thread.

{minutes:.0f} minutes in all; {jobs} at a time.{kept}
"""
COLUMNS = (
    "model", "attaches", "site", "positions per pass", "share", "head", "NDCG@10 (cases)",
    "NDCG kept", "concepts", "steering", "seconds", "note",
)  # fmt: skip


def row(name: str, trained: Facts, measured: Facts) -> str:
    """A model's line of the table."""
    note = trained.get("error") or measured.get("error") or ""
    if "error" in trained:
        of_recbole = name in (*SEQUENTIAL, *GENERAL)
        note = f"{'RecBole cannot train it' if of_recbole else 'It cannot be trained'}: {note}"
    m, cells = measured, [name, "yes" if "site" in measured else "no"]
    share = number(m["share"]) if "share" in m else ""
    cells += [m.get("site", ""), m.get("positions", ""), share, m.get("head", "")]
    if "ndcg" in m:
        low, high = m["interval"]
        cells += [f"{number(m['ndcg'])} ({m['cases']:,})"]
        cells += [f"{number(m['kept'])} ({number(low)} to {number(high)})"]
        cells += [f"{m['verified']} of {m['tested']}"]
    else:
        cells += [""] * 3
    cells += [steering_of(m), times(trained, measured), note.replace("|", "\\|")]
    return f"| {' | '.join(cells)} |"


def steering_of(m: Facts) -> str:
    """Whether steering works and for how many users lists change, or what goes wrong."""
    if "as_before" not in m:
        return ""
    wrong = {
        "scores_change": "scores do not change",
        "nothing_is_nothing": "scores differ with nothing turned",
        "as_before": "scores differ afterwards",
    }
    found = [words for fact, words in wrong.items() if not m[fact]]
    return f"no: {', '.join(found)}" if found else f"yes, {100 * m['lists_change']:.0f} %"


def number(value: float | None) -> str:
    """Three decimals, or a dash for what is not known."""
    return "-" if value is None else f"{value:.3f}"


def times(trained: Facts, measured: Facts) -> str:
    """Seconds of both steps, where they were done."""
    return " + ".join(f"{step['seconds']:.0f}" for step in (trained, measured) if step)


def page(
    rows: dict[str, tuple[Facts, Facts]], jobs: int, before: Mapping[str, str] | None = None
) -> str:
    """The whole page: how it was made, and a table for each group of models.

    Models that are in ``before``, lines of an earlier page, and not in ``rows`` keep their lines.
    """
    kept = {name: line for name, line in (before or {}).items() if name not in rows}
    names = ("recsae", "recbole", "torch", "numpy", "pandas", "scipy")
    total = sum(step.get("seconds", 0) for pair in rows.values() for step in pair)
    parts = [
        HEAD.format(
            versions=", ".join(f"{n} {version(n)}" for n in names),
            training=listed(TRAINING),
            run=listed(RUN),
            by_pairs=listed(BY_PAIRS),
            general=listed(OF_GENERAL),
            smaller="; ".join(f"{name} {listed(own)}" for name, own in SMALLER.items()),
            pretrained=listed(PRETRAINING),
            rectools=listed(SETTINGS),
            factors="; ".join(f"{name} {listed(own)}" for name, own in FACTORS.items()),
            minutes=total / 60,
            jobs=jobs,
            kept=f"\nOf today: {', '.join(rows)}. The others were not measured again."
            if kept
            else "",
        )
    ]
    for title, group in GROUPS.items():
        made = {name: row(name, *rows[name]) for name in group if name in rows} | kept
        lines = [made[name] for name in group if name in made]
        if lines:
            head = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
            parts.append("\n".join([f"## {title}\n", *head, *lines, ""]))
    return "\n".join(parts)


def lines_of(path: Path) -> dict[str, str]:
    """The line of each model of a page, by the model's name; none if there is no page."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = {line.split(" | ")[0].removeprefix("| "): line for line in lines if line[:2] == "| "}
    return {name: line for name, line in found.items() if name != COLUMNS[0]}


def listed(settings: Facts) -> str:
    """Settings in a sentence."""
    return ", ".join(f"`{name}` {value}" for name, value in settings.items())


def do_here(step: str, name: str, folder: Path) -> Facts:
    """Do a step in this process; what goes wrong is its result."""
    import torch

    torch.set_num_threads(1)
    try:
        return STEPS[step](name, folder)
    except Exception as error:  # every model has its row
        traceback.print_exc()  # into the step's log
        return {"error": one_line(error).replace(f"{folder}{os.sep}", "")}


def do_apart(step: str, name: str, work: Path, limit_s: int) -> Facts:
    """Do a step in a process of its own, unless its result is there already.

    A process that did not come to its end leaves no result, and is tried again next time.
    """
    folder = work / name
    result, fresh = folder / f"{step}.json", folder / f"{step}.part"
    if result.exists():
        return dict(json.loads(result.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    fresh.unlink(missing_ok=True)
    click.echo(f"{step} {name}", err=True)
    started = time.perf_counter()
    ended = _process(step, name, work, limit_s)
    if not fresh.exists():
        return {"error": ended, "seconds": time.perf_counter() - started}
    return dict(json.loads(fresh.replace(result).read_text()))


def _process(step: str, name: str, work: Path, limit_s: int) -> str:
    command = [sys.executable, __file__, "--only", name, "--work", str(work), "--step", step]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if step == "train":  # RecBole's later stages read a pickled Config, which torch now refuses
        environment["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    with (work / name / f"{step}.log").open("wb") as log:
        try:
            done = subprocess.run(
                command, env=environment, stdout=log, stderr=log, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return f"stopped after {limit_s} s"
    return f"the process ended with {done.returncode}"


def both(name: str, work: Path, limit_s: int) -> tuple[Facts, Facts]:
    """Train a model and, where that can be done, measure it."""
    trained = do_apart("train", name, work, limit_s)
    return trained, {} if "error" in trained else do_apart("measure", name, work, limit_s)


@click.command()
@click.option("--only", help="Some models, separated by commas; the others keep their lines.")
@click.option("--work", type=click.Path(path_type=Path), help="Keep checkpoints and results here.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/MODELS.md"))
@click.option("--jobs", default=1, show_default=True, help="Models at a time, one thread each.")
@click.option("--limit", "limit_s", default=600, show_default=True, help="Seconds for a step.")
@click.option("--remeasure", is_flag=True, help="Keep the checkpoints, measure anew.")
@click.option("--step", type=click.Choice(list(STEPS)), hidden=True)
def main(
    only: str | None,
    work: Path | None,
    out: Path,
    jobs: int,
    limit_s: int,
    remeasure: bool,
    step: str | None,
) -> None:
    """Train every model, attach recsae to it and write the table.

    The same command with the same --work goes on where it was stopped.
    """
    known = [name for group in GROUPS.values() for name in group]
    names = only.split(",") if only else known
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise click.UsageError(f"There is no model {', '.join(unknown)}.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (work or Path(scratch)).resolve()
        if step:
            found = do_here(step, names[0], folder / names[0])
            found["seconds"] = time.process_time()  # whatever else the machine does meanwhile
            (folder / names[0] / f"{step}.part").write_text(json.dumps(found))
            return
        if remeasure:
            for name in names:
                (folder / name / "measure.json").unlink(missing_ok=True)
        with ThreadPoolExecutor(jobs) as pool:
            rows = pool.map(partial(both, work=folder, limit_s=limit_s), names)
            text = page(dict(zip(names, rows, strict=True)), jobs, lines_of(out))
    out.write_text(text, encoding="utf-8")
    click.echo(f"Wrote {out}")


if __name__ == "__main__":
    main()
