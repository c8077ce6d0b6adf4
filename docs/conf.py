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
exclude_patterns = ["docs/notebooks/*/**"]  # the runs that the notebooks are shown on
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "imported-members": True}
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_attr_annotations = False  # signatures have the types; in text `np.bool_` reads as a link

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
        group = importlib.import_module("recsae.cli.entry").group
        parent = click.Context(
            group, info_name="recsae", terminal_width=96, **group.context_settings
        )
        return [self._section(parent, name) for name in group.list_commands(parent)]

    def _section(self, parent: click.Context, name: str) -> nodes.section:
        command = parent.command.get_command(parent, name)
        context = click.Context(command, info_name=name, parent=parent)
        section = nodes.section(ids=[name], names=[name])
        section += nodes.title(text=name)
        section += nodes.literal_block(text=command.get_help(context), language="none")
        return section


def skip(app: "Sphinx", what: str, name: str, value: object, skip: bool, options: Any) -> bool:
    """Whether a member is left out: pydantic's settings, and the fields of a NamedTuple.

    The signature has the fields; of each there is nothing but its number to say.
    """
    generated = str(getattr(value, "__doc__", "")).startswith("Alias for field number")
    return skip or name == "model_config" or generated


def setup(app: "Sphinx") -> dict[str, Any]:
    """What Sphinx calls first."""
    app.connect("autodoc-skip-member", skip)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
