"""The report: one file that needs no other, says what was found, and lets no text out of its place."""

import dataclasses
import re
import sys
from html.parser import HTMLParser

import pytest
from study_rows import two_directions

from avengers_edge.calibration.report import INK, PAPER, draw, page, verdict, write_report
from avengers_edge.calibration.resampling import Interval
from avengers_edge.calibration.study import Bin, ClusterShape, Costs, Reliability, Standing, Study, Trade
from avengers_edge.errors import AvengersError, MissingExtra

pytest.importorskip("matplotlib")

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script src=http://bad.example/x.js></script>\"'&$x^2$"


class Outline(HTMLParser):
    """Collects tags, attributes and texts, and complains of what is not closed in order."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def standing(name, role, macro, gain):
    return Standing(name, role, Interval(*macro), Interval(*macro), Interval(*gain), (macro[0],), {"sums": macro[0]})


def made_study(member="big", gain=(4.0, 1.0, 7.0), **changes):
    study = Study(
        members=(member, "small"),
        questions=1234,
        units=1200,
        datasets={"sums": 1234},
        seeds=(0, 1),
        draws=500,
        best_single=(member, member),
        standings=(
            standing("router", "router", (64.0, 60.0, 68.0), gain),
            standing("best single", "reference", (60.0, 56.0, 64.0), (0.0, 0.0, 0.0)),
            standing("query oracle", "oracle", (80.0, 77.0, 83.0), (20.0, 18.0, 22.0)),
        ),
        costs=Costs(
            (Trade("0", 50.0, 1.0), Trade("1", 64.0, 3.5)), (Trade(member, 60.0, 4.25), Trade("small", 50.0, 1.0))
        ),
        reliability=Reliability(30, (Bin(40, 50, 10, 50.0, 42.5), Bin(90, 100, 20, 100.0, 95.0)), 5.83, 0.125),
        clusters=(ClusterShape(1, 1234, (("sums", 100.0),), (60.0, 50.0), ()),),
    )
    return dataclasses.replace(study, **changes)


@pytest.fixture(scope="module")
def content():
    return page(made_study())


def test_the_page_is_well_formed_and_loads_nothing(content):
    outline = Outline(content)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(outline.tags)
    loading = {"src", "href", "xlink:href", "srcset", "data", "action", "background", "poster"}
    assert all(value.startswith("#") for _, name, value in outline.attributes if name in loading)
    assert "http" not in "".join(value for _, _, value in outline.attributes if value != "Content-Security-Policy")
    assert "url(" not in re.sub(r"url\(#", "", content)
    assert "@import" not in content


def test_what_is_referred_to_inside_the_page_is_there_once(content):
    attributes = Outline(content).attributes
    names = [value for _, name, value in attributes if name == "id"]
    referred = {value[1:] for _, name, value in attributes if name == "href"}
    referred |= {found for _, _, value in attributes for found in re.findall(r"url\(#([^)]+)\)", value)}
    assert len(names) == len(set(names))
    assert referred
    assert referred <= set(names)


def test_every_drawing_tells_in_words_what_it_shows(content):
    labels = [value for tag, name, value in Outline(content).attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == 3
    assert "router 64.0; best single 60.0; query oracle 80.0" in labels[0]
    assert "agreement 50, right 42" in " ".join(labels)


def test_every_number_stands_in_a_table(content):
    texts = Outline(content).texts
    for number in ("64.00", "60.0 to 68.0", "+4.00", "1.0 to 7.0", "1,234", "4.25", "42.5", "95.0"):
        assert number in texts


def test_ink_and_paper_are_those_of_the_page(content):
    assert INK not in content
    assert PAPER not in content
    assert "prefers-color-scheme: dark" in content
    assert "@media print" in content


def test_names_from_files_stay_text():
    study = made_study(HOSTILE, datasets={HOSTILE: 1234})
    shape = ClusterShape(1, 1234, ((HOSTILE, 100.0),), (60.0, 50.0), (HOSTILE,))
    outline = Outline(page(dataclasses.replace(study, clusters=(shape,))))
    assert "script" not in outline.tags
    assert outline.texts.count(HOSTILE) >= 4  # in heads and rows, and as an example


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((4.0, 1.0, 7.0), "Routing pays"),
        ((-4.0, -7.0, -1.0), "Routing loses"),
        ((1.0, -1.0, 3.0), "not settled"),
        ((0.0, 0.0, 0.0), "nothing to route"),
    ],
)
def test_the_verdict_follows_the_interval(gain, said):
    assert said in verdict(made_study(gain=gain))
    assert f"{gain[0]:+.1f} points, 95 % interval {gain[1]:+.1f} to {gain[2]:+.1f}" in verdict(made_study(gain=gain))


def test_what_was_not_measured_is_said_to_be_missing():
    texts = " ".join(Outline(page(made_study(costs=None, reliability=None))).texts)
    assert "Seconds were not measured" in texts
    assert "two samples" in texts


def test_the_same_findings_give_the_same_bytes(tmp_path):
    first, second = tmp_path / "new" / "first.html", tmp_path / "second.html"
    write_report(made_study(), first)
    write_report(made_study(), second)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["first.html"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(AvengersError, match="--out"):
        write_report(made_study(), tmp_path / "taken" / "report.html")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"\[calibrate\]"):
        page(made_study())


def test_a_drawing_has_no_size_and_no_prolog_of_its_own():
    svg = draw("one", 'a "quoted" <alt>', 1, lambda figure: figure.add_subplot().plot([0, 1], "o", color=INK))
    (opening,) = re.findall(r"^<svg [^>]*>", svg)
    assert ("width" in opening, "xmlns" in svg, "<?xml" in svg) == (False, False, False)
    assert Outline(svg).attributes[:3] == [
        ("svg", "viewbox", "0 0 360 72"),
        ("svg", "role", "img"),
        ("svg", "aria-label", 'a "quoted" <alt>'),
    ]


def test_a_real_study_makes_a_page_without_prompts():
    pytest.importorskip("sklearn")
    from avengers_edge.calibration.study import run_study

    vectors, rows = two_directions()
    told = [page(run_study(vectors, rows, seeds=1, quick=True, examples=count)) for count in (0, 1)]
    assert ["ern matter" in content for content in told] == [False, True]
    Outline(told[0])


def test_a_long_name_keeps_both_its_ends_in_drawings_and_is_whole_in_tables():
    name = "a-model-with-a-name-that-does-not-fit-anywhere:think"
    texts = Outline(page(made_study(name))).texts
    assert "a-model-with-a-…anywhere:think" in texts
    assert name in texts


def test_of_many_members_the_best_twelve_are_drawn_and_all_stand_in_the_table():
    names = tuple(f"m{place}" for place in range(20))
    shape = ClusterShape(1, 1234, (("sums", 100.0),), tuple(float(place) for place in range(20)), ())
    alone = tuple(
        standing(f"{name} alone", "member", (place, place, place), (0, 0, 0)) for place, name in enumerate(names)
    )
    study = made_study(members=names, clusters=(shape,), standings=(*made_study().standings, *alone))
    texts = Outline(page(study)).texts
    assert {name for name in names if texts.count(f"{name} alone") > 1} == set(names[8:])
    assert {name for name in names if texts.count(name) == 0} == set()
    assert any(text.endswith("m11 and 8 more.") for text in texts)
