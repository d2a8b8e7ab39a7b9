"""Published claims as experiments that can fail: one page each."""

from isthmus.studies.contract import (
    PILOT,
    Check,
    Figures,
    Study,
    Trial,
    get_study,
    studies,
    study,
)

__all__ = ["PILOT", "Check", "Figures", "Study", "Trial", "get_study", "studies", "study"]
