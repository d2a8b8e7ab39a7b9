"""Work that any number of processes share through a folder, on one machine or on many.

A folder holds what is to be done (``work.json``), who is at what (``leases``), and what was done
(``trials``, a file a task). A process takes a task by making a file that only one can make, says at
intervals that it still lives, and writes the result; what belongs to one that died is taken over.
"""

from isthmus.workers.assignment import Assignment, assigned, read_assignment
from isthmus.workers.lease import Lease, take
from isthmus.workers.loop import Job, Results, run_through
from isthmus.workers.worker_processes import start_here

__all__ = [
    "Assignment", "Job", "Lease", "Results", "assigned", "read_assignment", "run_through",
    "start_here", "take",
]  # fmt: skip
