"""Laws of making teams: what ships stays, what is wrong is never written, and what a person wrote is kept."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from gguf_files import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge._util.files import write_text
from avengers_edge.cli.root_command import cli
from avengers_edge.config import load_settings, shipped_dir
from avengers_edge.engine import memory
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.engine.protocol import EngineFacts, RequestHandle
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.importing import import_file
from avengers_edge.library.store import Store
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.records import Completion, Generation, Member, Mode
from avengers_edge.routing.table import CentroidTable
from avengers_edge.teams import Teams, new_text, with_members, with_table, with_usual_team, without_members

TERMINAL = SimpleNamespace(isatty=lambda: True)

SMALL = "smollm2-135m-instruct"
CODER = "qwen2.5-coder-0.5b-instruct"
STARTER = [f"qwen2.5-coder-1.5b-instruct:{way}" for way in ("brief", "direct")]
BY_HAND = """\
# Mine, and written with care.
name = "mine"
description = "by hand"   # keep this

[defaults]
samples = 4

[[members]]
# the quick one
model = "smollm2-135m-instruct"
mode = "direct"

[[members]]
mode = "terse"
model = "qwen2.5-coder-0.5b-instruct"

[modes.terse]
max_tokens = 9
"""


@pytest.fixture
def teams(home):
    return Teams(load_settings())


@pytest.fixture
def run(home):
    def invoke(*words, **options):
        return CliRunner().invoke(cli, list(map(str, words)), **options)

    return invoke


@pytest.fixture
def person(monkeypatch):
    """Somebody sits at the terminal."""
    monkeypatch.setattr("avengers_edge.cli.terminal.sys", SimpleNamespace(stdin=TERMINAL, stdout=None, stderr=None))


def files_of(home):
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def load(name):
    return Catalog.of(load_settings()).load_team(name)


# --- texts ---


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True),
    st.sampled_from([None, Mode("think")]),
    st.sampled_from([None, "x.safetensors"]),
)
def test_members_added_and_left_out_again_leave_the_text_as_it_was(models, mode, table):
    text = new_text("t", 'say "hi"', [Member("first")], table, 3)
    members = [Member(model, mode) for model in models]
    grown = with_members(text, members)
    assert [entry["model"] for entry in tomllib.loads(grown)["members"]] == ["first", *models]
    assert without_members(grown, [member.name for member in members]) == text


@given(st.sampled_from([None, "a.safetensors"]), st.sampled_from([None, "b.safetensors"]))
def test_a_table_is_named_and_nothing_else_changes(before, after):
    text = new_text("t", "d", [Member("first")], before, 3)
    values = tomllib.loads(text) | {"table": after}
    assert tomllib.loads(with_table(text, after)) == {key: value for key, value in values.items() if value is not None}


def test_what_a_person_wrote_stays_when_a_member_goes_or_a_table_comes(home):
    changed = with_table(without_members(BY_HAND, [f"{SMALL}:direct"]), "x.safetensors")
    assert changed.startswith("# Mine, and written with care.\n")
    assert "# keep this" in changed
    assert "the quick one" not in changed
    assert tomllib.loads(changed) == tomllib.loads(BY_HAND) | {
        "members": tomllib.loads(BY_HAND)["members"][1:],
        "table": "x.safetensors",
    }


@pytest.mark.parametrize(
    "text",
    ["", "offline = true\n", "# my settings\nteam = 'old'\nthreads = 2\n", "team='a'", 'pin = [\n  "team",\n]\n'],
)
def test_the_usual_team_is_set_and_all_other_settings_stay(text):
    assert tomllib.loads(with_usual_team(text, "new")) == tomllib.loads(text) | {"team": "new"}
    assert with_usual_team(with_usual_team(text, "new"), "new") == with_usual_team(text, "new")


# --- making ---


def test_a_made_team_is_what_was_asked_for(teams):
    members = teams.members([f"{SMALL}:direct", CODER])
    made = teams.create("mine", members, description="small ones", samples=3)
    assert load("mine") == made
    assert (made.members, made.description, made.samples, made.table) == (members, "small ones", 3, None)


def test_a_table_is_copied_and_belongs_to_the_team(teams, home):
    made = teams.create("mine", teams.members(STARTER), table=teams.find_table("starter"))
    copy = home / "tables" / "mine.safetensors"
    assert copy.read_bytes() == (shipped_dir() / "tables" / "starter.safetensors").read_bytes()
    assert made.table == "mine.safetensors"
    assert Catalog.of(load_settings()).find_table(made) == copy


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("starter", "ships with the product"),
        ("Mine", "not a valid name"),
        ("../up", "not a valid name"),
        ("con", "not a plain file name"),
        ("", "not a valid name"),
        ("a.lock", "lock files"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused(teams, home, name, said):
    with pytest.raises(BadRequest, match=said):
        teams.create(name, teams.members([SMALL]))
    assert not home.exists()


def test_a_team_is_never_made_over_another(teams, home):
    teams.create("mine", teams.members([SMALL]))
    before = files_of(home)
    with pytest.raises(BadRequest, match="there is a team 'mine'"):
        teams.create("mine", teams.members([CODER]))
    assert files_of(home) == before


@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        (["nobody"], NotFound, "there is no model 'nobody'"),
        ([f"{SMALL}:dream"], NotFound, "no way of asking 'dream'"),
        ([f"{SMALL}:"], NotFound, "no way of asking ''"),
        ([SMALL, SMALL], BadRequest, "named twice"),
    ],
)
def test_members_that_cannot_be_are_refused(teams, names, error, said):
    with pytest.raises(error, match=said):
        teams.members(names)


def test_a_table_that_does_not_fit_the_members_is_refused_and_nothing_is_written(teams, home, tmp_path):
    with pytest.raises(BadRequest, match="has no column for smollm2-135m-instruct:think"):
        teams.create("mine", teams.members([f"{SMALL}:think"]), table=teams.find_table("starter"))
    (tmp_path / "bad.safetensors").write_bytes(b"not a table")
    with pytest.raises(VerificationFailed):
        teams.create("mine", teams.members(STARTER), table=teams.find_table(str(tmp_path / "bad.safetensors")))
    with pytest.raises(NotFound, match="there is no table nowhere"):
        teams.find_table("nowhere")
    assert not home.exists()


def test_a_home_that_cannot_be_written_is_one_line_and_leaves_no_half(teams, home):
    home.write_text("", encoding="utf-8")
    with pytest.raises(AvengersError, match="AVENGERS_HOME"):
        teams.create("mine", teams.members([SMALL]))


# --- changing ---


def test_members_come_and_go(teams):
    teams.create("mine", teams.members([SMALL]))
    grown = teams.add("mine", teams.members([f"{CODER}:think"]))
    assert [member.name for member in grown.members] == [SMALL, f"{CODER}:think"]
    assert [member.name for member in teams.drop("mine", [SMALL]).members] == [f"{CODER}:think"]
    assert load("mine").members == teams.members([f"{CODER}:think"])


def test_what_cannot_be_changed_is_refused_and_stays(teams, home):
    teams.create("mine", teams.members(STARTER), table=teams.find_table("starter"))
    before = files_of(home)
    for change, error, said in (
        (lambda: teams.add("mine", teams.members(STARTER[:1])), BadRequest, "is a member of mine already"),
        (lambda: teams.add("mine", teams.members([f"{SMALL}:think"])), BadRequest, "has no column for"),
        (lambda: teams.add("starter", teams.members([SMALL])), BadRequest, "ships with the product"),
        (lambda: teams.add("nobody", ()), NotFound, "there is no team 'nobody'"),
        (lambda: teams.drop("mine", ["nobody"]), NotFound, "has no member 'nobody'"),
        (lambda: teams.drop("mine", STARTER), BadRequest, "no member would be left"),
        (lambda: teams.delete("starter"), BadRequest, "ships with the product"),
        (lambda: teams.delete("nobody"), NotFound, "there is no team"),
    ):
        with pytest.raises(error, match=said):
            change()
        assert files_of(home) == before


def test_a_table_can_be_given_later_and_taken_away(teams, home):
    teams.create("mine", teams.members(STARTER))
    assert teams.add("mine", (), table=teams.find_table("starter")).table == "mine.safetensors"
    assert teams.add("mine", (), table=teams.find_table("mine")).table == "mine.safetensors"
    assert (home / "tables" / "mine.safetensors").is_file()
    assert teams.drop("mine", STARTER[1:]).table == "mine.safetensors"
    assert teams.add("mine", teams.members([SMALL]), without_table=True).table is None
    assert not (home / "tables" / "mine.safetensors").exists()


def test_a_team_written_by_hand_keeps_its_comments_and_its_own_ways_of_asking(teams, home):
    write_text(home / "teams" / "mine.toml", BY_HAND)
    teams.add("mine", teams.members([f"{CODER}:think"]))
    changed = teams.drop("mine", [f"{SMALL}:direct"])
    assert [member.name for member in changed.members] == [f"{CODER}:terse", f"{CODER}:think"]
    assert changed.members[0].mode.max_tokens == 9
    assert "written with care" in (home / "teams" / "mine.toml").read_text(encoding="utf-8")


def test_a_team_written_in_an_unusual_way_is_not_touched(teams, home):
    members = f'members = [{{ model = "{SMALL}" }}, {{ model = "{CODER}" }}]'
    text = f'name = "mine"\ndescription = "d"\n{members}\n'
    write_text(home / "teams" / "mine.toml", text)
    with pytest.raises(BadRequest, match="by hand"):
        teams.drop("mine", [SMALL])
    with pytest.raises(BadRequest, match="by hand"):
        teams.add("mine", teams.members([f"{CODER}:think"]))
    assert (home / "teams" / "mine.toml").read_text(encoding="utf-8") == text


def test_a_deleted_team_takes_its_table_along_and_the_usual_one_stays(teams, home):
    teams.create("mine", teams.members(STARTER), table=teams.find_table("starter"))
    teams.use("mine")
    with pytest.raises(BadRequest, match="avengers team use"):
        Teams(load_settings()).delete("mine")
    teams.use("starter")
    Teams(load_settings()).delete("mine")
    assert set(files_of(home)) == {"settings.toml"}


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_a_settings_file_that_is_a_link_stays_one(teams, home, tmp_path):
    home.mkdir()
    (tmp_path / "dotfiles.toml").write_text("threads = 2\n", encoding="utf-8")
    (home / "settings.toml").symlink_to(tmp_path / "dotfiles.toml")
    teams.use("open-7b")
    assert (home / "settings.toml").is_symlink()
    assert 'team = "open-7b"' in (tmp_path / "dotfiles.toml").read_text(encoding="utf-8")


def test_the_usual_team_is_kept_in_the_settings_file(teams, home):
    write_text(home / "settings.toml", "# mine\nthreads = 2\n")
    teams.use("open-7b")
    assert (load_settings().team, load_settings().threads) == ("open-7b", 2)
    assert "# mine" in (home / "settings.toml").read_text(encoding="utf-8")
    with pytest.raises(NotFound):
        teams.use("nobody")
    write_text(home / "settings.toml", 'pin = [\n[\n]]\nteam = "x"\n')
    with pytest.raises(BadRequest):
        teams.use("starter")


# --- the commands ---


@pytest.fixture
def tiny(home, tmp_path, monkeypatch):
    """A home with one installed model that fits, and one that does not."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    for salt, name in enumerate(("tiny", "wide")):
        (tmp_path / f"{name}.gguf").write_bytes(tiny_model(salt))
        import_file(Store(home), tmp_path / f"{name}.gguf", Catalog(home, shipped_dir()))


