"""A bundle read from front to back: what stands in it against what its manifest promises, in memory that stays flat."""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.library.bundle.ed25519 import is_signed
from avengers_edge.library.bundle.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    SUMS,
    BundleFile,
    BundleManifest,
    read_manifest_json,
)
from avengers_edge.library.bundle.tar import END, DamagedHeader, Head, entry_bytes, header, padding, read_head
from avengers_edge.library.bundle.zstd import RawReader, packed_bytes

_CHUNK_BYTES = 2**20
_MAX_SUMS_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not as promised: `what` is bad, missing or extra, `why` says it for people."""

    path: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} is {self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Front:
    """What a bundle says of itself: the manifest, the bytes that it is spelled in, and their signature if any."""

    manifest: BundleManifest
    spelled: bytes
    signature: bytes | None

    @property
    def sums(self) -> bytes:
        """The checksums of manifest and signature, in the words of `sha256sum`."""
        lines = [f"{self.digest}  {MANIFEST}\n"]
        if self.signature is not None:
            lines.append(f"{hashlib.sha256(self.signature).hexdigest()}  {SIGNATURE}\n")
        return "".join(lines).encode("ascii")

    @property
    def digest(self) -> str:
        """The sha256 of the manifest, which stands for all that is in the bundle."""
        return hashlib.sha256(self.spelled).hexdigest()

    def entries(self) -> list[tuple[str, bytes]]:
        """List the entries before the files, with their content."""
        signature = [] if self.signature is None else [(SIGNATURE, self.signature)]
        return [(MANIFEST, self.spelled), *signature, (SUMS, self.sums)]

    def packed_bytes(self) -> int:
        """Return how long the archive is."""
        front = sum(entry_bytes(name, len(data)) for name, data in self.entries())
        return packed_bytes(front + sum(entry_bytes(file.path, file.bytes) for file in self.manifest.files) + len(END))

    def require_signature(self, key: bytes, where: str) -> None:
        """Check the signature against a public key; `where` names the bundle.

        Raises:
            VerificationFailed: it is missing, or was not made with this key.

        """
        if self.signature is None:
            raise VerificationFailed(
                f"{where} is not signed: have it packed with --sign-key, or check it without --key"
            )
        if not is_signed(key, self.spelled, self.signature):
            raise VerificationFailed(
                f"{where} was not signed with the private half of this key, or was changed since: do not use it"
            )


class Archive:
    """An open archive, read up to its files; `read_files` goes through them once."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        with self._blaming():
            self.bytes = path.stat().st_size
            self._frame = RawReader(file)
        self.front = self._read_front()

    def require_whole(self) -> None:
        """Check the length of the file, which tells a copy that was cut off without reading it.

        Raises:
            VerificationFailed: it is longer or shorter than the manifest says.

        """
        if (told := self.front.packed_bytes()) != self.bytes:
            raise VerificationFailed(f"{self._path} has {self.bytes} bytes and should have {told}: copy it again")

    def read_files(self, complain: Callable[[Problem], None]) -> Iterator[Entry]:
        """Go through the files that are where they should be; whatever is not as promised is told to `complain`.

        Raises:
            VerificationFailed: the archive is cut off, or so damaged that nothing after that can be told.

        """
        files = self.front.manifest.files
        place = {file.path: number for number, file in enumerate(files)}
        at, lost = 0, False
        while True:
            begin = self._frame.tell()
            try:
                head = self._read_head()
            except DamagedHeader:
                resume = begin if lost or at == len(files) else begin + entry_bytes(files[at].path, files[at].bytes)
                if resume < self._frame.tell():
                    raise self._refusal(f"it is damaged from byte {begin} of its tar on: copy it again") from None
                complain(Problem(files[at].path, "bad", "the header before it is damaged; copy the bundle again"))
                self._seek(resume)
                at, lost = at + 1, True
                continue
            if head is None:
                break
            lost = False
            after = self._frame.tell() + head.size + padding(head.size)
            number = place.get(head.path)
            if number is None or number < at or head.kind is not None:
                complain(Problem(_shown(head.path), "extra", _reason(head, known=number is not None)))
            else:
                for file in files[at:number]:
                    complain(_missing(file))
                at, file = number + 1, files[number]
                if head.size != file.bytes:
                    complain(Problem(file.path, "bad", f"it has {head.size} bytes and should have {file.bytes}"))
                elif head.raw != header(file.path, file.bytes):
                    complain(Problem(file.path, "bad", "the header before it is not as `bundle pack` writes it"))
                else:
                    yield Entry(file, self)
            self._seek(after)
        for file in files[at:]:
            complain(_missing(file))
        with self._blaming():
            if self._frame.read(len(END) // 2) != END[: len(END) // 2]:
                raise VerificationFailed("its end is damaged: copy it again")
            self._frame.finish()

    def read(self, size: int) -> bytes:
        """Read the next bytes of the tar."""
        with self._blaming():
            return self._frame.read(size)

    def _read_front(self) -> Front:
        spelled = self._read_small(MANIFEST, self._read_head_of_front(), MAX_MANIFEST_BYTES)
        with self._blaming():  # at once, for in another format other things may follow
            manifest = read_manifest_json(spelled)
        head = self._read_head_of_front()
        signature = None
        if head.path == SIGNATURE:
            signature = self._read_small(SIGNATURE, head, _MAX_SUMS_BYTES)
            head = self._read_head_of_front()
        told = self._read_small(SUMS, head, _MAX_SUMS_BYTES)
        front = Front(manifest, spelled, signature)
        if front.sums != told:
            raise self._refusal("its manifest or signature is damaged: it has another sha256; copy it again")
        return front

    def _read_head_of_front(self) -> Head:
        try:
            head = self._read_head()
        except DamagedHeader:
            raise self._refusal("it does not begin as a bundle does: copy it again, or check its name") from None
        if head is None:
            raise self._refusal("it is an empty archive and no bundle: check its name")
        return head

    def _read_small(self, name: str, head: Head, limit: int) -> bytes:
        if head.path != name or head.size > limit or head.raw != header(name, head.size):
            raise self._refusal(
                f"it has {_shown(head.path)} where a bundle has {name}: check its name, or copy it again"
            )
        data = self.read(head.size)
        if any(self.read(padding(head.size))):
            raise self._refusal(f"it is damaged after {name}: copy it again")
        return data

    def _read_head(self) -> Head | None:
        with self._blaming():
            return read_head(self._frame.read)

    def _seek(self, at: int) -> None:
        with self._blaming():
            self._frame.seek(at)

    def _refusal(self, message: str) -> VerificationFailed:
        return VerificationFailed(f"{self._path}: {message}")

    @contextlib.contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except VerificationFailed as error:
            raise self._refusal(str(error)) from error
        except OSError as error:
            raise AvengersError(
                f"{self._path} cannot be read: {error.strerror or error}; mend its rights or the disk"
            ) from error


class Entry:
    """A file in the archive that stands where it should; `copy` reads its content once, or it is passed over."""

    def __init__(self, file: BundleFile, archive: Archive) -> None:
        self.file = file
        self._archive = archive

    def copy(self, write: Callable[[bytes], object]) -> Problem | None:
        """Hand the content to `write` piece by piece, and say what is wrong with it once all of it was read."""
        digest, left = hashlib.sha256(), self.file.bytes
        while left:
            data = self._archive.read(min(_CHUNK_BYTES, left))
            digest.update(data)
            write(data)
            left -= len(data)
        if digest.hexdigest() != self.file.sha256:
            told, found = self.file.sha256[:12], digest.hexdigest()[:12]
            return Problem(self.file.path, "bad", f"its sha256 begins with {found}, not with {told}")
        if any(self._archive.read(padding(self.file.bytes))):
            return Problem(self.file.path, "bad", "what stands behind it is damaged; copy the bundle again")
        return None


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive and read what it says of itself.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: it is no bundle, or damaged.
        AvengersError: it cannot be read.

    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotFound(f"{path} is not a regular file: name the archive that `bundle pack` wrote")
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no file {path}: name the archive that `bundle pack` wrote") from error
    except OSError as error:
        raise AvengersError(f"{path} cannot be read: {error.strerror or error}; mend its rights") from error
    with file:
        yield Archive(path, file)


def check_archive(archive: Archive, heard: Callable[[int], None] = lambda _: None) -> tuple[Problem, ...]:
    """Read all of an archive and list everything that is not as promised; `heard` is told the bytes read so far."""
    problems: list[Problem] = []
    unseen = {file.path: file for file in archive.front.manifest.files}
    done = 0

    def count(data: bytes) -> None:
        nonlocal done
        done += len(data)
        heard(done)

    try:
        for entry in archive.read_files(problems.append):
            del unseen[entry.file.path]
            if problem := entry.copy(count):
                problems.append(problem)
    except VerificationFailed as error:
        problems.append(Problem("the archive", "bad", str(error)))
    named = {problem.path for problem in problems}
    return (*problems, *(_missing(file) for path, file in unseen.items() if path not in named))


def _missing(file: BundleFile) -> Problem:
    return Problem(file.path, "missing", "the manifest promises it; copy or pack the bundle again")


def _shown(path: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in path[:200]) or "a file without a name"


def _reason(head: Head, known: bool) -> str:
    if head.kind is not None:
        return f"it is {head.kind}, and a bundle has only files"
    if head.path.startswith("/") or ".." in head.path.split("/"):
        return "its path leads out of the bundle"
    return "it stands there twice" if known else "the manifest does not name it"
