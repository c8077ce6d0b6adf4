"""The verdict, which is the report's first sentence, and its headlines.

They are written for somebody who has never heard of an autoencoder. The page and the card say the
same, so the sentences are made once, here.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from recsae.report.schema.parts import Code, Concept, Figure
from recsae.report.schema.report import AttributeScore, NamedShare, Report
from recsae.report.words.formats import listing, number, percent

BASELINES: tuple[Code, ...] = ("random", "neurons", "pca")
CODE_NAMES: dict[str, str] = {
    "sae": "SAE concepts",
    "random": "random directions",
    "neurons": "raw neurons",
    "pca": "principal components",
}
TIE = 0.01
"""Differences up to this are called a tie: one point is within what another seed gives."""

FEW_USERS = 200
"""Held-out users under which a concept of one in ten is seldom active often enough to verify."""

Outcome = Literal["wins", "ties", "loses"]


@dataclass(frozen=True)
class Verdict:
    """Whether the concepts beat their baselines; ``tone`` picks the colour."""

    tone: Literal["good", "mixed", "bad", "unknown"]
    title: str
    detail: str


@dataclass(frozen=True)
class Headline:
    """One figure of the first screen: the number, what it is, and how it was measured."""

    figure: str
    says: str
    how: str


def verdict(report: Report) -> Verdict:
    """Say whether the concepts beat their baselines: the report's first sentence.

    The named share of 32 concepts decides; the attribute AUC can only lower the verdict.
    """
    shares, aucs = share_outcomes(report), auc_outcomes(report)
    if not shares:
        return Verdict(
            "unknown",
            "Not compared with baselines",
            "No share of the model’s behaviour could be computed for the concepts and for a "
            "baseline, so nothing here shows that the concepts are worth more than chance.",
        )
    if lost := _those(shares, "loses"):
        return Verdict(
            "bad",
            f"The concepts lose to {listing(lost)}: do not trust this dictionary",
            f"{_shares(report)} Directions that were never trained to be concepts explain more. "
            "Single concepts may still be right, but the dictionary as a whole is not a good "
            "description of this model.",
        )
    if tied := _those(shares, "ties"):
        return Verdict(
            "bad",
            f"The concepts are no better than {listing(tied)}: do not rely on this dictionary",
            f"{_shares(report)} A difference of at most one point is counted as a tie.",
        )
    return _verdict_by_auc(report, aucs)


def _verdict_by_auc(report: Report, aucs: dict[Code, Outcome]) -> Verdict:
    behind = _those(aucs, "loses") + _those(aucs, "ties")
    if behind:
        return Verdict(
            "mixed",
            f"The concepts explain more than every baseline, but tell single attributes "
            f"no better than {listing(behind)}",
            f"{_shares(report)} {_aucs(report)} Trust the set of concepts more than any one of "
            "them.",
        )
    if not aucs:
        return Verdict(
            "good",
            "The concepts explain more than every baseline",
            f"{_shares(report)} There were no attributes to test single concepts against.",
        )
    return Verdict("good", "The concepts beat every baseline", f"{_shares(report)} {_aucs(report)}")


def _shares(report: Report) -> str:
    shares = report.named_share
    theirs = [f"{CODE_NAMES[c]} {percent(explained(shares[c]))}" for c in BASELINES if c in shares]
    n = report.data.n_heldout_users
    few = ""
    if report.model.one_state_per_user and n < FEW_USERS:
        few = f" With only {n:,} held-out users, a state each, few concepts can be verified."
    return (
        f"Share explained by up to 32 verified concepts: SAE {percent(explained(shares['sae']))}, "
        f"{', '.join(theirs)}.{few}"
    )


def _aucs(report: Report) -> str:
    rows = report.attributes
    theirs = [
        f"{CODE_NAMES[c]} {number(mean_auc(rows, c))}"
        for c in BASELINES
        if mean_auc(rows, c) is not None
    ]
    best = mean_auc(rows, "supervised")
    bound = f" (a direction fitted to the answers: {number(best)})" if best is not None else ""
    return (
        f"Telling an attribute with one latent, mean AUC: SAE {number(mean_auc(rows, 'sae'))}, "
        f"{', '.join(theirs)}{bound}."
    )


def headlines(report: Report) -> list[Headline]:
    """Return the three figures of the first screen."""
    return [share_headline(report), accuracy_headline(report), count_headline(report)]


def share_headline(report: Report) -> Headline:
    """Say what share of the model’s behaviour its named concepts explain."""
    share = report.named_share.get("sae")
    about = "scores" if report.model.linear_head else "hidden states"
    if share is None or share.of_32 is None or not share.n_verified:
        return Headline("–", "Share explained: could not be computed", "Too few verified concepts.")
    n = min(32, share.n_verified)
    return Headline(
        percent(share.of_32),
        f"of what the model’s {about} depend on can be said with "
        + (f"{n} named, verified concepts" if n != 1 else "one named, verified concept"),
        f"Share of the variance of its {about} on held-out users, with the concepts chosen on "
        f"others; 8 concepts: {percent(share.of_8)}, 16: {percent(share.of_16)}.",
    )


def accuracy_headline(report: Report) -> Headline:
    """Say how well the model survives the autoencoder."""
    held = report.accuracy.heldout
    if held.ndcg_kept is None:
        return Headline("–", "Accuracy kept: could not be computed", "No held-out cases.")
    low, high = held.ndcg_kept_ci
    interval = f"95% interval {percent(low)} to {percent(high)}; " if low is not None else ""
    where = "" if report.model.one_state_per_user else f"{held.n_positions:,} positions of "
    return Headline(
        percent(held.ndcg_kept),
        "of the model’s ranking quality survives when it sees only what the concepts carry",
        f"NDCG kept with every state replaced by its reconstruction; {interval}"
        f"{where}{held.n_users:,} held-out users.",
    )


def count_headline(report: Report) -> Headline:
    """Say how many concepts passed, and how many of them are different."""
    c = report.concepts
    return Headline(
        f"{c.distinct_verified:,}",
        f"different concepts are verified ({c.verified:,} of {report.sae.n_latents:,} latents; "
        "several latents can share a label)",
        f"{c.tested:,} latents were tested on held-out users; {c.supported:,} more are "
        f"supported, {c.unsupported:,} are not, {c.untested:,} were active too seldom to test.",
    )


def heldout_note(report: Report) -> str:
    """Say what held-out means here, and what it does not."""
    d = report.data
    return (
        f"Held-out users ({d.n_heldout_users:,} of {d.n_users:,}) were not seen by the "
        "autoencoder or by the labels. The recommender itself was trained on everybody’s "
        "training part, theirs included."
    )


# -- the SAE beside its baselines ------------------------------------------------------------------


def explained(share: NamedShare) -> Figure:
    """Return the share that up to 32 verified concepts explain: none without such concepts."""
    return 0.0 if share.of_32 is None and not share.n_verified else share.of_32


def share_outcomes(report: Report) -> dict[Code, Outcome]:
    """Compare the named share of 32 concepts with each baseline that has one."""
    shares = {code: explained(s) for code, s in report.named_share.items()}
    ours = shares.get("sae")
    if ours is None:
        return {}
    return {c: _outcome(ours, v) for c in BASELINES if (v := shares.get(c)) is not None}


def mean_auc(rows: list[AttributeScore], code: str) -> Figure:
    """Return the mean attribute AUC of a code's best latents, where there are any."""
    known = [v for row in rows if (v := getattr(row, f"auc_{code}")) is not None]
    return fmean(known) if known else None


