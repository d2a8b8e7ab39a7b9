"""Any recipes on the user's own data, on equal terms and with baselines beside them."""

from isthmus.comparison.runner import Comparison, ComparisonSettings, compare
from isthmus.comparison.tasks import TASKS

__all__ = ["TASKS", "Comparison", "ComparisonSettings", "compare"]
