"""Laws of reading a bundle: whatever is not as promised is refused, and each bad, missing or extra file is named."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import tarfile

import pytest
from bundle_files import CONTENTS, archive_of, entries_of, entry, frame, front_of, relabelled, right_archive

from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.library.bundle.archive import check_archive, open_archive
from avengers_edge.library.bundle.tar import END
from avengers_edge.library.bundle.zstd import BLOCK_BYTES

FRONT = front_of()
RIGHT = right_archive()
LEAST = right_archive({path: CONTENTS[path] for path in ("licences/models.txt", "tables/small.safetensors")})
"""The smallest archive that has all kinds of bytes, for what is tried at every one of them."""

PATHS = [file.path for file in FRONT.manifest.files]
MODEL = PATHS[-1]


@pytest.fixture
def check(tmp_path):
    """Checks an archive of these bytes, or the one that is there; gives the problems, a refusal of the whole as one."""

    def check(data=None):
        path = tmp_path / "small.tar.zst"
        if data is not None:
            path.write_bytes(data)
        try:
            with open_archive(path) as archive:
                return [(each.path, each.what, each.why) for each in check_archive(archive)]
        except VerificationFailed as error:
            return [("all", "bad", str(error))]

    return check


def named(problems):
    return [(path, what) for path, what, _ in problems]


def test_a_right_archive_is_right_and_as_long_as_it_says(check, tmp_path):
    assert check(RIGHT) == []
    assert len(RIGHT) == FRONT.packed_bytes()
    assert archive_of(entries_of(FRONT)) == RIGHT
    with open_archive(tmp_path / "small.tar.zst") as archive:
        archive.require_whole()
        heard = []
        check_archive(archive, heard.append)
    assert heard[-1] == FRONT.manifest.bytes


def test_a_flipped_byte_anywhere_is_seen(check, tmp_path):
    check(LEAST)
    with (tmp_path / "small.tar.zst").open("r+b", buffering=0) as file:
        for place, byte in enumerate(LEAST):
            file.seek(place)
            file.write(bytes([byte ^ 1 << place % 8]))
            problems = check()
            assert problems, place
            assert not any("\n" in why for _, _, why in problems)
            file.seek(place)
            file.write(bytes([byte]))
    assert check() == []


def test_a_flipped_byte_in_a_large_archive_is_seen_and_its_file_named(check):
    contents = CONTENTS | {"tables/large": ("table", random.Random(0).randbytes(3 * BLOCK_BYTES))}
    right = right_archive(contents)
    begin = right.index(contents["tables/large"][1][:1000])
    for place in random.Random(1).sample(range(begin, begin + 3 * BLOCK_BYTES), 20):
        data = bytearray(right)
        data[place] ^= 0x80
        assert ("tables/large", "bad") in named(check(bytes(data))) or named(check(bytes(data)))[0][0] == "the archive"


def test_an_archive_that_was_cut_off_is_refused_wherever_it_was_cut(check, tmp_path):
    check(LEAST)
    for length in reversed(range(len(LEAST))):
        os.truncate(tmp_path / "small.tar.zst", length)
        problems = check()
        assert problems, length
        assert not any("\n" in why for _, _, why in problems)


def test_a_cut_archive_is_told_by_its_length_alone(tmp_path):
    path = tmp_path / "cut.tar.zst"
    path.write_bytes(RIGHT[:-1])
    with (
        open_archive(path) as archive,
        pytest.raises(VerificationFailed, match=f"{len(RIGHT) - 1} bytes .* {len(RIGHT)}"),
    ):
        archive.require_whole()


def test_every_bad_missing_and_extra_file_is_named(check):
    entries = entries_of(FRONT)
    head = len(FRONT.entries())
    bad = entries[head].replace(b"# nothing", b"# NOTHING")
    without = [*entries[:head], bad, *entries[head + 2 :], entry("licences/extra.txt", b"x")]
    assert named(check(archive_of(without))) == [
        (PATHS[0], "bad"),
        (PATHS[1], "missing"),
        ("licences/extra.txt", "extra"),
    ]


def test_files_at_the_end_that_are_missing_are_named(check):
    assert named(check(archive_of(entries_of(FRONT)[:-2]))) == [(path, "missing") for path in PATHS[-2:]]
    assert named(check(archive_of(entries_of(FRONT)[: len(FRONT.entries())]))) == [(path, "missing") for path in PATHS]


def test_files_in_another_order_are_refused(check):
    entries = entries_of(FRONT)
    entries[-1], entries[-2] = entries[-2], entries[-1]
    assert named(check(archive_of(entries))) == [(PATHS[-2], "missing"), (PATHS[-2], "extra")]


def test_a_file_that_stands_there_twice_is_extra_the_second_time(check):
    entries = entries_of(FRONT)
    problems = check(archive_of([*entries, entries[-1]]))
    assert named(problems) == [(MODEL, "extra")]
    assert "twice" in problems[0][2]


def test_a_second_manifest_is_extra(check):
    entries = entries_of(FRONT)
    assert named(check(archive_of([*entries, entries[0]]))) == [("bundle.json", "extra")]


@pytest.mark.parametrize("size", [CONTENTS[MODEL][1][:-1], CONTENTS[MODEL][1] + b"x", b""])
def test_a_file_of_another_size_is_bad_and_the_next_are_looked_at(check, size):
    entries = [*entries_of(FRONT)[:-1], entry(MODEL, size), entry("more", b"x")]
    assert named(check(archive_of(entries))) == [(MODEL, "bad"), ("more", "extra")]


def member(name, kind=tarfile.REGTYPE, size=0, **fields):
    """Spell a header as Python's tarfile does, which knows all kinds."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE = {
    "an absolute path": (member("/etc/cron.d/x"), "leads out"),
    "a path upwards": (member("models/../../x"), "leads out"),
    "only upwards": (member(".."), "leads out"),
    "a symbolic link": (member("teams/x", tarfile.SYMTYPE, linkname="/etc"), "a symbolic link"),
    "a link in the name of a file": (member(MODEL, tarfile.SYMTYPE, linkname="/etc/passwd"), "a symbolic link"),
    "a hard link": (member("teams/x", tarfile.LNKTYPE, linkname="bundle.json"), "a hard link"),
    "a character device": (member("teams/x", tarfile.CHRTYPE, devmajor=1, devminor=5), "a device"),
    "a block device": (member("teams/x", tarfile.BLKTYPE), "a device"),
    "a pipe": (member("teams/x", tarfile.FIFOTYPE), "a pipe"),
    "a folder": (member("teams/", tarfile.DIRTYPE), "a folder"),
    "a sparse file": (member("teams/x", tarfile.GNUTYPE_SPARSE), "no file"),
    "a pax header": (member("teams/x", tarfile.XHDTYPE), "no file"),
    "a name that steers": (member("teams/\x1b[2J"), "does not name it"),
    "no name": (member(""), "does not name it"),
    "a set-uid file": (member(PATHS[-2], mode=0o4755, size=512) + bytes(512), "twice"),
}