def test_create_says_what_the_team_lacks_and_how_to_calibrate(run):
    result = run("team", "create", "mine", "-m", f"{SMALL}:direct", "-m", CODER, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["members"] == [f"{SMALL}:direct", CODER]
    assert f"{SMALL}, {CODER} not installed: run `avengers setup mine`" in result.stderr
    assert "avengers team add mine --calibrate 300" in result.stderr
    assert "`avengers team use mine` makes it the default team" in result.stderr


def test_fitting_takes_what_is_installed_and_fits_in_both_ways(run, tiny, monkeypatch):
    assert run("team", "create", "mine", "--fitting").exit_code == 0
    assert [member.name for member in load("mine").members] == [
        "tiny:think",
        "tiny:direct",
        "wide:think",
        "wide:direct",
    ]
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    nothing = run("team", "create", "other", "--fitting")
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (1, 1)
    assert "no installed model fits" in nothing.stderr
    small = run("team", "add", "mine", "tiny")
    assert "tiny needs 69.4 MB of memory and 1.0 MB are free" in small.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", "mine"], 2, "name them with --member"),
        (["create", "starter"], 2, "ships with the product"),
        (["create", "mine", "-m", SMALL, "--fitting"], 2, "leave out --member"),
        (["create", "mine", "-m", SMALL, "--table", "nowhere"], 3, "there is no table"),
        (["create", "mine", "-m", SMALL, "--description", "a\x1b[2J"], 2, "cannot be shown"),
        (["add", "starter", SMALL], 2, "ships"),
        (["add", "mine"], 2, "nothing to add"),
        (["add", "mine", "--table", "x", "--no-table"], 2, "exclude each other"),
        (["remove", "starter"], 2, "ships"),
        (["remove", "nobody", "--yes"], 3, "there is no team"),
        (["use", "nobody"], 3, "there is no team"),
        (["use", "starterr"], 3, "did you mean 'starter'?"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(run, home, words, code, said):
    result = run("team", *words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1), result.output
    assert said in result.stderr
    assert files_of(home) == {}


class Echo:
    """Answers every question with 4 at once; after so many answers somebody presses Ctrl-C."""

    def __init__(self, interrupted_after=-1):
        self.left, self.asked = interrupted_after, []
        self.facts = EngineFacts("tiny", 32_768, 32_768, 1, 0, (), gpu_offload=False, threads=1, features="")

    def submit(self, request, *, on_finish=None, on_token=None):
        ticket = RequestHandle(lambda: None)
        if self.left == 0:
            ticket.future.set_exception(KeyboardInterrupt())
            return ticket
        self.left -= 1
        self.asked.append(request)
        samples = tuple(Completion(i, i, "Answer: 4", 3, "stop") for i in range(request.n))
        ticket.future.set_result(Generation(samples, prompt_tokens=5, prefill_ms=1.0, decode_ms=1.0))
        return ticket

    def count_tokens(self, request):
        return 9


@pytest.fixture
def echo(monkeypatch):
    """Lets every model of a calibration be answered for by one engine."""
    pytest.importorskip("sklearn")

    def lend(**options):
        engine = Echo(**options)
        monkeypatch.setattr(ModelPool, "lease", lambda self, model: contextlib.nullcontext(engine))
        return engine

    return lend


def table_of(name):
    path = Catalog.of(load_settings()).find_table(load(name))
    with contextlib.closing(open_shipped_embedder(load_settings())) as embedder:
        return CentroidTable.load(path, fingerprint=embedder.fingerprint).header


@pytest.mark.parametrize("said", ["an option", "the guide"])
def test_a_team_is_calibrated_with_the_built_in_questions_as_the_commands_do_it(run, tiny, echo, person, home, said):
    engine = echo()
    members = ["-m", "tiny:think", "-m", "wide:direct"]
    if said == "an option":
        result = run("team", "create", "mine", *members, "--calibrate", 4, "--json")
    else:
        result = run("team", "create", "mine", "--description", "d", "--json", input="1,2\nboth\ncalibrate\n4\n")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["table"] == str(home / "tables" / "mine.safetensors")
    assert table_of("mine").members == tuple(told["members"])
    assert sum(table_of("mine").datasets.values()) == 4
    assert len(engine.asked) == 4 * len(told["members"])
    assert f"measuring {len(told['members'])} members on 4 questions" in result.stderr
    assert "team mine is calibrated: 4 questions" in result.stderr
    measured = ("--team", "mine", "--questions", "builtin", "--limit", 4, "--out", home / "outcomes" / "mine.jsonl")
    assert run("calibrate", "measure", *measured).exit_code == 0
    assert len(engine.asked) == 4 * len(told["members"])  # the command finds nothing left to ask
    assert run("team", "remove", "mine", "--yes").exit_code == 0
    assert not (home / "outcomes" / "mine.jsonl").exists()


def test_a_calibration_that_was_stopped_goes_on_and_the_team_is_there_meanwhile(run, tiny, echo):
    first = echo(interrupted_after=3)
    stopped = run("team", "create", "mine", "-m", "tiny:think", "-m", "wide:direct", "--calibrate", 4)
    assert stopped.exit_code == 130
    assert "to go on where this stopped: avengers team add mine --calibrate 4\navengers: interrupted" in stopped.stderr
    assert load("mine").table is None
    second = echo()
    done = run("team", "add", "mine", "--calibrate", 4)
    assert done.exit_code == 0, done.stderr
    assert len(first.asked) + len(second.asked) == 8
    assert load("mine").table == "mine.safetensors"
    third = echo()
    grown = run("team", "add", "mine", "tiny:direct", "--calibrate", 5)
    assert grown.exit_code == 0, grown.stderr
    assert len(third.asked) == 3 + 4  # one question more of three members, and the new one's first four
    assert table_of("mine").members == ("tiny:think", "wide:direct", "tiny:direct")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-m", "tiny:think"], 2, "there is only one"),
        (["-m", "tiny:think", "-m", SMALL], 3, f"{SMALL} not installed, and only what is installed can be measured"),
        (["-m", "tiny:think", "-m", "wide:think", "--table", "starter"], 2, "choose one"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line_and_no_team_is_made(run, tiny, echo, home, words, code, said):
    echo()
    before = files_of(home)
    result = run("team", "create", "mine", *words, "--calibrate")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1), result.output
    assert said in result.stderr
    assert files_of(home) == before


def test_the_guide_asks_for_what_was_not_said(run, tiny, person):
    result = run("team", "create", "mine", input="nonsense\n99\n1, 2\nthink\n\nmy own\n")
    assert result.exit_code == 0, result.stderr
    team = load("mine")
    assert ([member.name for member in team.members], team.description) == (["tiny:think", "wide:think"], "my own")
    assert "tiny, 640 B, needs 69.4 MB of memory: fits" in result.stderr
    assert "write numbers of 1 to" in result.stderr


def test_the_guide_proposes_what_fits_in_both_ways(run, tiny, person):
    assert run("team", "create", "mine", "--description", "d", input="\n\n\n").exit_code == 0
    assert len(load("mine").members) == 4


def test_leaving_the_guide_writes_nothing(run, tiny, person, home):
    before = files_of(home)
    assert run("team", "create", "mine", input="1\n").exit_code == 130
    assert files_of(home) == before


def test_deleting_a_team_asks_first(run, home, person):
    run("team", "create", "mine", "-m", SMALL)
    refused = run("team", "remove", "mine", input="n\n")
    assert (refused.exit_code, "nothing was deleted" in refused.stderr) == (1, True)
    assert run("team", "remove", "mine", input="y\n").exit_code == 0
    assert files_of(home) == {}


def test_use_and_remove_of_members_by_command(run):
    run("team", "create", "mine", "-m", SMALL, "-m", CODER)
    assert run("team", "use", "mine").exit_code == 0
    assert load_settings().team == "mine"
    assert run("team", "remove", "mine", CODER).stderr == "team mine has 1 member left\n"


def test_a_name_with_every_way_of_asking_is_completed(run, monkeypatch):
    monkeypatch.setenv("_AVENGERS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"avengers team add starter {SMALL}:")
    assert f"plain,{SMALL}:think" in run().stdout.splitlines()
