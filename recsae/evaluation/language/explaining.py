"""Names for latents: a language model reads what each is active on, and where it is not.

Both are of construction users, and no attribute label is among it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.core import columns as C
from recsae.evaluation.language.prompts import ItemTexts, explaining_prompt
from recsae.evaluation.language.replies import Explanation, read_explanation

if TYPE_CHECKING:
    import pandas as pd

    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.core.llm.client import LanguageClient
    from recsae.core.progress import Progress
    from recsae.evaluation.language.sampling import CaseSampler
    from recsae.evaluation.recsae_protocol import Levels

N_CONTRAST = 10
"""Inactive sequences that are shown beside the examples of a latent."""


class ExplainedLatents(NamedTuple):
    """Names by latent, and why others have none."""

    names: dict[int, Explanation]
    failures: dict[int, str]


def explain(
    client: LanguageClient,
    latents: list[int],
    dictionary: ConceptDictionary,
    sampler: CaseSampler,
    levels: Levels,
    active_on: pd.DataFrame,
    progress: Progress | None = None,
) -> ExplainedLatents:
    """Ask for a name and a sentence for each latent.

    Parameters
    ----------
    latents
        Such as have examples.
    dictionary
        Whose ``examples`` are shown: the highest, and some at quantiles.
    sampler
        Of the construction cases that the examples are of; gives the contrast, inactive cases, half
        of them at random and half with the states nearest to the examples'.
    levels
        Of the code on the same cases: activations are shown as the paper's levels, 1 to 10.
    active_on
        The items that tell best where each latent is active, counted on the same cases, see
        :func:`recsae.evaluation.active_on.active_items`: what people are shown of it too.
    """
    texts = ItemTexts(sampler.cases.catalog)
    n_recommended = client.settings.recommendations
    prompts = [
        explaining_prompt(
            _shown(latent, dictionary, sampler, levels, texts, n_recommended),
            texts.active_on(active_on[active_on[C.LATENT] == latent]),
        )
        for latent in latents
    ]
    answers = client.ask(prompts, "explaining concepts", progress)
    names, failures = {}, {}
    for latent, answer in zip(latents, answers, strict=True):
        name = read_explanation(answer.text) if answer.text is not None else None
        if name is not None:
            names[latent] = name
        else:
            failures[latent] = answer.problem or "the reply has no name and explanation in it"
    return ExplainedLatents(names, failures)


def _shown(
    latent: int,
    dictionary: ConceptDictionary,
    sampler: CaseSampler,
    levels: Levels,
    texts: ItemTexts,
    n_recommended: int,
) -> list[dict[str, Any]]:
    """Sequences of a prompt, the strongest first."""
    examples = dictionary.examples[dictionary.examples[C.LATENT] == latent]
    examples = examples.drop_duplicates(C.CASE).sort_values(C.ACTIVATION, ascending=False)
    active = examples[C.CASE].to_numpy(np.int64)
    quiet = sampler.inactive(latent, sampler.unit_states(active), N_CONTRAST)
    reached = [*levels.of(examples[C.ACTIVATION].to_numpy()), *np.zeros(len(quiet), dtype=int)]
    return [
        {"level": int(level), **texts.sequence(sampler.cases, row, n_recommended)}
        for level, row in zip(reached, [*active, *quiet], strict=True)
    ]
