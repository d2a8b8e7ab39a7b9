"""Any recipes on the user's own data, on equal terms and with baselines beside them."""

from isthmus.comparison.comparison_results import Comparison, ComparisonSettings
from isthmus.comparison.runner import compare
from isthmus.comparison.tasks import TASKS

__all__ = ["TASKS", "Comparison", "ComparisonSettings", "compare"]
