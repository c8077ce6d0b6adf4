"""One prompt to an OpenAI-compatible server, and its failures in one sentence each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.core.errors import LabelerFailed
from recsae.core.llm.text import clean

if TYPE_CHECKING:
    from recsae.core.llm.settings import LanguageSettings

KEY = "OPENAI_API_KEY"
"""The environment variable of the key."""
MAX_REPLY = 20_000
"""Characters of a reply that are kept, its end: bounds the file of an answer."""
CONNECT_SECONDS = 10.0
"""How long to wait for a connection, which a running server accepts at once."""
KEPT = "Answers so far are kept, and the same command goes on from there."
"""The end of messages on failures after which the same command can be run again."""


class Answer(NamedTuple):
    """The text of a reply (its end, if it is very long), or None and the problem with it."""

    text: str | None
    problem: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def messages(prompt: str) -> list[dict[str, str]]:
    """A prompt as a conversation; without a system message, which not every model accepts."""
    return [{"role": "user", "content": prompt}]


def open_server(settings: LanguageSettings) -> Any:
    """The SDK's asynchronous client, a context manager; it retries and waits by itself."""
    try:
        import openai
    except ImportError as error:
        raise LabelerFailed(
            'The package openai is needed to ask a language model: pip install "recsae[llm]".'
        ) from error
    return openai.AsyncOpenAI(
        api_key=os.environ.get(KEY) or "none",  # local servers want some key, whatever it is
        base_url=settings.base_url,
        timeout=openai.Timeout(settings.timeout, connect=CONNECT_SECONDS),
        max_retries=settings.retries,
    )


async def ask_one(server: Any, settings: LanguageSettings, prompt: str) -> Answer:
    """The answer to one prompt; a failure of this prompt alone is a problem of the answer.

    Raises
    ------
    LabelerFailed
        Every other prompt would fail as well.
    """
    import openai

    try:
        reply = await server.chat.completions.create(
            messages=messages(prompt), extra_body=settings.extra or None, **settings.request()
        )
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        return Answer(None, f"the server refused the question: {_said(error)}")
    except openai.OpenAIError as error:
        raise LabelerFailed(_sentence(error, settings)) from error
    except ValueError as error:  # the body is no JSON
        return Answer(None, f"the reply is no JSON ({clean(error)})")
    return _read(reply)


def _read(reply: Any) -> Answer:
    """The answer in a reply of the SDK, which checks nothing itself."""
    try:
        text, usage = reply.choices[0].message.content, reply.usage
    except (AttributeError, IndexError, TypeError):
        return Answer(None, f"the reply is no chat completion ({clean(reply, 80)!r})")
    if not isinstance(text, str) or not text.strip():
        return Answer(None, "the reply has no text")
    counts = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
    return Answer(text[-MAX_REPLY:], None, *(c if isinstance(c, int) else None for c in counts))


def _sentence(error: Exception, settings: LanguageSettings) -> str:
    """The message for an error that every prompt would meet."""
    import openai

    model, where = settings.model, settings.base_url
    if isinstance(error, openai.APITimeoutError):
        return f"{model!r} at {where} gave no answer within {settings.timeout:g} seconds. {KEPT}"
    if isinstance(error, openai.APIConnectionError):
        why = clean(error.__cause__ or error)
        return f"No language model answers at {where} ({why}): is the server running? {KEPT}"
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"The server at {where} refused the key ({_said(error)}): set {KEY}. {KEPT}"
    if isinstance(error, openai.NotFoundError):
        return (
            f"The server at {where} knows no model {model!r} ({_said(error)}): check the name, and "
            "that the address ends as the server's manual says, mostly in /v1."
        )
    if isinstance(error, openai.RateLimitError):
        return (
            f"The server at {where} allows no more requests now ({_said(error)}): wait, or ask "
            f"fewer at a time. {KEPT}"
        )
    return f"The server at {where} failed ({_said(error)}). {KEPT}"


def _said(error: Exception) -> str:
    """Status and message of the server on one line."""
    body = getattr(error, "body", None)
    words = body.get("message") if isinstance(body, dict) else None
    status = getattr(error, "status_code", "")
    return f"{status} {clean(words or error)}".strip()
