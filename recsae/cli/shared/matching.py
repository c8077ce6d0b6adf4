"""How the latents of two runs were paired, in words: for ``compare`` and ``steer --migrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.explore.compare import Matching
    from recsae.explore.migration import MigratedLatent


def how_matched(matching: Matching) -> str:
    """Say what counts as a pair, or why only names are compared."""
    from recsae.sae.matching import ALIKE, SAME

    if matching.method == "direction":
        return (
            "Same model and site: two latents are a pair where the decoder direction of each is "
            f"the other's nearest, at a cosine above {SAME}."
        )
    if matching.method == "activity":
        return (
            f"{'Another site of the same' if matching.same_model else 'Another'} model: two "
            "latents are a pair where the activations of each correlate most with the other's, "
            f"above {ALIKE}, at the {matching.n_cases:,} held-out positions that both runs have."
        )
    return f"{matching.obstacle} So only names are compared."


def migrated_row(migrated: MigratedLatent) -> dict[str, Any]:
    """Say of one latent of a steering file what stands for it in the new run."""
    now = migrated.counterpart
    return {
        "latent": migrated.latent,
        "name": migrated.name,
        "now": ", ".join(map(str, now.latents)) or "left out",
        "names now": "; ".join(dict.fromkeys(migrated.new_names)),
        "by": now.by if now.latents else None,
        "similarity": now.similarity,
    }
