"""The verdict, which is the report's first sentence, and its headlines.

They are written for somebody who has never heard of an autoencoder. The page and the card say the
same, so the sentences are made once, here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from recsae.report.schema.goals import Measured
from recsae.report.schema.parts import Code, Figure, Interval
from recsae.report.schema.report import AttributeScore, NamedShare, Report, ShareFigure
from recsae.report.words.formats import interval, listing, percent

BASELINES: tuple[Code, ...] = ("random", "neurons", "pca")
"""Directions that were never trained to be concepts: not to beat one of them is to fail."""
RIVALS: tuple[Code, ...] = ("plain", "gates")
"""What could stand in the dictionary's place: an SAE without a core, a core drawn at random."""
LABELLED: tuple[Code, ...] = (*BASELINES, "plain")
"""Codes whose labels are searched as the SAE's are; the statements of a core are given."""
CODE_NAMES: dict[Code, str] = {
    "sae": "SAE concepts",
    "core": "the core alone",
    "found": "the found ones alone",
    "words": "their words alone",
    "statements": "chosen statements",
    "plain": "plain SAE",
    "gates": "core drawn at random",
    "random": "random directions",
    "neurons": "raw neurons",
    "pca": "principal components",
}
BAR_NAMES: dict[Code, tuple[str, str]] = {
    "sae": ("these concepts", "all that are listed here, asked for or found"),
    "core": (
        "asked for (the core)",
        "concepts made for a statement about items or histories that the states hold",
    ),
    "found": ("found in training", "in what those asked for leave of a state"),
    "words": ("labels, yes or no", "whether each label is true, not how active its concept is"),
    "statements": ("chosen statements", "of the same vocabulary, chosen for what they explain"),
    "plain": ("plain SAE", "another autoencoder, for which nothing was asked for"),
    "gates": (
        "core drawn at random",
        "as those asked for, but drawn at random among all statements that states hold",
    ),
    "random": ("random directions", "in the model’s states: what chance gives"),
    "neurons": ("raw neurons", "single numbers of the model’s states"),
    "pca": ("principal components", "directions in which states vary most"),
}
"""What codes are called beside their bars, and what they are."""
FEW_USERS = 200
"""Held-out users under which a concept of one in ten is seldom active often enough to verify."""

Outcome = Literal["ahead", "tied", "behind"]
NDCG = (
    "How high the item that a user went on to stands in the list of ten: 1 if it is always first, "
    "0 if it is never there."
)
TIE_SAYS = "A difference whose 95% interval holds 0 is called a tie."


@dataclass(frozen=True)
class Verdict:
    """Whether the concepts beat their baselines; ``tone`` picks the colour."""

    tone: Literal["good", "mixed", "bad", "unknown"]
    title: str
    detail: str
    beaten: str = ""
    """In what every baseline is beaten, where each is."""


@dataclass(frozen=True)
class Bar:
    """One code's figure beside those of the others."""

    name: str
    code: str
    value: float


@dataclass(frozen=True)
class Headline:
    """One tile of the first screen: the number, what it is, and how it was measured."""

    figure: str
    says: str
    how: str
    interval: str = ""
    """In words; empty where there is none."""
    bars: tuple[Bar, ...] = ()
    """The same figure of every code, the SAE first."""


def verdict(report: Report) -> Verdict:
    """Say whether the concepts beat their baselines: the report's first sentence.

    The named share of 32 concepts decides; the quality of labels can only lower the verdict. Ahead
    or behind is only what the interval of the difference, user by user, leaves no doubt of.
    """
    shares = share_outcomes(report)
    if not shares:
        return Verdict(
            "unknown",
            "Not compared with baselines",
            "No share of the model’s behaviour could be computed for the concepts and for a "
            "baseline, so nothing here shows that the concepts are worth more than chance.",
        )
    if lost := _those(shares, "behind", BASELINES):
        return Verdict(
            "bad",
            f"The concepts lose to {listing(lost)}: do not trust this dictionary",
            f"{_shares(report)} Directions that were never trained to be concepts explain more. "
            "Single concepts may still be right, but the dictionary as a whole is not a good "
            "description of this model.",
        )
    if tied := _those(shares, "tied", BASELINES):
        return Verdict(
            "bad",
            f"The concepts are no better than {listing(tied)}: do not rely on this dictionary",
            f"{_shares(report)} {TIE_SAYS}",
        )
    if lost := _those(shares, "behind", RIVALS):
        return Verdict(
            "mixed",
            f"The concepts explain more than every baseline, but less than the {listing(lost)}",
            f"{_shares(report)} Read the tables below before you prefer this dictionary to "
            "that of recsae run --core none, which has no core.",
        )
    return _verdict_by_labels(report)


