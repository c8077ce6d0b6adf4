"""A stand-in for the client of a language model, without a server."""

import json

from helpers.llm_server import data_of
from recsae.core.llm.server import Answer
from recsae.core.llm.settings import LanguageSettings


class Judge:
    """Stands for a client; answers with what ``say`` makes of the lines of each prompt."""

    def __init__(self, say, **settings):
        self.settings = LanguageSettings(base_url="http://x/v1", model="m", **settings)
        self.say, self.prompts = say, []

    def ask(self, prompts, what="", progress=None):
        self.prompts += prompts
        said = [self.say(data_of(prompt)) for prompt in prompts]
        return [Answer(s if isinstance(s, str) else json.dumps(s)) for s in said]
