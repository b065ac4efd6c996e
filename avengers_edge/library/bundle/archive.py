"""The archive of a bundle: a plain tar, read from front to back against its manifest, in memory that stays flat.

First comes the manifest (`bundle.json`), then its signature if there is one, the sha256 of both, and the files that the
manifest lists, in its order. Headers are those that `tarfile` writes in GNU format; owner, mode and time are constants.
So every byte follows from the manifest and the files, and any other byte is found. Nothing is extracted under a name
that the archive gives: each listed file is read from its place, and no path, link or device is ever followed.

The installer of a bundle contains this module, so it needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar

from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.library.bundle.signature import is_signed

FORMAT, KIND = 1, "avengers-edge bundle"
MANIFEST, SIGNATURE, CHECKSUMS = "bundle.json", "bundle.json.sig", "bundle.json.sha256"
MAX_MANIFEST_BYTES, MAX_CHECKSUMS_BYTES = 8 * 2**20, 1024
_CHUNK_BYTES = 2**20
_MTIME = 315_532_800  # 1 January 1980, the first day that zip files know; tar takes an earlier one for a mistake
_MAX_NAME_BYTES, _MAX_MEMBER_BYTES = 4096, 2**60
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a pipe",
}


class Member(Protocol):
    """A file that a manifest lists: its path in the archive, its size and hash, and what it is for."""

    @property
    def path(self) -> str:
        """Relative, with slashes."""

    @property
    def bytes(self) -> int:
        """The size."""

    @property
    def sha256(self) -> str:
        """64 hex digits."""

    @property
    def role(self) -> str:
        """What it is for."""


class Manifest(Protocol):
    """What reading an archive needs of its manifest."""

    @property
    def files(self) -> Sequence[Member]:
        """The files, in the order of the archive."""


ManifestT = TypeVar("ManifestT", bound=Manifest)


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not as the manifest says: `what` is bad, missing or extra, `why` is for people."""

    path: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} is {self.what}: {self.why}"


@dataclass(frozen=True)  # no slots: a generic alias could not make one, see python/cpython#105936
class Envelope(Generic[ManifestT]):
    """A manifest with the bytes that it was read from (`payload`) and their signature, if any."""

    manifest: ManifestT
    payload: bytes
    signature: bytes | None

    @property
    def digest(self) -> str:
        """The sha256 of the manifest, which covers all that is in the bundle."""
        return hashlib.sha256(self.payload).hexdigest()

    @property
    def checksums(self) -> bytes:
        """The sha256 of manifest and signature, in the format of `sha256sum`."""
        lines = [f"{self.digest}  {MANIFEST}\n"]
        if self.signature is not None:
            lines.append(f"{hashlib.sha256(self.signature).hexdigest()}  {SIGNATURE}\n")
        return "".join(lines).encode("ascii")

    def entries(self) -> list[tuple[str, bytes]]:
        """List the members before the files, with their content."""
        signature = [] if self.signature is None else [(SIGNATURE, self.signature)]
        return [(MANIFEST, self.payload), *signature, (CHECKSUMS, self.checksums)]

    def archive_bytes(self) -> int:
        """Return the size of the archive."""
        size = sum(_entry_bytes(name, len(data)) for name, data in self.entries())
        return _whole_records(size + sum(_entry_bytes(file.path, file.bytes) for file in self.manifest.files))

    def require_signature(self, key: bytes, where: str) -> None:
        """Check the signature against a public key; `where` names the bundle.

        Raises:
            VerificationFailed: it is missing, or was not made with this key.

        """
        if self.signature is None:
            raise VerificationFailed(
                f"{where} is not signed: have it packed with --sign-key, or check it without --key"
            )
        if not is_signed(key, self.payload, self.signature):
            raise VerificationFailed(
                f"{where} was not signed with the private half of this key, or was changed since: do not use it"
            )


def require_format(kind: object, number: object) -> None:
    """Check the first two fields of a manifest.

    Raises:
        BadRequest: it is no manifest of a bundle.
        VerificationFailed: it is of another format than this version reads.

    """
    if kind != KIND:
        raise BadRequest("kind is not that of a bundle's manifest")
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadRequest("format is no number")
    if number != FORMAT:
        raise VerificationFailed(
            f"it is of format {number} and this version reads format {FORMAT}: install the product that packed it, "
            "which is in its wheels, or pack it again"
        )


def member_info(path: str, size: int) -> tarfile.TarInfo:
    """Return the header of a regular file, with constants for all but its name and size."""
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.mtime = size, 0o644, _MTIME
    return info


def member_header(path: str, size: int) -> bytes:
    """Return the bytes of a header; a long name is in a block of its own before it."""
    return member_info(path, size).tobuf(tarfile.GNU_FORMAT, "utf-8")


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE


def _entry_bytes(path: str, size: int) -> int:
    return len(member_header(path, size)) + size + _padding(size)