def _verdict_by_labels(report: Report) -> Verdict:
    """The verdict where the concepts explain more than every baseline."""
    outcomes = label_outcomes(report)
    if not outcomes:
        return Verdict("good", "The concepts explain more than every baseline", _shares(report))
    detail = f"{_shares(report)} {_qualities(report)}"
    if behind := _those(outcomes, "behind"):
        return Verdict(
            "mixed",
            "The concepts explain more than every baseline, but their labels are less right than "
            f"those of {listing(behind)}",
            f"{detail} Read the evidence of a concept before you trust its name.",
        )
    if tied := _those(outcomes, "tied"):
        return Verdict(
            "mixed",
            "The concepts explain more than every baseline, but their labels are no more right "
            f"than those of {listing(tied)}",
            f"{detail} {TIE_SAYS}",
        )
    if label_outcomes(report, ("gates",)).get("gates", "ahead") != "ahead":
        said = f"{CODE_NAMES['gates']} {interval(report.label_quality['gates'].value, 0)}"
        return Verdict(
            "good",
            "The concepts explain more than every baseline",
            f"{detail} Beside these, {said}: its gates are made from what they are called, and say "
            "less of the scores.",
        )
    return Verdict(
        "good",
        "The concepts beat every baseline",
        detail,
        "They are ahead in two things: how much of the scores is explained, and how right labels "
        "are.",
    )


def _shares(report: Report) -> str:
    shares = report.named_share
    said = [
        f"{CODE_NAMES[c]} {interval(share_of(s), 0)}"
        for c in (*RIVALS, *BASELINES)
        if (s := shares.get(c))
    ]
    n = report.data.n_heldout_users
    few = ""
    if report.model.one_state_per_user and n < FEW_USERS:
        few = f" With only {n:,} held-out users, a state each, few concepts can be verified."
    return (
        "Share explained by up to 32 verified concepts (95% intervals): these concepts "
        f"{interval(share_of(shares['sae']), 0)}, {', '.join(said)}.{few}"
    )


def _qualities(report: Report) -> str:
    known = report.label_quality
    said = [f"{CODE_NAMES[c]} {interval(q.value, 0)}" for c in LABELLED if (q := known.get(c))]
    return (
        "How right labels are, over all activations: these concepts "
        f"{interval(known['sae'].value, 0)}, {', '.join(said)}."
    )


def headlines(report: Report) -> list[Headline]:
    """Return the four tiles of the first screen."""
    return [
        share_headline(report),
        label_headline(report),
        accuracy_headline(report),
        count_headline(report),
    ]


def share_headline(report: Report) -> Headline:
    """Say what share of the model’s behaviour its named concepts explain."""
    share = report.named_share.get("sae")
    about = "scores" if report.model.linear_head else "hidden states"
    if share is None or share.of_32 is None or not share.n_verified:
        return Headline("–", "Share explained: could not be computed", "Too few verified concepts.")
    bars = {code: s.of_32 for code, s in report.named_share.items()}
    return Headline(
        percent(share.of_32),
        f"of what the model’s {about} depend on can be said with {_named(share)}",
        f"Share of the variance of its {about} on held-out users, with the concepts chosen on "
        f"others; 8 concepts: {percent(share.of_8)}, 16: {percent(share.of_16)}.",
        _between(share.intervals.get("32")),
        _bars(bars),
    )


def _named(share: NamedShare) -> str:
    n = min(32, share.n_verified)
    return f"{n} named, verified concepts" if n != 1 else "one named, verified concept"


def label_headline(report: Report) -> Headline:
    """Say how right labels are, beside those of the best baseline."""
    values = {code: quality.value[0] for code, quality in report.label_quality.items()}
    ours = report.label_quality.get("sae")
    if ours is None or ours.value[0] is None:
        return Headline("–", "Quality of labels: could not be computed", "No held-out activations.")
    theirs = [(value, code) for code in LABELLED if (value := values.get(code)) is not None]
    best = ""
    if theirs:
        value, code = max(theirs)
        best = f" ({CODE_NAMES[code]}, the best whose labels are found, reach {percent(value)})"
    return Headline(
        percent(ours.value[0]),
        f"is how right labels are: pick any activation and read what it is called{best}",
        "F1 (precision and recall in one) of each label on held-out users, verified or not, "
        f"weighted by activations. {standing(label_outcomes(report))}",
        _between(ours.value[1:]),
        _bars(values),
    )


