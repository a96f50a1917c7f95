"""The alignment report: JSON that any program reads, and a page that needs nothing else."""

import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from eeg2fmri.data.checks import RunReport
from eeg2fmri.data.report import read_problems, write_report
from eeg2fmri.recordings.layouts import RunProblem

REPORT = RunReport(
    name="sub-1",
    subject="1",
    eeg="a.vhdr",
    bold="a.nii.gz",
    duration=31.0,
    repetition_time=2.0,
    marker="Response/R128",
    reason="13 events",
    offset=0.5,
    spacing=2.001,
    drift=0.012,
    lead_in=-2,
    filled=[7],
    missing_electrodes=["Oz", "FCz"],
    num_volumes=15,
    num_pairs=8,
    rejected_volumes=[0, 1, 2, 3, 4, 13, 14],
    onsets=[None, None, *(0.5 + 2.001 * k for k in range(2, 15))],
    warnings=["2 stored volumes have no marker"],
)
PROBLEMS = [
    RunProblem("sub-2", "no EEG", "incomplete"),
    RunProblem("sub-3", "an <odd> & strange file", "invalid"),
    RunProblem("task-rest_channels.tsv", "not separated by tabs", "remark"),
]
VOID = {"meta", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Which tags there are, that all are closed, and what they refer to."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.references = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for key, value in attributes if key in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def written(folder: Path, reports, problems=()) -> str:
    write_report(folder, reports, problems)
    return (folder / "alignment_report.html").read_text()


def test_the_json_holds_everything(tmp_path):
    written(tmp_path, [REPORT], PROBLEMS)
    content = json.loads((tmp_path / "alignment_report.json").read_text())
    assert RunReport(**content["runs"][0]) == REPORT
    assert read_problems(tmp_path) == PROBLEMS
    assert [problem["run"] for problem in content["remarks"]] == ["task-rest_channels.tsv"]


def test_the_page_is_whole_and_needs_nothing_else(tmp_path):
    text = written(tmp_path, [REPORT, dataclasses.replace(REPORT, name="sub-4")], PROBLEMS)
    page = Page(text)
    assert page.tags.count("svg") == 4
    assert page.references == []
    assert "script" not in page.tags
    for words in ("16 pairs of 2 runs; 2 left out", "Response/R128", "13 events", "Oz, FCz", "0-4, 13-14", "12.0"):
        assert words in text


def test_every_volume_with_a_marker_is_drawn_in_its_colour_and_place(tmp_path):
    text = written(tmp_path, [REPORT])
    ticks = re.findall(r'<line x1="([\d.]+)" y1="40" x2="\1" y2="70" stroke="(#\w+)"/>', text)
    colours = [colour for _, colour in ticks]
    assert len(ticks) == 13
    assert colours.count("#1b7f4b") == 7  # eight pairs, one of which is drawn as filled
    assert colours.count("#e08e0b") == 1
    assert colours.count("#c0392b") == 5
    places = [float(place) for place, _ in ticks]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert max(steps) - min(steps) < 0.21  # rounded to a tenth
    assert places[0] > 90


def test_names_can_not_become_part_of_the_page(tmp_path):
    hostile = dataclasses.replace(REPORT, name="<script>alert(1)</script>", marker="<b>", warnings=["<img src=x>"])
    text = written(tmp_path, [hostile], PROBLEMS)
    assert {"script", "b", "img", "odd"}.isdisjoint(Page(text).tags)
    assert "an &lt;odd&gt; &amp; strange file" in text


def test_a_stated_alignment_is_drawn_too(tmp_path):
    onsets = [-2.5 + 2.0 * volume for volume in range(15)]
    text = written(tmp_path, [dataclasses.replace(REPORT, marker=None, offset=-2.5, spacing=2.0, onsets=onsets)])
    assert "none (stated)" in text
    assert text.count('y1="40"') == 15
