"""``report.json``'s schema, and everything drawn and written from it.

It reads no run and computes no figure. It imports ``core``, and of ``concepts`` names, wording and
corrections.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.report.schema.report import Report as Report
    from recsae.report.write import read_report as read_report
    from recsae.report.write import write_report as write_report

__all__ = ["Report", "read_report", "write_report"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Report": "schema.report",
        "read_report": "write",
        "write_report": "write",
    },
)
