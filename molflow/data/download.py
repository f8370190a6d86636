"""Files from the net: mirrors in order, resumed where a connection broke, and never used unless the checksum fits."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from molflow.build import UserError

_CHUNK = 1 << 18
_ATTEMPTS = 3  # at each mirror; each goes on where the last one broke
_TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Remote:
    """A published file: its name here, where it lies, its length in bytes and its MD5 sum."""

    name: str
    urls: tuple[str, ...]
    size: int
    md5: str


def fetch(remote: Remote, folder: Path, progress: bool = True) -> Path:
    """``folder/name``, fetched unless it is there already."""
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.exists():
        return checked(remote, target)
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    urls, resumed = list(remote.urls), part.exists()
    while urls:
        url = urls.pop(0)
        try:
            _download(remote, url, part, progress)
            if md5(part) == remote.md5:
                os.replace(part, target)
                return target
            part.unlink()
            if resumed:  # the fault may lie in what was here before
                urls.insert(0, url)
                resumed = False
            else:
                failures.append(f"{url}: what came has another checksum")
        except (OSError, http.client.HTTPException, _Refused) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"{part}: the disk is full; free some space and give the same command again") from None
            failures.append(f"{url}: {getattr(error, 'reason', None) or error or type(error).__name__}")
    kept = f"\nWhat has come so far stays in {part}; the same command goes on from there." if part.exists() else ""
    tried = "\n".join(f"  {line}" for line in failures)
    raise UserError(f"{remote.name} could not be fetched:\n{tried}{kept}\n{_by_hand(remote, target)}")


def checked(remote: Remote, path: Path) -> Path:
    """``path`` if its content is the published file's."""
    if path.stat().st_size != remote.size or md5(path) != remote.md5:
        raise UserError(
            f"{path} is not the published {remote.name}: {path.stat().st_size:,} bytes with MD5 {md5(path)}, where\n"
            f"{remote.size:,} bytes with MD5 {remote.md5} are published. Remove it, and it will be fetched again"
        )
    return path


def md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class _Refused(Exception):
    """A server's answer that cannot be the file."""


def _download(remote: Remote, url: str, part: Path, progress: bool) -> None:
    """Fill ``part`` up to the whole length; a broken connection is taken up again."""
    for attempt in range(_ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        if have > remote.size:
            part.unlink()
            have = 0
        if have == remote.size:
            return
        with contextlib.suppress(TimeoutError, ConnectionError, http.client.HTTPException):
            _request(remote, url, part, have, progress)
            if part.stat().st_size == remote.size:
                return
        if part.exists() and part.stat().st_size == have and attempt:
            break  # nothing more comes from here
    raise _Refused(f"the connection broke after {part.stat().st_size if part.exists() else 0:,} bytes")


def _request(remote: Remote, url: str, part: Path, have: int, progress: bool) -> None:
    from tqdm import tqdm

    headers = {"User-Agent": "molflow", **({"Range": f"bytes={have}-"} if have else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as reply:
        if reply.status not in (200, 206):
            raise _Refused(f"the server answered {reply.status}")
        if reply.status == 200:
            have = 0  # a server that knows no ranges sends the whole file again
        length = reply.headers.get("Content-Length")
        if length and have + int(length) != remote.size:
            raise _Refused(f"the server offers {have + int(length):,} bytes, not {remote.size:,}")
        bar = tqdm(total=remote.size, initial=have, unit="B", unit_scale=True, desc=remote.name, disable=not progress)
        with open(part, "ab" if have else "wb") as file, bar:
            while chunk := reply.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def _by_hand(remote: Remote, target: Path) -> str:
    return (
        f"Without a network here, fetch it elsewhere and put it at {target}\n"
        f"  from {' or '.join(remote.urls)}\n"
        f"  {remote.size:,} bytes, MD5 {remote.md5}"
    )
