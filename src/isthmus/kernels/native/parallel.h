#ifndef ISTHMUS_PARALLEL_H
#define ISTHMUS_PARALLEL_H

#include <stdint.h>

/* One task; `slot` is a number below the number of threads that no other running task has. */
typedef void (*task_function)(void *argument, int64_t task, int slot);

/* Run tasks 0 .. tasks - 1, each once, in any order. */
void run_tasks(task_function function, void *argument, int64_t tasks, int threads);

#endif
