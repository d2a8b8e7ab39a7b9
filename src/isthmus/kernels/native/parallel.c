/* Tasks on threads: the process's OpenMP runtime where there is one, else threads of our own.
 *
 * PyTorch brings an OpenMP runtime whose threads spin for a while after each of its operations;
 * using the same runtime keeps two pools from competing for the same cores.
 */
#define _GNU_SOURCE
#include "parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#define MAX_THREADS 256

typedef struct {
    task_function function;
    void *argument;
    int64_t tasks;
    atomic_llong next;
    atomic_int slots;
} crew;

static void work(void *argument) {
    crew *c = argument;
    int slot = atomic_fetch_add(&c->slots, 1);
    for (;;) {
        int64_t task = atomic_fetch_add(&c->next, 1);
        if (task >= c->tasks) return;
        c->function(c->argument, task, slot);
    }
}

static void *work_thread(void *argument) {
    work(argument);
    return NULL;
}

typedef void (*gomp_parallel)(void (*)(void *), void *, unsigned, unsigned);

static gomp_parallel find_runtime(void) {
#if defined(_WIN32)
    return NULL;
#else
    union {
        void *data;
        gomp_parallel function;
    } found = {dlsym(RTLD_DEFAULT, "GOMP_parallel")};
    return found.function;
#endif
}

void run_tasks(task_function function, void *argument, int64_t tasks, int threads) {
    crew c = {.function = function, .argument = argument, .tasks = tasks};
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads > tasks) threads = (int)tasks;
    if (threads <= 1) {
        work(&c);
        return;
    }
    gomp_parallel parallel = find_runtime();
    if (parallel) {
        parallel(work, &c, (unsigned)threads, 0);
        return;
    }
    pthread_t others[MAX_THREADS];
    int started = 0;
    while (started < threads - 1 &&
           pthread_create(&others[started], NULL, work_thread, &c) == 0)
        started++;
    work(&c);
    for (int i = 0; i < started; i++) pthread_join(others[i], NULL);
}
