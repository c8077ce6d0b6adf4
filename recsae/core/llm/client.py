"""A client of a language model that sends several prompts at a time and keeps every answer.

Every answer is a small JSON file, so a call goes on where the last one was stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core.errors import ArtifactMismatch, LabelerFailed
from recsae.core.files import digest_of, read_json, write_json
from recsae.core.llm.server import Answer, ask_one, messages, open_server, token_count

if TYPE_CHECKING:
    from recsae.core.llm.settings import LanguageSettings
    from recsae.core.progress import Progress

GIVE_UP = 20
"""Prompts that may fail, if none has succeeded, before the rest are not sent."""


class LanguageClient:
    """A language model whose answers are kept in a folder.

    Parameters
    ----------
    settings
        Server, model, and sampling parameters.
    cache
        Folder of answers, by hash of messages, model, sampling parameters and the version of the
        prompts. The server's address is no part of it: another server may go on.
    prompt_version
        The version of the prompts' wording; answers to other versions are not used.
    """

    def __init__(self, settings: LanguageSettings, cache: Path, prompt_version: int) -> None:
        self.settings = settings
        self.prompt_version = prompt_version
        self.cache = cache
        self.tokens = {"answers": 0, "prompt": 0, "completion": 0, "uncounted": 0}
        """Tokens of all answers used so far, those of earlier calls included; ``uncounted`` answers
        came without a count."""
        self._answers: dict[str, Answer] = {}

    def ask(
        self, prompts: Sequence[str], what: str = "questions", progress: Progress | None = None
    ) -> list[Answer]:
        """Answers to prompts, in their order; the same prompt is sent once.

        Raises
        ------
        LabelerFailed
            The server cannot be reached, refuses the key or the model, or fails on everything.
        """
        keys = {prompt: self._key(prompt) for prompt in prompts}
        for key in keys.values():
            self._recall(key)
        unknown = {prompt: key for prompt, key in keys.items() if key not in self._answers}

        def report(left: int) -> None:
            if progress:
                progress(len(keys) - left, len(keys), f"{what}, {self._spent()}")

        report(len(unknown))
        if unknown:
            _run(self._ask_all(unknown, report))
        return [self._answers[keys[prompt]] for prompt in prompts]

    def cost(self) -> float | None:
        """Price of the tokens; None if prices were not given or a count is missing."""
        price_in, price_out = self.settings.price_in, self.settings.price_out
        if price_in is None or price_out is None or self.tokens["uncounted"]:
            return None
        return (self.tokens["prompt"] * price_in + self.tokens["completion"] * price_out) / 1e6

    def _spent(self) -> str:
        cost = self.cost()
        tokens = f"{self.tokens['prompt'] + self.tokens['completion']:,} tokens"
        return tokens if cost is None else f"{tokens}, cost {cost:.2f}"

    def _key(self, prompt: str) -> str:
        settings = self.settings
        return digest_of(
            [settings.request(), settings.extra, messages(prompt), self.prompt_version]
        )

    def _path(self, key: str) -> Path:
        return self.cache / key[:2] / f"{key}.json"

    def _recall(self, key: str) -> None:
        """Read an answer from disk; where it is damaged the prompt counts as unanswered."""
        if key in self._answers or not self._path(key).exists():
            return
        try:
            kept = read_json(self._path(key))["answer"]
            answer = Answer(**{name: kept[name] for name in Answer._fields})
        except (ArtifactMismatch, KeyError, TypeError):
            return
        if isinstance(answer.text, str):
            counts = map(token_count, (answer.prompt_tokens, answer.completion_tokens))
            self._remember(key, Answer(answer.text, None, *counts))

    def _remember(self, key: str, answer: Answer) -> None:
        self._answers[key] = answer
        if answer.text is None:
            return
        counts = (answer.prompt_tokens, answer.completion_tokens)
        self.tokens["answers"] += 1
        self.tokens["prompt"] += counts[0] or 0
        self.tokens["completion"] += counts[1] or 0
        self.tokens["uncounted"] += None in counts

    async def _ask_all(self, unknown: dict[str, str], report: Callable[[int], None]) -> None:
        left, problems = len(unknown), 0
        waiting = iter(unknown.items())

        async def ask_on() -> None:
            nonlocal left, problems
            for prompt, key in waiting:
                answer = await ask_one(server, self.settings, prompt)
                if answer.text is not None:
                    kept = {"answer": answer._asdict(), "prompt": prompt}
                    write_json(self._path(key), {**kept, "model": self.settings.model})
                self._remember(key, answer)
                left, problems = left - 1, problems + (answer.text is None)
                if not self.tokens["answers"] and problems == min(len(unknown), GIVE_UP):
                    raise LabelerFailed(
                        f"{self.settings.model!r} at {self.settings.base_url} answered none of "
                        f"{problems} questions: {answer.problem}."
                    )
                report(left)

        async with open_server(self.settings) as server:
            tasks = [asyncio.create_task(ask_on()) for _ in range(self.settings.concurrency)]
            try:
                await asyncio.gather(*tasks)
            finally:  # where one failed, the others need not go on
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also inside a notebook, where a loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