@pytest.mark.parametrize(("raw", "why"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("place", [-1, "end"])
def test_what_is_no_promised_file_is_extra_whatever_it_is(check, raw, why, place):
    entries = entries_of(FRONT)
    entries.insert(len(entries) if place == "end" else place, raw)
    problems = check(archive_of(entries))
    assert len(problems) == 1
    path, what, told = problems[0]
    assert (what, why in told) == ("extra", True), told
    assert path.isprintable()


def test_a_promised_file_with_other_rights_is_bad(check):
    data = CONTENTS[PATHS[-2]][1]
    entries = entries_of(FRONT)
    entries[-2] = member(PATHS[-2], mode=0o4755, size=len(data), mtime=315532800) + data
    assert named(check(archive_of(entries))) == [(PATHS[-2], "bad")]


def test_an_extra_file_that_claims_to_be_endless_ends_the_check(check):
    for size in (2**40, 2**59):
        problems = check(archive_of([*entries_of(FRONT), member("x", size=size)]))
        assert named(problems) == [("x", "extra"), ("the archive", "bad")]


def test_junk_behind_the_end_is_seen(check):
    tar = b"".join(entries_of(FRONT))
    for data in (
        frame(tar + END + bytes(512)),
        frame(tar + END) + b"x",
        frame(tar + END) + frame(b""),
        frame(tar + END[:-1] + b"x"),
    ):
        assert named(check(data)) == [("the archive", "bad")]
    assert named(check(frame(tar + END[:512]))) == [("the archive", "bad")]


def test_a_damaged_header_costs_its_file_and_no_other(check):
    entries = entries_of(FRONT)
    at = len(FRONT.entries())
    for number, path in enumerate(PATHS):
        broken = list(entries)
        raw = bytearray(broken[at + number])
        raw[1] ^= 1
        broken[at + number] = bytes(raw)
        assert named(check(archive_of(broken))) == [(path, "bad")]


def test_where_two_headers_are_damaged_nothing_behind_them_is_believed(check):
    entries = entries_of(FRONT)
    at = len(FRONT.entries())
    entries[at] = entries[at + 1] = bytes([1]) * 1024
    assert ("the archive", "bad") in named(check(archive_of(entries)))


# --- the front ---


def front_check(front, sums=True):
    entries = [entry(name, data) for name, data in front.entries()]
    return archive_of([*(entries if sums else entries[:-1]), *entries_of(FRONT)[len(FRONT.entries()) :]])


def test_a_manifest_that_lies_with_right_checksums_is_refused(check):
    files = [dict(row) for row in json.loads(FRONT.spelled)["files"]]
    for change in (
        {"sha256": "0" * 64},
        {"bytes": files[-1]["bytes"] + 1},
        {"path": "models/tiny/other.gguf"},
        {"path": "../../x.gguf"},
        {"role": "wheel"},
    ):
        lying = relabelled(FRONT, files=[*files[:-1], files[-1] | change])
        assert check(front_check(lying)), change


def test_a_newer_and_an_older_format_are_named(check):
    for number, word in ((2, "wheels"), (0, "old format")):
        ((_, what, why),) = check(front_check(relabelled(FRONT, format=number)))
        assert what == "bad"
        assert word in why
        assert f"format {number}" in why


def test_a_manifest_without_its_checksum_or_with_another_is_refused(check):
    assert check(front_check(FRONT, sums=False))
    front = dataclasses.replace(FRONT, signature=bytes(64))
    assert check(front_check(front)) == []
    entries = [entry(name, data) for name, data in front.entries()]
    assert check(archive_of([entries[0], entry("bundle.json.sig", b"x" * 64), entries[2]]))
    assert check(archive_of([entries[0], entries[2], *entries_of(FRONT)[2:]]))


def test_a_front_that_is_too_large_is_not_read(check):
    assert "where a bundle has bundle.json" in check(archive_of([entry("bundle.json", bytes(9 * 2**20))]))[0][2]
    assert check(archive_of([entries_of(FRONT)[0], entry("bundle.json.sig", bytes(9000))]))


@pytest.mark.parametrize(
    "data", [b"", b"\x28", b"GGUF" * 100, b"PK\x03\x04" * 20, b"\x1f\x8b" * 20, frame(b""), frame(END)]
)
def test_what_is_no_bundle_is_told_so(check, data):
    ((path, _, why),) = check(data)
    assert path == "all"
    assert "small.tar.zst" in why


def test_a_tar_of_something_else_is_told_so(check):
    assert "it has readme where a bundle has bundle.json" in check(archive_of([entry("readme", b"x")]))[0][2]


def test_what_is_not_there_or_no_file_is_told_so(tmp_path):
    for path in (tmp_path / "none", tmp_path, tmp_path / "none" / "x"):
        with pytest.raises(NotFound), open_archive(path):
            pass


def test_a_disk_that_fails_under_the_archive_is_one_line(tmp_path):
    path = tmp_path / "small.tar.zst"
    path.write_bytes(RIGHT)
    with open_archive(path) as archive, pytest.raises(AvengersError, match=r"small.tar.zst cannot be read: .*; mend"):
        archive._frame._file = Broken()
        check_archive(archive)


class Broken:
    def read(self, size):
        raise OSError(5, "Input/output error")

    tell = seek = read