def auc_outcomes(report: Report) -> dict[Code, Outcome]:
    """Compare the mean attribute AUC with each baseline, over attributes that both have."""
    outcomes: dict[Code, Outcome] = {}
    for code in BASELINES:
        both = [
            (row.auc_sae, theirs)
            for row in report.attributes
            if row.auc_sae is not None and (theirs := getattr(row, f"auc_{code}")) is not None
        ]
        if both:
            outcomes[code] = _outcome(fmean(a for a, _ in both), fmean(b for _, b in both))
    return outcomes


def _outcome(ours: float, theirs: float) -> Outcome:
    if abs(ours - theirs) <= TIE:
        return "ties"
    return "wins" if ours > theirs else "loses"


def _those(outcomes: dict[Code, Outcome], outcome: Outcome) -> list[str]:
    return [CODE_NAMES[c] for c in BASELINES if outcomes.get(c) == outcome]


# -- concepts --------------------------------------------------------------------------------------


def fire_rate(concept: Concept) -> Figure:
    """Return how often a concept is active, on held-out cases where that is known."""
    known = concept.heldout_fire_rate
    return concept.fire_rate if known is None else known


def distinct_key(concept: Concept) -> tuple[str, str]:
    """Return what makes two concepts the same: attribute and value, else the name."""
    if concept.attribute is not None and concept.value is not None:
        return concept.attribute, concept.value
    return "", concept.name.casefold()


def best_distinct(report: Report, n: int = 20) -> list[Concept]:
    """Return the best verified concepts that nobody rejected, each distinct one once."""
    verified = [
        c for c in report.concepts.list if c.status == "verified" and c.correction != "rejected"
    ]
    verified.sort(key=lambda c: (-(c.ci_low or 0.0), -(c.balanced_accuracy or 0.0), c.latent))
    first: dict[tuple[str, str], Concept] = {}
    for concept in verified:
        first.setdefault(distinct_key(concept), concept)
    return list(first.values())[:n]
