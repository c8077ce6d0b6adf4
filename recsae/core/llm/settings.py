"""Settings of the language stage: server, model, sampling, and how many cases are judged."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

HOW_TO_RUN = {"base_url", "concurrency", "timeout", "retries"}
"""Settings that change no result, only where and how fast it is made."""


class LanguageSettings(BaseModel):
    """Settings of the language stage. The key comes from the environment, ``OPENAI_API_KEY``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    """Of an OpenAI-compatible server, such as ``http://localhost:8000/v1``."""
    model: str
    concepts: int = Field(100, ge=1)
    """How many latents to explain, the best first."""
    cases: int = Field(40, ge=4)
    """Held-out cases that a label is judged on, half of them active."""
    batch: int = Field(10, ge=2)
    """Cases in one question."""
    recommendations: int = Field(10, ge=1, le=10)
    """Recommendations shown with each case; attribute labels speak of up to ten."""
    seed: int = Field(0, ge=0)
    """Of the choice of cases."""
    temperature: float | None = 0.0
    """Left out of the request if None, for servers that refuse it; so are the next two."""
    max_tokens: int | None = Field(2000, ge=1)
    sampling_seed: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request, such as ``{"reasoning_effort": "low"}``."""
    price_in: float | None = Field(None, ge=0)
    """Per million tokens read; the cost is reported if this and ``price_out`` are given."""
    price_out: float | None = Field(None, ge=0)
    concurrency: int = Field(8, ge=1)
    timeout: float = Field(300.0, gt=0)
    """Seconds to wait for one answer."""
    retries: int = Field(5, ge=0)

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