def accuracy_headline(report: Report) -> Headline:
    """Say how well the model survives: with all latents, and with the named ones alone."""
    held, share = report.accuracy.heldout, report.named_share.get("sae")
    if held.ndcg_kept is None:
        return Headline("–", "Accuracy kept: could not be computed", "No held-out cases.")
    survives = "of the model’s ranking quality survives with all concepts, named or not"
    how = "NDCG kept with every state replaced by its reconstruction"
    how += _in_brackets(held.ndcg_kept_ci)
    where = "" if report.model.one_state_per_user else f"{held.n_positions:,} positions of "
    users = f"; {where}{held.n_users:,} held-out users."
    kept = percent(held.ndcg_kept)
    if share is None or share.ndcg_kept_32 is None:
        unknown = f"{survives}; with the named concepts alone it could not be computed"
        return Headline(kept, unknown, how + users)
    alone = f"the {_named(share)} alone" if share.n_verified else "no concept, as none is verified"
    how += ", or by what the named concepts say of it"
    how += _in_brackets(share.intervals.get("ndcg_kept_32"))
    bars = (
        Bar("all, named or not", "all", held.ndcg_kept),
        Bar("the named ones", "sae", share.ndcg_kept_32),
    )
    figure = f"{kept} and {percent(share.ndcg_kept_32)}"
    return Headline(figure, f"{survives}, and with {alone}", how + users, bars=bars)


def count_headline(report: Report) -> Headline:
    """Say how many concepts passed, and how many of them are different."""
    c = report.concepts
    return Headline(
        f"{c.distinct_verified:,}",
        f"different concepts are verified ({c.verified:,} of {report.sae.n_latents:,}; several "
        "can say the same)",
        f"{c.tested:,} were tested on held-out users; {c.supported:,} more are "
        f"supported, {c.unsupported:,} are not, {c.untested:,} were active too seldom to test.",
    )


def _between(ends: Interval | None) -> str:
    """An interval as it stands beside its figure."""
    if ends is None or ends[0] is None:
        return ""
    return f"95% interval {percent(ends[0])} to {percent(ends[1])}"


def _in_brackets(ends: Interval | None) -> str:
    between = _between(ends)
    return f" ({between})" if between else ""


def _bars(values: Mapping[Code, Figure]) -> tuple[Bar, ...]:
    """A bar of every code whose figure is known, the SAE first; none of one alone."""
    said = {c: name for c, (name, _) in BAR_NAMES.items()}
    bars = [Bar(said[c], c, v) for c in said if (v := values.get(c)) is not None]
    return tuple(bars) if len(bars) > 1 else ()


def standing(outcomes: Mapping[Code, Outcome]) -> str:
    """Say which baselines the concepts are ahead of, tied with and behind."""
    words: dict[Outcome, str] = {"ahead": "ahead of", "tied": "tied with", "behind": "behind"}
    parts = [
        f"{said} {listing(those)}" for o, said in words.items() if (those := _those(outcomes, o))
    ]
    return f"The concepts are {', '.join(parts)}." if parts else ""


def heldout_note(report: Report) -> str:
    """Say what held-out means here, and what it does not."""
    d = report.data
    return (
        f"Held-out users ({d.n_heldout_users:,} of {d.n_users:,}) were not seen by the "
        "autoencoder or by the labels. The recommender itself was trained on everybody’s "
        "training part, theirs included."
    )


# -- the SAE beside its baselines ------------------------------------------------------------------


def share_of(share: NamedShare, figure: ShareFigure = "32") -> Measured:
    """Return one of the figures of a named share with its interval."""
    value: Figure = share.ndcg_kept_32
    if figure != "ndcg_kept_32":
        value = getattr(share, f"of_{figure}")
    low, high = share.intervals.get(figure, (None, None))
    return value, low, high


def share_outcomes(report: Report) -> dict[Code, Outcome]:
    """Compare the named share of 32 concepts with that of each other code that has one."""
    ahead = {c: share.sae_ahead.get("32") for c, share in report.named_share.items()}
    return _outcomes(ahead, (*BASELINES, *RIVALS))


def label_outcomes(report: Report, codes: tuple[Code, ...] = LABELLED) -> dict[Code, Outcome]:
    """Compare the quality of labels with that of other codes: those whose labels are searched."""
    ahead = {c: quality.sae_ahead for c, quality in report.label_quality.items()}
    return _outcomes(ahead, codes)


def _outcomes(
    ahead: Mapping[Code, Measured | None], codes: tuple[Code, ...]
) -> dict[Code, Outcome]:
    """By how much the SAE is ahead of each code, judged by the interval of the difference."""
    found: dict[Code, Outcome] = {}
    for code in codes:
        _, low, high = ahead.get(code) or (None, None, None)
        if low is not None and high is not None:
            found[code] = "ahead" if low > 0 else "behind" if high < 0 else "tied"
    return found


def _those(
    outcomes: Mapping[Code, Outcome], outcome: Outcome, codes: tuple[Code, ...] | None = None
) -> list[str]:
    return [CODE_NAMES[c] for c in codes or CODE_NAMES if outcomes.get(c) == outcome]


def mean_auc(rows: list[AttributeScore], code: str) -> Figure:
    """Return the mean attribute AUC of a code's best latents, where there are any."""
    known = [v for row in rows if (v := getattr(row, f"auc_{code}")) is not None]
    return fmean(known) if known else None
