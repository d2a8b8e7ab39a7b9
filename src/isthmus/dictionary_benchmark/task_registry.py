"""The tasks by name, in the order of the table."""

from collections.abc import Sequence

from isthmus.dictionary_benchmark.attribute_swaps import AttributeSwaps
from isthmus.dictionary_benchmark.code_length import CodeLength
from isthmus.dictionary_benchmark.core_measures import CoreMeasures
from isthmus.dictionary_benchmark.label_scores import LabelScores
from isthmus.dictionary_benchmark.letter_absorption import LetterAbsorption
from isthmus.dictionary_benchmark.probe_perturbation import ProbePerturbation
from isthmus.dictionary_benchmark.sparse_probing import SparseProbing
from isthmus.dictionary_benchmark.spurious_removal import SpuriousRemoval
from isthmus.dictionary_benchmark.task_protocol import BenchmarkTask
from isthmus.dictionary_benchmark.topic_unlearning import TopicUnlearning
from isthmus.errors import IsthmusError, unknown

TASKS: dict[str, BenchmarkTask] = {
    task.name: task
    for task in (
        CoreMeasures(),
        SparseProbing(),
        SpuriousRemoval(),
        ProbePerturbation(),
        LetterAbsorption(),
        CodeLength(),
        AttributeSwaps(),
        TopicUnlearning(),
        LabelScores(),
    )
}
"""All tasks."""


def tasks_named(names: Sequence[str] | None) -> list[BenchmarkTask]:
    """The tasks of these names, in the order of the table; all for None."""
    if names is None:
        return list(TASKS.values())
    folded = [name.replace("-", "_") for name in names]
    for name in folded:
        if name not in TASKS:
            raise unknown("task of the benchmark", name, TASKS)
    if not folded:
        raise IsthmusError(f"no task was named: choose of {', '.join(TASKS)}")
    return [task for name, task in TASKS.items() if name in folded]
