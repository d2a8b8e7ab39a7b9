"""A benchmark of sparse dictionaries on a language model: what is measured, and on equal terms.

>>> from isthmus import dictionary_benchmark
>>> found = dictionary_benchmark.benchmark(["topk", "batchtopk"], ["core"], out="benchmark")

The command is ``isthmus benchmark RUN ...``; the guide is docs/benchmark-of-dictionaries.md.
"""

from isthmus.dictionary_benchmark.benchmark_figures import BenchmarkResult
from isthmus.dictionary_benchmark.benchmark_runs import UserData, benchmark
from isthmus.dictionary_benchmark.ground import BenchmarkSettings
from isthmus.dictionary_benchmark.task_registry import TASKS

__all__ = ["TASKS", "BenchmarkResult", "BenchmarkSettings", "UserData", "benchmark"]
