"""The first screen: what the recommender pays attention to, six concepts, trust, what to do next.

Every sentence is made of counts and figures of the report; concepts are chosen by what was measured
of them, never by how they sound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from recsae.concepts.attributes.names import (
    DECADE,
    ERA,
    FANS,
    HALF,
    ITEM_ITSELF,
    LENGTH,
    PERIOD,
    POPULARITY,
    REPEAT,
    TERM,
)
from recsae.core.text import readable
from recsae.report.schema.parts import Concept
from recsae.report.schema.report import Report
from recsae.report.words.concepts import (
    best_distinct,
    fire_rate,
    follows,
    never_back,
    plainness,
    right_words,
    usefulness,
)
from recsae.report.words.formats import floor_percent, interval, listing, percent
from recsae.report.words.goals import steering_line
from recsae.report.words.headlines import share_of

N_CARDS = 6
N_MOST = 12
"""Concepts that the first sentence speaks of: those that explain most of the scores."""
N_TITLES = 2
"""Titles on a card that a concept follows, and that it promotes."""
N_HISTORY = 5
"""Items of the history on a card, the last ones."""
MAX_TOGETHER = 0.6
"""Correlation of activity from which on two concepts are not shown beside each other."""
MOST_ACTIVE = 0.5
"""A concept on a card is active on no more than so many of the cases: else it tells little."""
MAX_ALIKE = 2
"""Cards about one subject."""
SUBJECTS = {
    DECADE: "how old items are",
    ERA: "how old items are",
    POPULARITY: "how popular items are",
    HALF: "how popular items are",
    PERIOD: "whether items come early or late in histories",
    FANS: "which audience items have",
    ITEM_ITSELF: "single items",
    TERM: "words of titles",
    REPEAT: "what was consumed before",
    LENGTH: "how long histories are",
}
"""What a concept is about, by the attribute of its label; any other attribute is its own name."""
RECENT = ("last", "last5")
"""Views of a history that look no further back than its last five items."""
HISTORIES = (*RECENT, "last20", "last50", "share50", "history")
KINDS = {
    "item": "follow a few items",
    "theme": "follow a theme",
    "situation": "follow the situation, such as how popular items are",
    "general": "are active nearly everywhere",
}
"""What the concepts of a kind do; see ``Concept.kind``."""


@dataclass(frozen=True)
class Card:
    """One concept as the first screen shows it; items are titles."""

    latent: int
    name: str
    label: str
    right: str
    """How often it is right when it speaks, and how many cases it finds."""
    sure: str
    """The lower bounds of both."""
    follows: Sequence[str]
    promotes: Sequence[str]
    history: Sequence[str]
    """The last items of somebody on whom it is most active, oldest first."""
    recommended: Sequence[str]
    """The beginning of that person's list."""


@dataclass(frozen=True)
class Fact:
    """One line on how far to trust the concepts."""

    name: str
    figure: str
    says: str


@dataclass(frozen=True)
class Step:
    """Something to do next: a question, where in the page it leads, the command that answers it."""

    question: str
    says: str
    href: str
    command: str


def attention(report: Report) -> str:
    """What the recommender pays attention to, in a sentence or two; counts only.

    Empty where no concept is verified.
    """
    most = _most(report)
    subjects = _subjects(most)
    if not subjects:
        return ""
    (first, n), *others = subjects
    if len(most) == 1:
        return f"One concept is verified: it is about {first}."
    said = [f"{n} are about {first}", *(f"{n} about {subject}" for subject, n in others[:2])]
    rest = sum(n for _, n in others[2:])
    said += [f"{rest} about something else"] if rest else []
    those = f"the {len(most)} verified concepts that explain most of its scores"
    return f"Of {those} {listing(said)}."


def kinds(report: Report) -> str:
    """How many different verified concepts follow what, and how far back they look."""
    known = [c for c in report.concepts.list if c.status == "verified" and not c.correction]
    counts = Counter(str(c.kind) for c in known)
    said = [f"{counts[kind]:,} {does}" for kind, does in KINDS.items() if counts[kind]]
    if not said:
        return ""
    text = f"Of {_number(len(known), 'verified concept')} {listing(said)}."
    reading = [c for c in known if c.predicate_site in HISTORIES]
    recent = sum(c.predicate_site in RECENT for c in reading)
    if reading:
        text += (
            f" {len(reading):,} read the history, {recent:,} of them no further back than its last "
            "five items; the others say what is recommended."
        )
    return text


def headline(report: Report) -> str:
    """The two subjects of most of the best concepts, as the first words of the page."""
    most = _most(report)
    subjects = [subject for subject, n in _subjects(most) if n > 1 or len(most) < 4][:2]
    if not subjects:
        return ""
    return f"{report.model.name} looks first at {listing(subjects)}"


