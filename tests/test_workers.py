"""The items are expressions for ``eval``, a function that every worker can import."""

import itertools
import os
import platform
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from molflow import workers as processes
from molflow.workers import Failure, map_killable, prepared

FOREVER = "max(__import__('itertools').repeat(0))"  # C code that hears no signal
DIE = "__import__('os').abort()"
SLOWLY = "__import__('time').sleep(0.2) or 7"


def results(items, **keywords):
    answers = list(map_killable(eval, items, **keywords))
    assert [index for index, _ in answers] == list(range(len(answers)))
    return [result for _, result in answers]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order_for_any_number_of_workers(workers):
    items = [SLOWLY if k == 2 else f"{k} * {k}" for k in range(40)]
    assert results(items, workers=workers, chunk=3) == [7 if k == 2 else k * k for k in range(40)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_costs_its_item(workers):
    good, bad, after = results(["1", "1 / 0", "2"], workers=workers)
    assert (good, after) == (1, 2)
    assert bad == Failure("error", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("chunk", [1, 4])
def test_a_hang_and_a_crash_cost_their_items_alone(chunk):
    items = ["1", FOREVER, "3", DIE, "5", "6", "7", "8"]
    began = time.monotonic()
    answers = results(items, workers=2, timeout=0.5, chunk=chunk)
    assert answers[1] == Failure("timeout", "took longer than 0.5 s")
    assert answers[3] == Failure("crash", "its process ended with SIGABRT")
    assert answers[::2] == [1, 3, 5, 7]
    assert answers[5:] == [6, 7, 8]
    assert time.monotonic() - began < 20


def test_the_limit_is_for_one_item_not_for_a_chunk_or_the_start():
    assert results([SLOWLY] * 4, workers=1, timeout=0.5, chunk=4) == [7] * 4


def test_a_slow_caller_is_no_timeout():
    answers = map_killable(eval, ["1", "2", "3"], workers=1, timeout=0.3)
    assert next(answers) == (0, 1)
    time.sleep(0.8)
    assert list(answers) == [(1, 2), (2, 3)]


def test_items_are_streamed():
    assert list(itertools.islice(map_killable(abs, itertools.count(), workers=2), 3)) == [(0, 0), (1, 1), (2, 2)]
    taken = []
    source = (taken.append(k) or str(k) for k in itertools.count())
    answers = map_killable(eval, itertools.chain([SLOWLY], source), workers=2)
    assert next(answers) == (0, 7)
    assert len(taken) <= 2 * 16 * 2
    answers.close()


def test_a_result_that_cannot_be_sent_is_an_error():
    lost, fine = results(["lambda: 0", "1"], workers=1)
    assert lost.kind == "error"
    assert "cannot be sent" in lost.message
    assert fine == 1


def test_nothing_to_do():
    assert results([], workers=2) == []


def test_a_function_may_carry_arguments():
    assert list(map_killable(partial(max, 3), [1, 5], workers=1)) == [(0, 3), (1, 5)]


def test_mistakes():
    with pytest.raises(ValueError, match="workers=-1"):
        map_killable(abs, [], workers=-1)
    with pytest.raises(ValueError, match="timeout=0"):
        map_killable(abs, [], timeout=0)
    with pytest.raises(Exception, match="lambda"):
        map_killable(lambda x: x, [], workers=1)


def children(pid: int) -> list[int]:
    tasks = f"/proc/{pid}/task/{pid}/children"
    with open(tasks) as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.skipif(not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="needs Linux's /proc")
def test_ctrl_c_ends_the_workers_and_scripts_need_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from molflow.workers import map_killable\n"
        f"for answer in map_killable(eval, ['1', {FOREVER!r}], workers=2):\n"
        "    print(answer, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout.readline() == b"(0, 1)\n"
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)


def test_the_module_is_light():
    code = "import sys, molflow.workers; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'rdkit')))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
def test_a_worker_keeps_the_memory_it_has(monkeypatch):
    """What was freed is used again without a page fault, unless the user has settings of the kind."""
    block = 40_000_000
    ask = f"[__import__('resource').getrusage(0).ru_minflt for _ in range(3) if b'x' * {block}]"
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    ((_, second, third),) = results([ask], workers=1)
    assert third - second < 100
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    assert results(["__import__('os').environ['GLIBC_TUNABLES']"], workers=1) == ["glibc.malloc.check=1"]


def test_prepared_processes_do_the_work_with_their_module_imported():
    with prepared(2, "wave"):
        began = {worker.process.pid for worker in processes._ready}
        asked = ["('wave' in __import__('sys').modules, __import__('os').getpid())"] * 8
        found = results([f"{SLOWLY} and {one}" for one in asked], workers=2)
        assert {pid for _, pid in found} == began
        assert all(imported for imported, _ in found)


def test_prepared_processes_that_nobody_took_are_ended():
    with pytest.raises(KeyError), prepared(2, "wave"):
        left = [worker.process for worker in processes._ready]
        raise KeyError
    assert [process.returncode for process in left] == [-signal.SIGKILL] * 2
    assert results(["1"], workers=1) == [1]


def test_a_prepared_process_that_died_is_an_error_as_any_that_cannot_begin():
    with prepared(1, "no_such_module"):
        processes._ready[0].process.wait()
        with pytest.raises(RuntimeError, match="before it could begin"):
            results(["1"], workers=1)
