"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from molflow.build import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; renamed to it when the block ends, removed when the block fails.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "figures.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with clear_errors(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Nothing that exists is replaced unless asked, and a file needs a folder to be in."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; choose another name, or say --overwrite to replace it")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.absolute().parent}; make it, or choose another name")


@contextlib.contextmanager
def clear_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the system says while ``path`` is written, as a message for its user."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(f"{path}: the disk is full; nothing was left behind. Free some space") from None
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
