"""A function over many items in worker processes that can be killed.

RDKit's loops are C++ and hear no Python signal, and some inputs make them run for hours or crash. So each worker is a
process of its own: one that hangs or dies costs its item, never the batch. The processes are started by hand, not by
``multiprocessing``: that would run the caller's script again in every worker unless it is guarded.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

# glibc gives large blocks back to the system and asks for them anew, a page fault for every 4 KiB: a worker keeps them,
# and in large pages where the system has some. Other systems read no such variable.
KEEPS_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"
    ":glibc.malloc.hugetlb=1"
}

WRITERS = 4  # who write what a GPU makes: more would wait for it


@dataclass(frozen=True)
class Failure:
    """Why an item has no result: it ran out of time, it killed its worker, or the function raised."""

    kind: Literal["timeout", "crash", "error"]
    message: str


def cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_ready: list[_Worker] = []  # processes that wait for the next pool


@contextmanager
def prepared(count: int, module: str) -> Iterator[None]:
    """Within it ``count`` processes import a module, while this one may still do so itself; the next pool takes them.

    What takes seconds to import is then imported once by the clock, not twice. Those that nobody took end with it.
    """
    _ready.extend(_Worker(module) for _ in range(count))
    try:
        yield
    finally:
        while _ready:
            _ready.pop().kill()


def processes(workers: int | None, on_cpu: bool) -> int:
    """Those that share a command's work, so many or by default: one a processor where a CPU computes, a few to write
    what another device has computed.
    """
    if workers is not None:
        return workers
    return cpus() if on_cpu else min(cpus(), WRITERS)


def check_workers(workers: int | None) -> None:
    """A UserError where a user's --workers is no number of processes."""
    from molflow.build import UserError

    if workers is not None and workers < 0:
        raise UserError(f"--workers must be 0 (this process alone) or more, not {workers}")


def map_killable(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    workers: int | None = None,
    timeout: float | None = None,
    chunk: int = 1,
) -> Generator[tuple[int, Any], None, None]:
    """(index, result or Failure) of each item, in order, as they become ready.

    ``workers`` is the number of processes, by default one a processor; 0 runs the function here, where nothing can be
    killed and ``timeout`` (seconds for one item) does not apply. ``chunk`` items travel together, which pays where
    an item takes less than a millisecond. The function must be importable, or a ``functools.partial`` of one that is.

    >>> [result for _, result in map_killable(abs, [-1, "no", 3], workers=0)]
    [1, Failure(kind='error', message="TypeError: bad operand type for abs(): 'str'"), 3]
    """
    workers = cpus() if workers is None else workers
    if workers < 0 or chunk < 1 or (timeout is not None and timeout <= 0):
        raise ValueError(f"workers={workers}, chunk={chunk}, timeout={timeout}: expected at least 0, 1, and above 0")
    if workers == 0:
        return ((index, attempt(function, item)) for index, item in enumerate(items))
    if getattr(getattr(function, "func", function), "__module__", None) == "__main__":
        raise ValueError(f"{function} lives in the main script, where a worker cannot import it: move it to a module")
    return _Pool(pickle.dumps(function), workers, timeout, chunk).run(enumerate(items))


def attempt(function: Callable[[Any], Any], item: Any) -> Any:
    """The result, or the Failure of one that raised."""
    try:
        return function(item)
    except Exception as error:
        return Failure("error", f"{type(error).__name__}: {error}")