def cards(report: Report, n: int = N_CARDS) -> list[Card]:
    """The concepts of the first screen: precise, common, stable and different, best first.

    Useful ones (see :func:`recsae.report.words.concepts.usefulness`) that say what items are come
    first; at most two are about the same, and no two are active on the same cases.
    """
    known = [c for c in _sound(report) if (fire_rate(c) or 0.0) <= MOST_ACTIVE]
    known.sort(key=lambda c: (never_back(c), plainness(c) > 1, -usefulness(c), c.latent))
    chosen: list[Concept] = []
    for most in (MAX_ALIKE, n):  # a catalogue with one attribute has cards of that one
        for concept in known:
            alike = sum(_subject(other) == _subject(concept) for other in chosen)
            beside = any(other is concept or _together(concept, other) for other in chosen)
            if len(chosen) < n and alike < most and not beside:
                chosen.append(concept)
    made: list[Card] = []
    for concept in chosen:
        made.append(_card(concept, report, {title for card in made for title in card.follows}))
    return made


def trust(report: Report) -> list[Fact]:
    """How far to trust the concepts: together, one by one, and whether they come back."""
    facts = []
    share, quality = report.named_share.get("sae"), report.label_quality.get("sae")
    if share is not None and share.of_32 is not None:
        n = min(32, share.n_verified)
        about = "scores" if report.model.linear_head else "hidden states"
        says = f"of what its {about} depend on is said by {_number(n, 'named concept')}"
        facts.append(Fact("Together", interval(share_of(share), 0), says))
    if quality is not None and quality.value[0] is not None:
        says = "is how right labels are, precision and recall in one"
        facts.append(Fact("One by one", interval(quality.value, 0), says))
    rows = report.stability.summary if report.stability else []
    for row in rows:
        if (row.among, row.level) == ("verified", "label") and row.every is not None:
            says = (
                "of the verified concepts come back with their label every time the analysis is "
                f"repeated (by chance, once: {percent(row.chance)})"
            )
            facts.append(Fact("Again", percent(row.every), says))
    return facts


def steps(report: Report, best: Sequence[Card]) -> list[Step]:
    """What to do next, with the first of the best concepts, which are :func:`cards`."""
    name = best[0].name if best else "CONCEPT"
    theme = next((c for c in best_distinct(report) if c.kind == "theme" and not c.negated), None)
    of = theme.value if theme is not None and theme.attribute != FANS and theme.value else name
    user = next((e.user for c in best_distinct(report, 1) for e in c.examples), "USER")
    return [
        Step(
            "More of something?",
            steering_line(report)
            or "What it takes, and what it costs in accuracy, beside other ways to get it.",
            "#steering" if report.steering or report.goals else "#concepts",
            f"recsae tune RUN {_goal(report) or f'--more {_quoted(of)}'}",
        ),
        Step(
            "Why this item?",
            "Which concepts put an item where it stands, and which items of the history.",
            "#concepts",
            f"recsae explain RUN --user {_quoted(user)}",
        ),
        Step(
            "Another model?",
            "What became of each concept in another run. What this one was made of is below.",
            "#run",
            "recsae compare RUN OTHER --html both.html",
        ),
    ]


def _goal(report: Report) -> str:
    """The first goal that was tried, as the options of ``recsae tune`` have it."""
    goal = report.goals.rows[0].goal if report.goals and report.goals.rows else ""
    way, _, of = goal.partition(" ")
    return f"--{way} {_quoted(of.rpartition(': ')[2])}" if way in ("more", "less") and of else ""


def _sound(report: Report) -> list[Concept]:
    """Different verified concepts that nobody rejected."""
    return best_distinct(report, len(report.concepts.list))


def _most(report: Report) -> list[Concept]:
    """Those that explain most of the scores, as far as their labels are right."""
    known = _sound(report)
    return sorted(known, key=lambda c: (-(c.explains or 0.0) * (c.f1 or 0.0), c.latent))[:N_MOST]


def _subject(concept: Concept) -> str:
    if concept.attribute is None:
        return "everything"
    return SUBJECTS.get(concept.attribute, concept.attribute.replace("_", " "))


def _subjects(concepts: Iterable[Concept]) -> list[tuple[str, int]]:
    """What concepts are about and how many, most first."""
    return Counter(map(_subject, concepts)).most_common()


def _together(one: Concept, other: Concept) -> bool:
    pairs = ((one, other.latent), (other, one.latent))
    return any(
        t.kind == "with" and t.latent == latent and (t.phi or 0.0) > MAX_TOGETHER
        for concept, latent in pairs
        for t in concept.together
    )


def _card(concept: Concept, report: Report, told: Set[str]) -> Card:
    """The card; items that follow is said of on another one tell nothing more."""

    def titles(items: Iterable[str]) -> list[str]:
        return [readable(report.title(item)) for item in items]

    example = next((e for e in concept.examples if e.kind == "top"), None)
    return Card(
        latent=concept.latent,
        name=concept.name,
        label=concept.label,
        right=right_words(concept.status, concept.precision, concept.recall),
        sure=f"at least {floor_percent(concept.precision_low)} and "
        f"{floor_percent(concept.recall_low)}, {percent(report.protocol.one_sided_level)} sure of "
        "each",
        follows=[t for t in titles(follows(concept)) if t not in told][:N_TITLES],
        promotes=titles(weight.item for weight in concept.promotes[:N_TITLES]),
        history=titles(example.items[-N_HISTORY:] if example else []),
        recommended=titles(concept.recommended),
    )


def _number(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


def _quoted(text: str) -> str:
    """A word of a command line, in quotation marks where it needs them."""
    from shlex import quote

    return quote(text)
