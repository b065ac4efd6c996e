"""Laws of reading a bundle: whatever is not as promised is refused, and each bad, missing or extra file is named."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import tarfile

import pytest
from bundle_files import CONTENTS, archive_of, bundle_of, entries_of, entry, relabelled, right_archive, sha256
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.library.bundle.archive import check_archive, member_header, open_archive
from avengers_edge.library.bundle.install import read_plain_manifest
from avengers_edge.library.bundle.manifest import read_manifest

BUNDLE = bundle_of()
RIGHT = right_archive()
LEAST = right_archive({path: CONTENTS[path] for path in ("licences/models.txt", "tables/small.safetensors")})
"""The smallest archive that has all kinds of bytes, for what is tried at every one of them."""

PATHS = [file.path for file in BUNDLE.manifest.files]
MODEL = PATHS[-1]


@pytest.fixture
def check(tmp_path):
    """Checks an archive of these bytes, or the one that is there; gives the problems, a refusal of the whole as one."""

    def check(data=None):
        path = tmp_path / "small.tar"
        if data is not None:
            path.write_bytes(data)
        try:
            with open_archive(path, read_manifest) as archive:
                return [(each.path, each.what, each.why) for each in check_archive(archive)]
        except VerificationFailed as error:
            return [("all", "bad", str(error))]

    return check


def named(problems):
    return [(path, what) for path, what, _ in problems]


def test_a_right_archive_is_right_and_as_long_as_it_says(check, tmp_path):
    assert check(RIGHT) == []
    assert len(RIGHT) == BUNDLE.archive_bytes()
    assert archive_of(entries_of(BUNDLE)) == RIGHT
    for read in (read_manifest, read_plain_manifest):  # the product's and the installer's
        with open_archive(tmp_path / "small.tar", read) as archive:
            archive.require_whole()
            reported = []
            assert check_archive(archive, reported.append) == ()
        assert reported[-1] == BUNDLE.manifest.total_bytes


def test_any_tar_reads_an_archive(tmp_path):
    (tmp_path / "small.tar").write_bytes(RIGHT)
    with tarfile.open(tmp_path / "small.tar") as opened:
        names = opened.getnames()
        opened.extractall(tmp_path / "out", filter="data")
    assert names == ["bundle.json", "bundle.json.sha256", *PATHS]
    assert {path: (tmp_path / "out" / path).read_bytes() for path in PATHS} == {
        path: data for path, (_, data) in CONTENTS.items()
    }


def test_the_bytes_of_an_archive_are_pinned():
    """Archives are compared byte for byte with what `tarfile` writes: another Python must not write them otherwise."""
    assert sha256(RIGHT) == "264cf35cb78f01a2042ebb769c79425172e9542daaebd86b2ed309765e77d1c3"


def test_a_flipped_byte_anywhere_is_seen(check, tmp_path):
    check(LEAST)
    with (tmp_path / "small.tar").open("r+b", buffering=0) as file:
        end = len(LEAST.rstrip(b"\0"))
        for place in [*range(end), *range(end, len(LEAST), 101)]:
            byte = LEAST[place]
            file.seek(place)
            file.write(bytes([byte ^ 1 << place % 8]))
            problems = check()
            assert problems, place
            assert not any("\n" in why for _, _, why in problems)
            file.seek(place)
            file.write(bytes([byte]))
    assert check() == []


def test_a_flipped_byte_in_a_large_archive_is_seen_and_its_file_named(check):
    contents = CONTENTS | {"tables/large": ("table", random.Random(0).randbytes(3 * 2**20))}
    right = right_archive(contents)
    begin = right.index(contents["tables/large"][1][:1000])
    for place in random.Random(1).sample(range(begin, begin + 3 * 2**20), 20):
        data = bytearray(right)
        data[place] ^= 0x80
        assert ("tables/large", "bad") in named(check(bytes(data))) or named(check(bytes(data)))[0][0] == "the archive"


def test_an_archive_that_was_cut_off_is_refused_wherever_it_was_cut(check, tmp_path):
    check(LEAST)
    lengths = {block + more for block in range(0, len(LEAST), 512) for more in (-1, 0, 1, 200)}
    for length in sorted(lengths - {-1, len(LEAST)}, reverse=True):
        os.truncate(tmp_path / "small.tar", length)
        problems = check()
        assert problems, length
        assert not any("\n" in why for _, _, why in problems)


def test_a_cut_archive_is_told_by_its_length_alone(tmp_path):
    path = tmp_path / "cut.tar"
    path.write_bytes(RIGHT[:-1])
    with (
        open_archive(path, read_manifest) as archive,
        pytest.raises(VerificationFailed, match=f"{len(RIGHT) - 1} bytes .* {len(RIGHT)}"),
    ):
        archive.require_whole()


def test_every_bad_missing_and_extra_file_is_named(check):
    entries = entries_of(BUNDLE)
    head = len(BUNDLE.entries())
    bad = entries[head].replace(b"# nothing", b"# NOTHING")
    without = [*entries[:head], bad, *entries[head + 2 :], entry("licences/extra.txt", b"x")]
    assert named(check(archive_of(without))) == [
        (PATHS[0], "bad"),
        (PATHS[1], "missing"),
        ("licences/extra.txt", "extra"),
    ]


def test_files_at_the_end_that_are_missing_are_named(check):
    assert named(check(archive_of(entries_of(BUNDLE)[:-2]))) == [(path, "missing") for path in PATHS[-2:]]
    assert named(check(archive_of(entries_of(BUNDLE)[: len(BUNDLE.entries())]))) == [
        (path, "missing") for path in PATHS
    ]


def test_files_in_another_order_are_refused(check):
    entries = entries_of(BUNDLE)
    entries[-1], entries[-2] = entries[-2], entries[-1]
    assert named(check(archive_of(entries))) == [(PATHS[-2], "missing"), (PATHS[-2], "extra")]


def test_a_file_that_stands_there_twice_is_extra_the_second_time(check):
    entries = entries_of(BUNDLE)
    problems = check(archive_of([*entries, entries[-1]]))
    assert named(problems) == [(MODEL, "extra")]
    assert "twice" in problems[0][2]


def test_a_second_manifest_is_extra(check):
    entries = entries_of(BUNDLE)
    assert named(check(archive_of([*entries, entries[0]]))) == [("bundle.json", "extra")]


@pytest.mark.parametrize("size", [CONTENTS[MODEL][1][:-1], CONTENTS[MODEL][1] + b"x", b""])
def test_a_file_of_another_size_is_bad_and_the_next_are_looked_at(check, size):
    entries = [*entries_of(BUNDLE)[:-1], entry(MODEL, size), entry("more", b"x")]
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
    "a name that steers": (member("teams/\x1b[2J"), "does not list it"),
    "no name": (member(""), "does not list it"),
    "a set-uid file": (member(PATHS[-2], mode=0o4755, size=512) + bytes(512), "twice"),
}


@pytest.mark.parametrize(("raw", "why"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("place", [-1, "end"])
def test_what_is_no_promised_file_is_extra_whatever_it_is(check, raw, why, place):
    entries = entries_of(BUNDLE)
    entries.insert(len(entries) if place == "end" else place, raw)
    problems = check(archive_of(entries))
    assert len(problems) == 1
    path, what, told = problems[0]
    assert (what, why in told) == ("extra", True), told
    assert path.isprintable()


def test_a_promised_file_with_other_rights_is_bad(check):
    data = CONTENTS[PATHS[-2]][1]
    entries = entries_of(BUNDLE)
    entries[-2] = member(PATHS[-2], mode=0o4755, size=len(data), mtime=315532800) + data
    assert named(check(archive_of(entries))) == [(PATHS[-2], "bad")]


def test_an_extra_file_that_claims_to_be_endless_ends_the_check(check):
    for size in (2**40, 2**59):
        problems = check(archive_of([*entries_of(BUNDLE), member("x", size=size)]))
        assert named(problems) == [("x", "extra"), ("the archive", "bad")]


def test_an_end_that_is_longer_or_shorter_than_tar_writes_it_is_seen(check):
    whole, end = b"".join(entries_of(BUNDLE)), len(b"".join(entries_of(BUNDLE)))
    for data in (
        RIGHT + b"x",
        RIGHT + bytes(512),
        RIGHT + bytes(10240),
        RIGHT + RIGHT,
        RIGHT[:-512],
        RIGHT[:-1] + b"x",
    ):
        assert named(check(data)) == [("the archive", "bad")]
    assert named(check(whole)) == named(check(RIGHT[: end + 100])) == [("the archive", "bad")]


def test_the_end_of_an_archive_is_two_empty_blocks_at_least(check):
    """However much room the last record leaves: the sizes around a multiple of 10 KiB."""
    for size in range(0, 22 * 512, 512):
        contents = {"licences/models.txt": ("licence", bytes(size))}
        assert check(right_archive(contents)) == []
        assert len(right_archive(contents)) == bundle_of(contents).archive_bytes()


def test_a_damaged_header_costs_its_file_and_no_other(check):
    entries = entries_of(BUNDLE)
    at = len(BUNDLE.entries())
    for number, path in enumerate(PATHS):
        broken = list(entries)
        raw = bytearray(broken[at + number])
        raw[1] ^= 1
        broken[at + number] = bytes(raw)
        assert named(check(archive_of(broken))) == [(path, "bad")]


def test_two_damaged_headers_cost_two_files(check):
    entries = entries_of(BUNDLE)
    at = len(BUNDLE.entries())
    entries[at] = entries[at + 1] = bytes([1]) * 1024
    assert named(check(archive_of(entries))) == [(PATHS[0], "bad"), (PATHS[1], "bad")]


@given(st.binary(min_size=512, max_size=512).filter(any))
def test_noise_is_no_header(tmp_path_factory, noise):
    path = tmp_path_factory.getbasetemp() / "noise.tar"
    path.write_bytes(archive_of([*entries_of(BUNDLE), noise]))
    with open_archive(path, read_manifest) as archive:
        assert [(each.path, each.what) for each in check_archive(archive)] == [("the archive", "bad")]


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"x" * 12])
@pytest.mark.parametrize("name", ["name", "n" * 200])
def test_a_size_that_is_negative_or_beyond_all_disks_is_damage(check, size, name):
    raw = bytearray(member_header(name, 5))
    begin = len(raw) - 512
    raw[begin + 124 : begin + 136] = size
    raw[begin + 148 : begin + 156] = b"%06o\0 " % (sum(raw[begin : begin + 148]) + 8 * 32 + sum(raw[begin + 156 :]))
    assert named(check(archive_of([*entries_of(BUNDLE), bytes(raw)]))) == [("the archive", "bad")]


def test_a_long_name_that_is_endless_or_empty_is_damage(check):
    for size in (0, 5000, 2**40):
        raw = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size) + bytes(8192)
        assert named(check(archive_of([*entries_of(BUNDLE), raw]))) == [("the archive", "bad")]


# --- the front ---


def with_front(bundle, sums=True):
    entries = [entry(name, data) for name, data in bundle.entries()]
    return archive_of([*(entries if sums else entries[:-1]), *entries_of(BUNDLE)[len(BUNDLE.entries()) :]])


def test_a_manifest_that_lies_with_right_checksums_is_refused(check):
    files = [dict(row) for row in json.loads(BUNDLE.payload)["files"]]
    for change in (
        {"sha256": "0" * 64},
        {"bytes": files[-1]["bytes"] + 1},
        {"path": "models/tiny/other.gguf"},
        {"path": "../../x.gguf"},
        {"role": "wheel"},
    ):
        lying = relabelled(BUNDLE, files=[*files[:-1], files[-1] | change])
        assert check(with_front(lying)), change


def test_a_manifest_of_another_format_is_named(check):
    for number in (0, 2):
        ((_, what, why),) = check(with_front(relabelled(BUNDLE, format=number)))
        assert what == "bad"
        assert f"format {number} " in why
        assert "in its wheels, or pack it again" in why


def test_a_manifest_without_its_checksum_or_with_another_is_refused(check):
    assert check(with_front(BUNDLE, sums=False))
    bundle = dataclasses.replace(BUNDLE, signature=bytes(64))
    assert check(with_front(bundle)) == []
    entries = [entry(name, data) for name, data in bundle.entries()]
    assert check(archive_of([entries[0], entry("bundle.json.sig", b"x" * 64), entries[2]]))
    assert check(archive_of([entries[0], entries[2], *entries_of(BUNDLE)[2:]]))


def test_a_front_that_is_too_large_is_not_read(check):
    assert "where a bundle has bundle.json" in check(archive_of([entry("bundle.json", bytes(9 * 2**20))]))[0][2]
    assert check(archive_of([entries_of(BUNDLE)[0], entry("bundle.json.sig", bytes(9000))]))


@pytest.mark.parametrize(
    "data", [b"", b"\x28", b"GGUF" * 200, b"PK\x03\x04" * 20, b"\x1f\x8b" * 20, bytes(1024), archive_of([])]
)
def test_what_is_no_bundle_is_told_so(check, data):
    ((path, _, why),) = check(data)
    assert path == "all"
    assert "small.tar" in why


def test_an_archive_of_the_older_format_is_refused_with_what_packs_it_again(tmp_path):
    path = tmp_path / "small.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\x38" + bytes(1000))
    for read in (read_manifest, read_plain_manifest):
        with (
            pytest.raises(
                VerificationFailed, match=r"older format .*pack it again.*`avengers bundle pack TEAM --name small`"
            ),
            open_archive(path, read),
        ):
            pass


def test_a_tar_of_something_else_is_told_so(check):
    assert "it has readme where a bundle has bundle.json" in check(archive_of([entry("readme", b"x")]))[0][2]


def test_what_is_not_there_or_no_file_is_told_so(tmp_path):
    for path in (tmp_path / "none", tmp_path, tmp_path / "none" / "x"):
        with pytest.raises(NotFound), open_archive(path, read_manifest):
            pass


def test_a_disk_that_fails_under_the_archive_is_one_line(tmp_path):
    path = tmp_path / "small.tar"
    path.write_bytes(RIGHT)
    with (
        open_archive(path, read_manifest) as archive,
        pytest.raises(AvengersError, match=r"small.tar cannot be read: .*; repair"),
    ):
        archive._file = Broken()
        check_archive(archive)


class Broken:
    def read(self, size):
        raise OSError(5, "Input/output error")

    seek = read
