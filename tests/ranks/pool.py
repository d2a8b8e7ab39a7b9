"""Ranks as forked processes of the test: two of them begin in a hundredth of a second."""

import multiprocessing
import os
import pickle
import tempfile
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist

_FORK = multiprocessing.get_context("fork")


def every_rank(count, function, *arguments, timeout=60.0):
    """What ``function(rank, count, *arguments)`` returns on each rank, in a group of their own."""
    with tempfile.TemporaryDirectory() as folder:
        pipes, processes = [], []
        for rank in range(count):
            mine, theirs = _FORK.Pipe(duplex=False)
            about = (theirs, rank, count, f"{folder}/meeting", function, arguments)
            process = _FORK.Process(target=_work, args=about)
            process.start()
            theirs.close()
            pipes.append(mine)
            processes.append(process)
        try:
            answers = [_answer(pipe, timeout) for pipe in pipes]
        finally:
            for process in processes:
                process.join(5.0)
                if process.is_alive():
                    process.kill()
    for right, answer in answers:
        assert right, answer
    return [answer for _, answer in answers]


def _answer(pipe, timeout):
    assert pipe.poll(timeout), "a rank gave no answer in time"
    try:
        return pickle.loads(pipe.recv_bytes())  # not by shared memory: the rank is gone by then
    except EOFError:
        return False, "a rank ended without an answer"


def _work(pipe, rank, count, meeting, function, arguments):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=30),
    )
    try:
        pipe.send_bytes(pickle.dumps((True, function(rank, count, *arguments))))
    except BaseException:
        pipe.send_bytes(pickle.dumps((False, traceback.format_exc())))
    pipe.close()
    dist.destroy_process_group()
    os._exit(0)