class _Pool:
    def __init__(self, function: bytes, size: int, timeout: float | None, chunk: int):
        self.function, self.size, self.timeout, self.chunk = function, size, timeout, chunk
        self.workers: list[_Worker] = []
        self.redo: deque[tuple[int, bytes]] = deque()  # items a killed worker had not reached
        self.done: dict[int, Any] = {}

    def run(self, items: Iterator[tuple[int, Any]]) -> Generator[tuple[int, Any], None, None]:
        due = taken = 0  # the index to yield next, and the first not yet handed out
        ahead = 16 * self.size * self.chunk  # as far as results may run ahead of one that is slow

        def next_work() -> list[tuple[int, bytes]]:
            nonlocal taken
            if self.redo:
                return [self.redo.popleft() for _ in range(min(self.chunk, len(self.redo)))]
            if taken - due >= ahead:
                return []
            work = [(index, pickle.dumps(item)) for index, item in islice(items, self.chunk)]
            taken += len(work)
            return work

        try:
            while True:
                while due in self.done:
                    yield due, self.done.pop(due)
                    due += 1
                while sum(bool(worker.work) for worker in self.workers) < self.size and (work := next_work()):
                    self._idle().give(work)
                busy = [worker for worker in self.workers if worker.work]
                if not busy:
                    return
                self._listen(busy)
        finally:
            for worker in self.workers:
                worker.kill()

    def _idle(self) -> _Worker:
        for worker in self.workers:
            if not worker.work:
                return worker
        worker = _ready.pop() if _ready else _Worker()
        worker.learn(self.function)
        self.workers.append(worker)
        return worker

    def _listen(self, busy: list[_Worker]) -> None:
        limits = [worker.since + self.timeout for worker in busy if self.timeout and worker.since is not None]
        patience = max(0.0, min(limits) - time.monotonic()) if limits else None
        ready = wait([worker.connection for worker in busy], patience)
        for worker in busy:
            if worker.connection in ready:
                try:
                    worker.hear(self.done)
                except (EOFError, OSError):
                    self._bury(worker, "crash")
            elif self.timeout and worker.since is not None and time.monotonic() - worker.since > self.timeout:
                self._bury(worker, "timeout")

    def _bury(self, worker: _Worker, kind: Literal["timeout", "crash"]) -> None:
        status = worker.kill()
        self.workers.remove(worker)
        if worker.since is None:
            raise RuntimeError(f"a worker process ended with status {status} before it could begin")
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        message = f"took longer than {self.timeout:g} s" if kind == "timeout" else f"its process ended with {how}"
        index, _ = worker.work.popleft()
        self.done[index] = Failure(kind, message)
        self.redo.extendleft(reversed(worker.work))


class _Worker:
    """The parent's end of one process, which may import a module before it is told its function."""

    def __init__(self, module: str = ""):
        self.connection, theirs = Pipe()
        self.work: deque[tuple[int, bytes]] = deque()  # given and not yet answered; it is busy with the first
        self.since: float | None = None  # when it began its first item; None until it has started up
        handle = theirs.fileno()
        shared: dict[str, Any] = {"pass_fds": [handle]}
        if sys.platform == "win32":
            os.set_handle_inheritable(handle, True)
            shared = {"close_fds": False}
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from molflow.workers import _serve; _serve()", str(handle), module],
            stdin=subprocess.DEVNULL,
            stdout=2,  # a stray print must not mix with what the program writes
            env={**KEEPS_MEMORY, **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            **shared,
        )
        theirs.close()

    def learn(self, function: bytes) -> None:
        with suppress(OSError):  # one that has died: listening will find out
            self.connection.send_bytes(function)

    def give(self, work: list[tuple[int, bytes]]) -> None:
        self.work.extend(work)
        if self.since is not None:
            self.since = time.monotonic()
        with suppress(OSError):  # one that has died: listening will find out
            self.connection.send([item for _, item in work])

    def hear(self, done: dict[int, Any]) -> None:
        answer = self.connection.recv_bytes()
        self.since = time.monotonic()
        if answer:  # nothing but the first word, "I have started", is empty
            index, _ = self.work.popleft()
            done[index] = attempt(pickle.loads, answer)

    def kill(self) -> int:
        self.process.kill()
        self.connection.close()
        return self.process.wait()


def _serve() -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    handle, module = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection

        connection = PipeConnection(handle)
    else:
        connection = Connection(handle)
    with suppress(EOFError, ConnectionError):  # the parent has gone, or needs no more
        if module:
            importlib.import_module(module)
        function = pickle.loads(connection.recv_bytes())
        connection.send_bytes(b"")
        while True:
            for item in connection.recv():
                result = attempt(lambda data: function(pickle.loads(data)), item)
                try:
                    answer = pickle.dumps(result)
                except Exception as error:
                    answer = pickle.dumps(Failure("error", f"the result cannot be sent: {error}"))
                connection.send_bytes(answer)
