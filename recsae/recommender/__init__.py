"""The seam: all that recsae asks of a trained recommender, and all that a plug-in's author types.

Users' sequences, items, states, scores and the recommender's own evaluation; how plug-ins are
found; how a module that somebody else owns is edited and given back; how scores become lists and
lists become metrics. It knows no SAE and imports ``core`` alone.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.recommender.catalog import ItemCatalog as ItemCatalog
    from recsae.recommender.catalog import build_catalog as build_catalog
    from recsae.recommender.evaluation import leave_one_out as leave_one_out
    from recsae.recommender.hooks import replaced_method as replaced_method
    from recsae.recommender.item_table import read_items_csv as read_items_csv
    from recsae.recommender.plugins import Plugin as Plugin
    from recsae.recommender.plugins import load_recommender as load_recommender
    from recsae.recommender.protocol import EvaluationCases as EvaluationCases
    from recsae.recommender.protocol import LinearHead as LinearHead
    from recsae.recommender.protocol import Recommender as Recommender
    from recsae.recommender.protocol import Site as Site
    from recsae.recommender.protocol import StatedScore as StatedScore
    from recsae.recommender.protocol import find_site as find_site
    from recsae.recommender.sequences import Batch as Batch
    from recsae.recommender.sequences import Sequences as Sequences
    from recsae.recommender.sequences import split_users as split_users
    from recsae.recommender.user_table import build_user_table as build_user_table

__all__ = [
    "Batch",
    "EvaluationCases",
    "ItemCatalog",
    "LinearHead",
    "Plugin",
    "Recommender",
    "Sequences",
    "Site",
    "StatedScore",
    "build_catalog",
    "build_user_table",
    "find_site",
    "leave_one_out",
    "load_recommender",
    "read_items_csv",
    "replaced_method",
    "split_users",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Batch": "sequences",
        "EvaluationCases": "protocol",
        "ItemCatalog": "catalog",
        "LinearHead": "protocol",
        "Plugin": "plugins",
        "Recommender": "protocol",
        "Sequences": "sequences",
        "split_users": "sequences",
        "Site": "protocol",
        "StatedScore": "protocol",
        "build_catalog": "catalog",
        "build_user_table": "user_table",
        "find_site": "protocol",
        "leave_one_out": "evaluation",
        "load_recommender": "plugins",
        "read_items_csv": "item_table",
        "replaced_method": "hooks",
    },
)
