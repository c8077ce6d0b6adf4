"""One prompt to an OpenAI-compatible server, and its failures in one sentence each.

The server is a stranger: it cannot send the prompts elsewhere, hold an answer beyond its deadline,
fill the memory, or get the key into a message or a file.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.core.errors import LabelerFailed
from recsae.core.llm.text import MAX_TEXT, clean

if TYPE_CHECKING:
    from recsae.core.llm.settings import LanguageSettings

KEY = "OPENAI_API_KEY"
"""The environment variable of the key."""
MAX_REPLY = 20_000
"""Characters of a reply that are kept, its end: bounds the file of an answer."""
MAX_BYTES = 4 << 20
"""Bytes of a whole reply: MAX_REPLY characters, escaped, are a thirtieth of it."""
MAX_TOKENS = 10**9
"""Tokens that a reply may state of itself; a higher count is none."""
SHORTEST_KEY = 8
"""Characters of a key that is a secret: shorter ones are words that local servers take, such as
EMPTY, and words of answers."""
CONNECT_SECONDS = 10.0
"""How long to wait for a connection, which a running server accepts at once."""
TOO_LONG = f"the reply is longer than {MAX_BYTES >> 20} MB"
COMPRESSED = "the reply is compressed, though none was asked for"
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
    """The SDK's asynchronous client, a context manager; it retries and waits by itself.

    It follows no redirect, and reads at most ``MAX_BYTES`` of a reply.
    """
    try:
        import openai
    except ImportError as error:
        raise LabelerFailed(
            'The package openai is needed to ask a language model: pip install "recsae[llm]".'
        ) from error
    key = _key()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise LabelerFailed(f"{KEY} is no key: it has a blank, a line break or no ASCII in it.")
    try:
        http = openai.DefaultAsyncHttpxClient(
            follow_redirects=False, event_hooks={"response": [_bound]}
        )
    except ValueError:  # its text can have the password of a proxy
        raise LabelerFailed(
            "The proxy in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is no address that "
            "can be used: correct or unset it."
        ) from None
    return openai.AsyncOpenAI(
        api_key=key or "none",  # local servers want some key, whatever it is
        base_url=settings.base_url,
        timeout=openai.Timeout(settings.timeout, connect=CONNECT_SECONDS),
        max_retries=settings.retries,
        default_headers={"Accept-Encoding": "identity"},  # small bytes unpack to many
        http_client=http,
    )


def _key() -> str:
    return os.environ.get(KEY, "").strip()


async def _bound(response: Any) -> None:
    """Let a reply end with an error once it is too long, before the SDK reads it whole."""
    import openai

    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise openai.OpenAIError(COMPRESSED)
    http = importlib.import_module(type(response).__module__.partition(".")[0])

    class Bounded(http.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            n_bytes = 0
            async for chunk in self.stream:
                n_bytes += len(chunk)
                if n_bytes > MAX_BYTES:
                    raise openai.OpenAIError(TOO_LONG)
                yield chunk

        async def aclose(self) -> None:
            await self.stream.aclose()

    response.stream = Bounded(response.stream)


async def ask_one(server: Any, settings: LanguageSettings, prompt: str) -> Answer:
    """The answer to one prompt; a failure of this prompt alone is a problem of the answer.

    Raises
    ------
    LabelerFailed
        Every other prompt would fail as well.
    """
    import openai

    try:
        async with asyncio.timeout(settings.timeout):
            reply = await server.chat.completions.create(
                messages=messages(prompt), extra_body=settings.extra or None, **settings.request()
            )
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        return Answer(None, f"the server refused the question: {_said(error)}")
    except (openai.OpenAIError, TimeoutError) as error:
        for reason in (str(error), str(error.__cause__)):  # older SDKs wrap it
            if reason in (TOO_LONG, COMPRESSED):
                return Answer(None, reason)
        # not "from error": a traceback would show what the server said as it said it
        raise LabelerFailed(_sentence(error, settings)) from None
    except (ValueError, RecursionError) as error:  # the body is no JSON
        return Answer(None, f"the reply is no JSON ({_safe(error)})")
    return _read(reply)


def _read(reply: Any) -> Answer:
    """The answer in a reply of the SDK, which checks nothing itself."""
    try:
        text, usage = reply.choices[0].message.content, reply.usage
    except (AttributeError, IndexError, KeyError, TypeError):
        return Answer(None, f"the reply is no chat completion ({_safe(reply, 80)!r})")
    if not isinstance(text, str) or not text.strip():
        return Answer(None, "the reply has no text")
    whole = _without_key(text.encode("utf-8", "replace").decode("utf-8"))  # no half surrogates
    counts = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
    return Answer(whole[-MAX_REPLY:], None, *map(token_count, counts))


def token_count(value: object) -> int | None:
    """A count that can be believed, or None.

    >>> token_count(7), token_count(-1), token_count("7"), token_count(10**30)
    (7, None, None, None)
    """
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _sentence(error: Exception, settings: LanguageSettings) -> str:
    """The message for an error that every prompt would meet."""
    import openai

    model, where = settings.model, settings.base_url
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return f"{model!r} at {where} gave no answer within {settings.timeout:g} seconds. {KEPT}"
    if isinstance(error, openai.APIConnectionError):
        why = _safe(error.__cause__ or error)
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
    if isinstance(error, openai.APIStatusError) and 300 <= error.status_code < 400:
        there = _safe(error.response.headers.get("Location", "an address it does not name"))
        return (
            f"The server at {where} sends requests on to {there} ({error.status_code}), which are "
            f"not sent there: give the address of the server that answers. {KEPT}"
        )
    return f"The server at {where} failed ({_said(error)}). {KEPT}"


def _said(error: Exception) -> str:
    """Status and message of the server on one line."""
    body = getattr(error, "body", None)
    words = body.get("message") if isinstance(body, dict) else None
    status = getattr(error, "status_code", "")
    return f"{status} {_safe(words or error)}".strip()


def _safe(text: object, limit: int = MAX_TEXT) -> str:
    """Words of the server or the SDK on one line, without the key."""
    return clean(_without_key(str(text)), limit)


def _without_key(text: str) -> str:
    key = _key()
    return text.replace(key, "[the key]") if len(key) >= SHORTEST_KEY else text