def _whole_records(end: int) -> int:
    """Return the size of an archive whose last member ends at `end`: two empty blocks, and a multiple of 10 KiB."""
    return -(-(end + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


@dataclass(frozen=True, slots=True)
class _Header:
    """A header as it was read; `kind` is None for a regular file, or names what else it is."""

    raw: bytes
    path: str
    size: int
    kind: str | None

    @property
    def shown_path(self) -> str:
        return printable(self.path[:200]) or "a file without a name"


class Archive(Generic[ManifestT]):
    """An open archive: `envelope` has its manifest, and `members` goes through its files."""

    def __init__(self, path: Path, file: BinaryIO, read_manifest: Callable[[bytes], ManifestT]) -> None:
        self._path, self._file, self._at = path, file, 0
        self.bytes = path.stat().st_size
        self.envelope = self._read_envelope(read_manifest)
        self._first = self._at

    def require_whole(self) -> None:
        """Check the size of the archive, which shows a copy that was cut off without reading it.

        Raises:
            VerificationFailed: it is larger or smaller than the manifest says.

        """
        if (expected := self.envelope.archive_bytes()) != self.bytes:
            raise self._refusal(f"it has {self.bytes} bytes and should have {expected}: copy it again")

    def members(self, on_problem: Callable[[Problem], None]) -> Iterator[MemberReader]:
        """Go through the files that are where they should be; `on_problem` gets what is not as the manifest says.

        Raises:
            VerificationFailed: the archive is cut off, or its end is damaged.

        """
        files = self.envelope.manifest.files
        index = {file.path: number for number, file in enumerate(files)}
        done = 0  # how many of the files are behind
        self._seek(self._first)
        while True:
            begin = self._at
            try:
                header = self._read_header()
            except tarfile.HeaderError:
                if done == len(files):
                    raise self._refusal(f"it is damaged from byte {begin} on: copy it again") from None
                on_problem(Problem(files[done].path, "bad", "its header is damaged: copy the bundle again"))
                self._seek(begin + _entry_bytes(files[done].path, files[done].bytes))
                done += 1
                continue
            if header is None:
                break
            after = self._at + header.size + _padding(header.size)
            number = index.get(header.path)
            if header.kind is not None or number is None or number < done:
                on_problem(Problem(header.shown_path, "extra", _why_extra(header, listed=number is not None)))
            else:
                for missing in files[done:number]:
                    on_problem(_missing(missing))
                done, file = number + 1, files[number]
                if header.size != file.bytes:
                    on_problem(Problem(file.path, "bad", f"it has {header.size} bytes and should have {file.bytes}"))
                elif header.raw != member_header(file.path, file.bytes):
                    on_problem(Problem(file.path, "bad", "its header is not as `bundle pack` writes it"))
                else:
                    yield MemberReader(file, self)
            self._seek(after)
        for missing in files[done:]:
            on_problem(_missing(missing))
        with self._readable():
            rest = self._file.read(tarfile.RECORDSIZE + 1)
        if any(rest) or self._at + len(rest) != _whole_records(begin):
            raise self._refusal("its end is damaged, or more follows after it: copy it again")

    def read(self, size: int) -> bytes:
        """Read exactly so many bytes; where there are fewer, the archive was cut off."""
        with self._readable():
            data = self._file.read(size)
        if len(data) < size:
            raise self._refusal(f"it ends too early, after {self._at + len(data)} bytes: copy it again")
        self._at += size
        return data

    def read_padding(self, size: int) -> bool:
        """Pass over what follows a content of this size; return whether it is as it should be."""
        return not any(self.read(_padding(size)))

    def _seek(self, at: int) -> None:
        if at > self.bytes:
            raise self._refusal(f"it ends too early, after {self.bytes} bytes: copy it again")
        with self._readable():
            self._at = self._file.seek(at)

    def _read_envelope(self, read_manifest: Callable[[bytes], ManifestT]) -> Envelope[ManifestT]:
        if self.read(len(_ZSTD_MAGIC)) == _ZSTD_MAGIC:
            name = self._path.name.split(".tar")[0]
            raise VerificationFailed(
                f"{self._path} is a bundle of the older format (.tar.zst): pack it again with this version, by "
                f"`avengers bundle pack TEAM --name {name}` where the team is set up"
            )
        self._seek(0)
        payload = self._read_small(MANIFEST, self._front_header(), MAX_MANIFEST_BYTES)
        try:
            manifest = read_manifest(payload)  # before anything else: in another format, other things may follow
        except VerificationFailed as error:
            raise self._refusal(str(error)) from error
        header, signature = self._front_header(), None
        if header.path == SIGNATURE:
            signature = self._read_small(SIGNATURE, header, MAX_CHECKSUMS_BYTES)
            header = self._front_header()
        checksums = self._read_small(CHECKSUMS, header, MAX_CHECKSUMS_BYTES)
        envelope = Envelope(manifest, payload, signature)
        if envelope.checksums != checksums:
            raise self._refusal("its manifest or signature is damaged, for it has another sha256: copy it again")
        return envelope

    def _front_header(self) -> _Header:
        try:
            header = self._read_header()
        except tarfile.HeaderError:
            raise self._refusal(
                "it is no bundle, or its beginning is damaged: check its name, or copy it again"
            ) from None
        if header is None:
            raise self._refusal("it is an empty archive and no bundle: check its name")
        return header

    def _read_small(self, name: str, header: _Header, limit: int) -> bytes:
        if header.path != name or header.size > limit or header.raw != member_header(name, header.size):
            raise self._refusal(
                f"it has {header.shown_path} where a bundle has {name}: check its name, or copy it again"
            )
        data = self.read(header.size)
        if not self.read_padding(header.size):
            raise self._refusal(f"it is damaged after {name}: copy it again")
        return data

    def _read_header(self) -> _Header | None:
        """Read a header; None where the archive's end begins. `tarfile.HeaderError` says that it is damaged."""
        raw = self.read(tarfile.BLOCKSIZE)
        if not any(raw):
            return None
        info = tarfile.TarInfo.frombuf(raw, "utf-8", "replace")
        name = info.name
        if info.type == tarfile.GNUTYPE_LONGNAME:
            if not 0 < info.size <= _MAX_NAME_BYTES:
                raise tarfile.HeaderError("a name of no possible length")
            long, last = self.read(info.size + _padding(info.size)), self.read(tarfile.BLOCKSIZE)
            raw, name = raw + long + last, long[: info.size - 1].decode("utf-8", "replace")
            info = tarfile.TarInfo.frombuf(last, "utf-8", "replace")
        if not 0 <= info.size <= _MAX_MEMBER_BYTES:
            raise tarfile.HeaderError("a size beyond all disks")
        regular = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        return _Header(raw, name, info.size, None if regular else _KINDS.get(info.type, "no file"))

    def _refusal(self, message: str) -> VerificationFailed:
        return VerificationFailed(f"{self._path}: {message}")

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AvengersError(
                f"{self._path} cannot be read: {error.strerror or error}; repair its rights or the disk"
            ) from error


class MemberReader:
    """A file that stands where it should; its content is read once, by `copy` or `save`, or it is passed over."""

    def __init__(self, member: Member, archive: Archive[ManifestT]) -> None:
        self.member = member
        self._archive = archive

    def copy(self, write: Callable[[bytes], object]) -> Problem | None:
        """Hand the content to `write` piece by piece; return what is wrong with it, once all of it was read."""
        digest, left = hashlib.sha256(), self.member.bytes
        while left:
            data = self._archive.read(min(_CHUNK_BYTES, left))
            digest.update(data)
            write(data)
            left -= len(data)
        path, expected, found = self.member.path, self.member.sha256, digest.hexdigest()
        if found != expected:
            return Problem(path, "bad", f"its sha256 begins with {found[:12]}, not with {expected[:12]}")
        if not self._archive.read_padding(self.member.bytes):
            return Problem(path, "bad", "what follows it is damaged: copy the bundle again")
        return None

    def save(self, path: Path, on_progress: Callable[[int], None] = lambda _: None) -> Problem | None:
        """Write the content to a file that has its name once it is right; `on_progress` gets the size of each piece."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:

            def write(data: bytes) -> None:
                file.write(data)
                on_progress(len(data))

            problem = self.copy(write)
            file.flush()
            os.fsync(file.fileno())
        if problem is None:
            part.replace(path)
        else:
            part.unlink()
        return problem


@contextlib.contextmanager
def open_archive(path: Path, read_manifest: Callable[[bytes], ManifestT]) -> Iterator[Archive[ManifestT]]:
    """Open an archive and read its manifest, with the reader that is given.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: it is no bundle, damaged, or of an older format.
        AvengersError: it cannot be read.

    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotFound(f"{path} is not a regular file: name the archive that `bundle pack` wrote")
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no file {path}: name the archive that `bundle pack` wrote") from error
    except OSError as error:
        raise AvengersError(f"{path} cannot be read: {error.strerror or error}; repair its rights") from error
    with file:
        yield Archive(path, file, read_manifest)


def check_archive(
    archive: Archive[ManifestT], on_progress: Callable[[int], None] = lambda _: None
) -> tuple[Problem, ...]:
    """Read all of an archive and list what is not as the manifest says; `on_progress` gets the bytes read so far."""
    problems: list[Problem] = []
    unseen = {file.path: file for file in archive.envelope.manifest.files}
    done = 0

    def count(data: bytes) -> None:
        nonlocal done
        done += len(data)
        on_progress(done)

    try:
        for reader in archive.members(problems.append):
            del unseen[reader.member.path]
            if problem := reader.copy(count):
                problems.append(problem)
    except VerificationFailed as error:
        problems.append(Problem("the archive", "bad", str(error)))
    named = {problem.path for problem in problems}
    return (*problems, *(_missing(file) for path, file in unseen.items() if path not in named))


def printable(text: str) -> str:
    """Return a text as one line that steers no terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _missing(file: Member) -> Problem:
    return Problem(file.path, "missing", "the manifest lists it; copy or pack the bundle again")


def _why_extra(header: _Header, *, listed: bool) -> str:
    if header.kind is not None:
        return f"it is {header.kind}, and a bundle has only files"
    if header.path.startswith("/") or ".." in header.path.split("/"):
        return "its path leads out of the bundle"
    return "it stands there twice" if listed else "the manifest does not list it"
