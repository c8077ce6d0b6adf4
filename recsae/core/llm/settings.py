"""Settings of the language stage: server, model, sampling, and how many cases are judged."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from recsae.core.limits import MAX_FLOAT, MAX_LATENTS, MAX_SEED

HOW_TO_RUN = {"base_url", "concurrency", "timeout", "retries"}
"""Settings that change no result, only where and how fast it is made."""


OURS = ("model", "messages", "stream")
"""Fields of a request that ``extra`` cannot set."""
MAX_AT_ONCE = 1000
"""Connections at a time: the SDK opens no more."""
MAX_IN_PROMPT = 1000
"""Cases in one prompt: they would fill the context of any model."""
MAX_EXTRA = 10_000
"""Characters of ``extra`` as JSON, which goes into every request."""


def _address(url: str) -> str:
    """An address of a server, and nothing else: it is kept with the run and shown in messages."""
    if "@" in url or "?" in url or "#" in url:
        raise ValueError(
            "it is kept with the run, so give it without user name, password and anything from a "
            "? or # on; a key goes into OPENAI_API_KEY"
        )
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # no port, no IPv6 address
        fits = False
    if not fits or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError("an address such as http://localhost:8000/v1 is needed")
    return url


def _fields(extra: dict[str, Any]) -> dict[str, Any]:
    """More fields of a request, which JSON can hold."""
    for name in OURS:
        if name in extra:
            raise ValueError(f"{name!r} is set by recsae and cannot be given here")
    try:
        size = len(json.dumps(extra, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            "JSON has no such values (dates, NaN, infinities, deep nesting)"
        ) from error
    if size > MAX_EXTRA:
        raise ValueError(f"at most {MAX_EXTRA:,} characters of JSON can go into every request")
    return extra


class LanguageSettings(BaseModel):
    """Settings of the language stage. The key comes from the environment, ``OPENAI_API_KEY``."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    base_url: Annotated[str, Field(max_length=2000), AfterValidator(_address)]
    """Of an OpenAI-compatible server, such as ``http://localhost:8000/v1``."""
    model: str = Field(min_length=1, max_length=500)
    concepts: int = Field(100, ge=1, le=MAX_LATENTS)
    """How many latents to explain, the best first."""
    cases: int = Field(1000, ge=4, le=MAX_LATENTS)
    """Held-out cases, drawn at random, on which every name and label is judged."""
    active: int = Field(20, ge=4, le=MAX_LATENTS)
    """Active cases of a latent at least, among these or besides."""
    marks: int = Field(40, ge=4, le=MAX_LATENTS)
    """Active cases of a latent at most with an item marked, which may be the one that matters."""
    batch: int = Field(10, ge=2, le=MAX_IN_PROMPT)
    """Cases in one question."""
    descriptions: int = Field(20, ge=1, le=MAX_IN_PROMPT)
    """Names, or labels, in one question; fewer make more questions, each of them easier."""
    recommendations: int = Field(10, ge=1, le=10)
    """Recommendations shown with each case; attribute labels speak of up to ten."""
    seed: int = Field(0, ge=0, le=MAX_SEED)
    """Of the choice of cases."""
    temperature: float | None = Field(0.0, ge=0, le=MAX_FLOAT)
    """Left out of the request if None, for servers that refuse it; so are the next two."""
    max_tokens: int | None = Field(2000, ge=1, le=10**9)
    sampling_seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    extra: Annotated[dict[str, Any], AfterValidator(_fields)] = Field(default_factory=dict)
    """More fields of the request, such as ``{"reasoning_effort": "low"}``."""
    price_in: float | None = Field(None, ge=0, le=MAX_FLOAT)
    """Per million tokens read; the cost is reported if this and ``price_out`` are given."""
    price_out: float | None = Field(None, ge=0, le=MAX_FLOAT)
    concurrency: int = Field(8, ge=1, le=MAX_AT_ONCE)
    timeout: float = Field(300.0, gt=0, le=86_400)
    """Seconds to wait for one answer, all its retries included."""
    retries: int = Field(5, ge=0, le=100)

    def made_from(self) -> dict[str, Any]:
        """The settings that change results."""
        return self.model_dump(exclude=HOW_TO_RUN)

    def request(self) -> dict[str, Any]:
        """The fields of every request besides its messages and ``extra``.

        >>> LanguageSettings(base_url="http://x/v1", model="m", max_tokens=None).request()
        {'model': 'm', 'temperature': 0.0}
        """
        sampling = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.sampling_seed,
        }
        known = {key: value for key, value in sampling.items() if value is not None}
        return {"model": self.model, **known}
