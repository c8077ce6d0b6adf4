"""Lists of a finished run calibrated to each user's own history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsae.finished.steered import Steered
from recsae.steering.tuning.calibrate import asked_calibration, calibrate

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace
    from recsae.steering.calibration.results import CalibrationResult
    from recsae.steering.files import GoalRequest


@dataclass(frozen=True, repr=False)
class CalibratedSteering:
    """How far lists were calibrated, and the steering that does it."""

    result: CalibrationResult
    steered: Steered

    def __repr__(self) -> str:
        return f"CalibratedSteering({self.result!r})"

    def _repr_html_(self) -> str:
        return self.result._repr_html_()


def calibrated(
    work: Workspace,
    attribute: str,
    request: GoalRequest,
    *,
    method: str | None,
    candidates: int | None,
    compare: bool,
) -> CalibratedSteering:
    """Calibrate to each user's own history; see :meth:`recsae.finished.opened.OpenRun.calibrate`.

    Raises
    ------
    InvalidInput
        Something is asked for that cannot go together with it.
    """
    asked_calibration(attribute, request, method, candidates)
    found = calibrate(
        work,
        attribute,
        request.max_loss,
        method=method,
        candidates=candidates,
        compare=compare,
    )
    return CalibratedSteering(found.result, Steered(work, found.steering))
