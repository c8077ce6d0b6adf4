"""How Sphinx builds the site: ``make docs``. The source is the repository's root."""

import importlib
from typing import TYPE_CHECKING, Any

import click
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from recsae import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "recsae"
version = release = __version__
copyright = "The recsae authors"
html_show_copyright = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**", "benchmarks/*.md"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "imported-members": True}
autodoc_typehints = "signature"
napoleon_google_docstring = False

html_theme = "alabaster"
html_title = "recsae"
html_copy_source = False
html_theme_options = {
    "description": "Understand and correct recommender models through concepts",
    "fixed_sidebar": True,
    "page_width": "1100px",
}


class Commands(SphinxDirective):
    """``{commands}``: the help of every command of the command line."""

    def run(self) -> list[nodes.Node]:
        """A section with a title and a block of text for each."""
        group = importlib.import_module("recsae.cli").group
        parent = click.Context(group, info_name="recsae", max_content_width=96)
        return [self._section(parent, name) for name in group.list_commands(parent)]

    def _section(self, parent: click.Context, name: str) -> nodes.section:
        command = parent.command.get_command(parent, name)
        context = click.Context(command, info_name=name, parent=parent)
        section = nodes.section(ids=[name], names=[name])
        section += nodes.title(text=name)
        section += nodes.literal_block(text=command.get_help(context), language="none")
        return section


def setup(app: "Sphinx") -> dict[str, Any]:
    """What Sphinx calls first."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
