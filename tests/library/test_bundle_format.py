"""Laws of what bundles are written in: tar headers, signatures, manifests. One spelling for each."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import tarfile

import pytest
from bundle_files import CONTENTS, bundle_of, listed, spelled
from hypothesis import given, settings
from hypothesis import strategies as st

from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.library.bundle.archive import member_header
from avengers_edge.library.bundle.install import read_plain_manifest
from avengers_edge.library.bundle.manifest import ROLES, BundleManifest, read_manifest, write_manifest
from avengers_edge.library.bundle.signature import is_signed, load_public_key, read_public_key

# --- members ---

NAMES = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"]), min_size=1, max_size=250)


@given(
    NAMES.filter(lambda name: name.strip("/") == name), st.one_of(st.integers(0, 2000), st.integers(8**11 - 2, 2**50))
)
def test_a_header_says_name_and_size_and_nothing_of_the_machine(name, size):
    with tarfile.open(fileobj=io.BytesIO(member_header(name, size) + bytes(1024)), mode="r:") as opened:
        member = opened.next()
    assert (member.name, member.size, member.mode, member.type) == (name, size, 0o644, tarfile.REGTYPE)
    assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 315532800)


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


def test_a_key_file_that_is_none_is_refused_in_words(tmp_path):
    (tmp_path / "long").write_bytes(bytes(2**17))
    with pytest.raises(NotFound, match="there is no key"):
        load_public_key(tmp_path / "none")
    with pytest.raises(BadRequest, match="is not a regular file"):
        load_public_key(tmp_path)
    with pytest.raises(BadRequest, match="longer than any key"):
        load_public_key(tmp_path / "long")


# --- manifests ---


def test_a_manifest_is_read_back_and_spelled_alike():
    manifest = bundle_of(platforms=("linux_x86_64",), python="3.11", extras=("hub",)).manifest
    data = write_manifest(manifest)
    assert read_manifest(data) == manifest
    assert write_manifest(read_manifest(data)) == data
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
        listed(path, b"", role)


@pytest.mark.parametrize("other", ["licences/MODELS.txt", "licences/models.txt"], ids=["in another case", "the same"])
def test_a_file_stands_in_a_manifest_once(other):
    files = (listed("licences/models.txt", b"", "licence"), listed(other, b"x", "licence"))
    with pytest.raises(BadRequest, match="twice"):
        BundleManifest(name="x", created="now", product="0", team="x", files=files)


FIELDS = json.loads(bundle_of().payload)


def changed(**changes):
    return spelled(FIELDS | changes)


def with_file(**changes):
    first, *others = FIELDS["files"]
    return changed(files=[first | changes, *others])


LIES = {
    "no JSON": (b"{", "not valid JSON"),
    "no object": (b"[]", "object"),
    "not UTF-8": (b"\xff", "not valid JSON"),
    "deep": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "not valid JSON"),
    "another kind": (changed(kind="a recipe"), "kind"),
    "no format": (changed(format="1"), "format"),
    "true as a number": (changed(format=True), "format"),
    "unknown key": (changed(surprise=1), "surprise"),
    "an unknown key that steers": (changed(**{"a\n\x1b[2J": 1}), "unknown field"),
    "a key twice": (bundle_of().payload.replace(b'"name"', b'"team"', 1), "name"),
    "a key twice, alike": (bundle_of().payload.replace(b' "team"', b' "team": "x",\n "team"'), "spelled"),
    "spelled otherwise": (json.dumps(FIELDS).encode(), "spelled"),
    "a name that is a path": (changed(name="../x"), "'../x'"),
    "a text that steers": (changed(created="\x1b[2J"), "cannot be shown"),
    "a text beyond all screens": (changed(created="x" * 1001), "created"),
    "no files": (changed(files={}), "files"),
    "a file that is none": (changed(files=["x"]), r"files\[0\]"),
    "extras that are none": (changed(extras=[1]), r"extras\[0\]"),
    "out of order": (changed(files=FIELDS["files"][::-1]), "not in order"),
    "an unknown key of a file": (with_file(mode=0o4755), "mode"),
    "negative size": (with_file(bytes=-1), r"files\[0\].bytes"),
    "a size beyond all disks": (with_file(bytes=10**30), r"files\[0\].bytes"),
    "a size that is true": (with_file(bytes=True), r"files\[0\].bytes"),
    "a float size": (with_file(bytes=1.5), r"files\[0\].bytes"),
    "a number of 5000 digits": (
        bundle_of().payload.replace(b'"bytes": 9', b'"bytes": ' + b"9" * 5000, 1),
        r"files\[0\].bytes",
    ),
    "no hash": (with_file(sha256="x"), r"files\[0\].sha256"),
    "a hash and a line": (with_file(sha256="0" * 64 + "\n"), r"files\[0\].sha256"),
    "a receipt where none belongs": (with_file(receipt=FIELDS["files"][-1]["receipt"]), "needless"),
    "a receipt that lacks all": (with_file(receipt={}), r"files\[0\].receipt"),
    "a lone surrogate": (with_file(path="licences/\ud800"), "not valid JSON"),
}


@pytest.mark.parametrize(("data", "named"), LIES.values(), ids=LIES.keys())
def test_a_manifest_that_is_not_as_we_write_it_is_refused_in_one_line_that_names_the_field(data, named):
    with pytest.raises(VerificationFailed, match=named) as caught:
        read_manifest(data)
    assert str(caught.value).isprintable()


def without(key):
    return spelled({name: value for name, value in FIELDS.items() if name != key})


PLAIN_LIES = {
    **{name: LIES[name][0] for name in ("no JSON", "no object", "not UTF-8", "deep", "another kind", "no format")},
    **{name: LIES[name][0] for name in ("true as a number", "no files", "a file that is none", "extras that are none")},
    **{name: LIES[name][0] for name in ("negative size", "a size that is true", "a float size", "no hash")},
    **{f"no {key}": without(key) for key in ("kind", "format", "name", "product", "python", "extras", "files")},
    "a path that is none": with_file(path=None),
    "a role that is none": with_file(role=["wheel"]),
    "a wheel upwards": with_file(path="wheels/..", role="wheel"),
    "a wheel on another disk": with_file(path="wheels/c:\\x.whl", role="wheel"),
}


@pytest.mark.parametrize("data", PLAIN_LIES.values(), ids=PLAIN_LIES.keys())
def test_the_installer_refuses_a_manifest_that_it_could_not_install_from(data):
    with pytest.raises(VerificationFailed) as caught:
        read_plain_manifest(data)
    assert str(caught.value).isprintable()


def test_the_installer_reads_the_same_of_a_manifest_as_the_product():
    manifest = bundle_of(platforms=("linux_x86_64",), python="3.11", extras=("hub",)).manifest
    plain = read_plain_manifest(write_manifest(manifest))
    for name in ("name", "created", "product", "python"):
        assert getattr(plain, name) == getattr(manifest, name)
    assert (plain.platforms, plain.extras) == (["linux_x86_64"], ["hub"])
    rows = [(file.path, file.bytes, file.sha256, file.role) for file in manifest.files]
    assert [(file.path, file.bytes, file.sha256, file.role) for file in plain.files] == rows


@pytest.mark.parametrize("paths", [["licences/a", "licences/a/b"], ["licences/A/B/c", "licences/a/b"]])
def test_no_file_of_a_manifest_lies_below_another(paths):
    files = [{"path": path, "bytes": 0, "sha256": "0" * 64, "role": "licence"} for path in paths]
    with pytest.raises(VerificationFailed, match="stands in it as a file and as the folder of"):
        read_manifest(changed(files=files))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_no_json_at_all_ends_in_anything_but_a_refusal(value):
    for key in ("files", "name", "format", "platforms"):
        with pytest.raises(AvengersError):
            read_manifest(changed(**{key: {"x": value}}))
        with pytest.raises(AvengersError):
            read_plain_manifest(changed(**{key: {"x": value}}))


@pytest.mark.parametrize("read", [read_manifest, read_plain_manifest])
@pytest.mark.parametrize("number", [0, 2])
def test_another_format_is_named_with_the_remedy(number, read):
    with pytest.raises(VerificationFailed, match=rf"format {number}\b.*install the product that packed it"):
        read(changed(format=number, something="new"))


def test_an_envelope_counts_the_length_of_its_archive():
    bundle = bundle_of()
    sizes = [
        dataclasses.replace(bundle, payload=bytes(size)).archive_bytes() for size in range(1024, 21 * 512 + 1, 512)
    ]
    assert {second - first for first, second in itertools.pairwise(sizes)} == {0, 10240}
