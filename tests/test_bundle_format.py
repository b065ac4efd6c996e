"""Laws of what bundles are written in: raw zstd frames, tar headers, signatures, manifests. One spelling for each."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
import tarfile

import pytest
from bundle_files import CONTENTS, frame, front_of, promised
from hypothesis import given, settings
from hypothesis import strategies as st

from avengers_edge.errors import AvengersError, BadRequest, VerificationFailed
from avengers_edge.library.bundle import tar
from avengers_edge.library.bundle.ed25519 import is_signed, read_public_key
from avengers_edge.library.bundle.manifest import ROLES, BundleManifest, read_manifest_json, write_manifest_json
from avengers_edge.library.bundle.tar import DamagedHeader, header, padding, read_head
from avengers_edge.library.bundle.zstd import BLOCK_BYTES, RawReader, RawWriter, packed_bytes

SIZES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 3 * BLOCK_BYTES + 5]


def data_of(size):
    return bytes(value % 251 for value in range(size))


# --- zstd ---


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1000, BLOCK_BYTES, 300_000])
def test_a_frame_gives_back_what_was_written_however_it_was_cut(size, step):
    data, file = data_of(size), io.BytesIO()
    writer = RawWriter(file)
    for begin in range(0, size, step):
        writer.write(data[begin : begin + step])
    writer.close()
    assert file.getvalue() == frame(data)  # one spelling
    assert len(file.getvalue()) == packed_bytes(size)
    reader = RawReader(file)
    assert reader.read(size) == data
    reader.finish()


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
@pytest.mark.parametrize("size", SIZES)
def test_the_zstd_tool_opens_a_frame(size):
    done = subprocess.run(["zstd", "-dc"], input=frame(data_of(size)), capture_output=True, check=True)
    assert done.stdout == data_of(size)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
@pytest.mark.parametrize("options", [[], ["--no-check"], ["-19", "--no-check"]])
def test_a_frame_that_was_compressed_again_is_refused_with_the_cure(options):
    again = subprocess.run(["zstd", "-c", *options], input=data_of(500_000), capture_output=True, check=True).stdout
    with pytest.raises(VerificationFailed, match=r"as it was packed .* `zstd -d`"):
        RawReader(io.BytesIO(again)).read(500_000)


@given(st.lists(st.integers(0, 3 * BLOCK_BYTES + 5), max_size=6), st.integers(0, 300))
def test_seeking_lands_where_reading_would(places, size):
    data = data_of(3 * BLOCK_BYTES + 5)
    reader = RawReader(io.BytesIO(frame(data)))
    for place in sorted(places):
        if place >= reader.tell():
            reader.seek(place)
            size = min(size, len(data) - place)
            assert reader.read(size) == data[place : place + size]
    reader.seek(len(data))
    reader.finish()


def test_nothing_can_be_read_or_sought_behind_the_end():
    for use in (lambda reader: reader.read(11), lambda reader: reader.seek(11), lambda reader: reader.seek(10**15)):
        with pytest.raises(VerificationFailed, match="too early"):
            use(RawReader(io.BytesIO(frame(data_of(10)))))
    with pytest.raises(ValueError, match="go back"):
        reader = RawReader(io.BytesIO(frame(data_of(10))))
        reader.read(5)
        reader.seek(4)


@pytest.mark.parametrize("size", [0, 100, BLOCK_BYTES + 1])
def test_more_behind_the_end_is_refused(size):
    for packed in (frame(data_of(size)) + b"x", frame(data_of(size) + b"x")):
        reader = RawReader(io.BytesIO(packed))
        reader.read(size)
        with pytest.raises(VerificationFailed, match="more follows"):
            reader.finish()


# --- tar ---

NAMES = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"]), min_size=1, max_size=250)


@given(NAMES, st.one_of(st.integers(0, 2000), st.integers(8**11 - 2, 2**50)))
@settings(max_examples=200)
def test_a_header_is_read_back_by_us_and_by_any_tar(name, size):
    raw = header(name, size)
    head = read_head(io.BytesIO(raw).read)
    assert (head.raw, head.path, head.size, head.kind) == (raw, name, size, None)
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(1024)), mode="r:") as opened:
        member = opened.next()
    assert (member.name, member.size, member.mode, member.uid, member.type) == (name, size, 0o644, 0, tarfile.REGTYPE)


@pytest.mark.parametrize("place", range(0, 512, 3))
def test_a_header_with_a_changed_byte_is_damaged_or_spelled_otherwise(place):
    raw = bytearray(header("name", 5))
    raw[place] ^= 0x11
    try:
        head = read_head(io.BytesIO(bytes(raw)).read)
    except DamagedHeader:
        return
    assert head.raw != header(head.path, head.size)


@given(st.binary(min_size=512, max_size=512).filter(any))
def test_noise_is_no_header(noise):
    with pytest.raises(DamagedHeader):
        read_head(io.BytesIO(noise + bytes(4096)).read)


def test_a_size_that_is_negative_or_beyond_all_disks_is_damage():
    for number in (b"\xff" * 12, b"\x80" + b"\xff" * 11):
        raw = bytearray(header("name", 5))
        raw[124:136] = number
        raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + 8 * 32 + sum(raw[156:]))
        with pytest.raises(DamagedHeader):
            read_head(io.BytesIO(bytes(raw)).read)


def test_padding_ends_a_block():
    assert [padding(size) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
    assert tar.entry_bytes("name", 513) == 512 + 1024


# --- signatures ---

# RFC 8032, section 7.1: secret key left out, public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
        "5141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb0"
        "0d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc0"
        "27beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), [tuple(map(bytes.fromhex, row)) for row in VECTORS])
def test_the_signatures_of_the_standard_hold_and_none_that_was_changed(key, message, signature):
    assert is_signed(key, message, signature)
    assert not is_signed(key, message + b"x", signature)
    for place in range(64):
        changed = bytearray(signature)
        changed[place] ^= 1
        assert not is_signed(key, message, bytes(changed))
    assert not is_signed(bytes([key[0] ^ 1]) + key[1:], message, signature)
    assert not is_signed(key, message, signature[:-1])


def test_a_signature_has_one_spelling_only():
    key, message, signature = map(bytes.fromhex, VECTORS[0])
    order = 2**252 + 27742317777372353535851937790883648493
    other = int.from_bytes(signature[32:], "little") + order
    assert not is_signed(key, message, signature[:32] + other.to_bytes(32, "little"))
    assert not is_signed(b"\xff" * 32, message, signature)


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32))
@settings(max_examples=20)
def test_what_cryptography_signs_we_check_alike(message, seed):
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public = read_public_key(pem, "key")
    assert public == private.public_key().public_bytes_raw()
    assert is_signed(public, message, private.sign(message))
    assert not is_signed(public, message + b"x", private.sign(message))


@pytest.mark.parametrize(
    ("pem", "complaint"),
    [
        (b"", "no public key in PEM"),
        (b"\xff\xfe\x00", "no public key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is a private key: give the public one"),
        (b"-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n", "damaged PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA\n-----END PUBLIC KEY-----\n", "another kind"),
    ],
)
def test_what_is_no_public_key_is_refused_in_words(pem, complaint):
    with pytest.raises(BadRequest, match=complaint) as caught:
        read_public_key(pem, "the file")
    assert str(caught.value).startswith("the file is ")


# --- manifests ---


def test_a_manifest_is_read_back_and_spelled_alike():
    manifest = front_of(platforms=("linux_x86_64",), python="3.11", extras=("hub",)).manifest
    spelled = write_manifest_json(manifest)
    assert read_manifest_json(spelled) == manifest
    assert write_manifest_json(read_manifest_json(spelled)) == spelled
    assert [file.role for file in manifest.files] == sorted((role for role, _ in CONTENTS.values()), key=ROLES.index)


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/etc/passwd", "sbom"),
        ("../sbom.cdx.json", "sbom"),
        ("licences/../../x", "licence"),
        ("licences//x", "licence"),
        ("licences", "licence"),
        ("licences/a\\b", "licence"),
        ("licences/.hidden", "licence"),
        ("licences/a\x1b[2J", "licence"),
        ("licences/con", "licence"),
        ("models/tiny/up.bin", "model"),
        ("models/Tiny/up.gguf", "model"),
        ("models/tiny/a/b.gguf", "model"),
        ("models/tiny.lock/b.gguf", "model"),
        ("settings.toml", "modes"),
        ("partial/x.toml", "team"),
        ("teams/x.toml", "manifest"),
        ("wheels/x.zip", "wheel"),
        ("install.py", "payload"),
    ],
)
def test_a_manifest_names_no_file_that_lies_elsewhere_than_its_role_says(path, role):
    with pytest.raises(BadRequest):
        promised(path, b"", role)


@pytest.mark.parametrize("other", ["licences/MODELS.txt", "licences/models.txt"], ids=["in another case", "the same"])
def test_a_file_stands_in_a_manifest_once(other):
    files = (promised("licences/models.txt", b"", "licence"), promised(other, b"x", "licence"))
    with pytest.raises(BadRequest, match="twice"):
        BundleManifest("x", "now", "0", "x", files)


def changed(**changes):
    return json.dumps(json.loads(front_of().spelled) | changes).encode()


def with_file(**changes):
    value = json.loads(front_of().spelled)
    value["files"][0] |= changes
    return json.dumps(value).encode()


LIES = {
    "no JSON": b"{",
    "no object": b"[]",
    "not UTF-8": b"\xff",
    "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "another kind": changed(kind="a recipe"),
    "no format": changed(format="1"),
    "true as a number": changed(format=True),
    "unknown key": changed(surprise=1),
    "a key twice": front_of().spelled.replace(b'"name"', b'"team"', 1),
    "a name that is a path": changed(name="../x"),
    "a text that steers": changed(created="\x1b[2J"),
    "no files": changed(files={}),
    "a file that is none": changed(files=["x"]),
    "extras that are none": changed(extras=[1]),
    "out of order": changed(files=json.loads(front_of().spelled)["files"][::-1]),
    "an unknown key of a file": with_file(mode=0o4755),
    "negative size": with_file(bytes=-1),
    "a size beyond all disks": with_file(bytes=10**30),
    "a size that is true": with_file(bytes=True),
    "a float size": with_file(bytes=1.5),
    "a number of 5000 digits": front_of().spelled.replace(b'"bytes": 9', b'"bytes": ' + b"9" * 5000, 1),
    "no hash": with_file(sha256="x"),
    "a receipt where none belongs": with_file(receipt={}),
    "a lone surrogate": with_file(path="licences/\ud800"),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES.keys())
def test_a_manifest_that_is_not_as_we_write_it_is_refused_in_one_line(data):
    with pytest.raises(VerificationFailed) as caught:
        read_manifest_json(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("paths", [["licences/a", "licences/a/b"], ["licences/A/B/c", "licences/a/b"]])
def test_no_file_of_a_manifest_lies_below_another(paths):
    files = [{"path": path, "bytes": 0, "sha256": "0" * 64, "role": "licence"} for path in paths]
    with pytest.raises(VerificationFailed, match="stands in it as a file and as the folder of"):
        read_manifest_json(changed(files=files))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_no_json_at_all_ends_in_anything_but_a_refusal(value):
    for key in ("files", "name", "format", "platforms"):
        with pytest.raises(AvengersError):
            read_manifest_json(changed(**{key: {"x": value}}))


@pytest.mark.parametrize(("number", "cure"), [(2, "install the product that packed it"), (0, "pack it again")])
def test_another_format_is_named_with_the_cure(number, cure):
    with pytest.raises(VerificationFailed, match=rf"format {number}\b.*{cure}"):
        read_manifest_json(changed(format=number, something="new"))


def test_a_front_counts_its_own_length():
    front = front_of()
    assert dataclasses.replace(front, signature=bytes(64)).packed_bytes() == front.packed_bytes() + 1024
