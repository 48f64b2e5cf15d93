"""A history read as lanes, and drawn."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from orchestration.core import events as e
from orchestration.core import payload
from orchestration.core.graph import Graph, as_mermaid, make_graph
from orchestration.core.graph_svg import as_svg
from orchestration.core.timeline import Timeline, fold_lanes, read_timeline, span_text

NONE = payload.EMPTY_ARRAY
NASTY = 'no <money> & "co"; #1\x07 --> x]'


def read(*history: e.Event) -> Timeline:
    return read_timeline(map(e.encode, [e.Started(1_000, {}), *history]))


def activity(seq: int, name: str = "app:a") -> e.Event:
    return e.ScheduleActivity(seq, name, NONE)


def done(time_ms: int, seq: int, attempt: int = 1) -> e.Event:
    return e.ActivityCompleted(time_ms, seq, payload.NIL, {"attempt": attempt})


def edges(*history: e.Event, fold: bool = True) -> list[tuple[str, str]]:
    return make_graph(read(*history), title=("id", "type"), fold=fold).edges


def test_each_thing_is_a_lane_from_its_beginning_to_its_end() -> None:
    timeline = read(
        activity(1), e.StartTimer(2, 90_000), e.StartChild(3, "app:kid", "", NONE),
        e.SendSignal(4, "{a@b|x}", "go", NONE),
        e.SideEffect(5, "value", payload.NIL), activity(9, "app:b"), activity(10, "app:c"),
        done(1_200, 1, attempt=3),
        e.ChildStarted(1_300, 3, "{a@b|kid-1}"),
        e.OperationDone(1_400, 4, True),
        e.ActivityFailed(1_500, 9, payload.encode_failure("no", kind="Declined"), {"attempt": 1}),
        e.CancelTimer(2), e.CancelActivity(10), activity(6),
        e.Signal(1_600, "word", NONE, "{a@b|y}"),
        e.Update(1_700, "u-1", "add"),
        e.UpdateDone("u-1", True, payload.NIL),
        e.ChildEnded(1_900, 3, "{a@b|kid-1}", True),
        e.CancelRequested(2_000),
        e.Complete(payload.NIL),
    )  # fmt: skip
    assert [(lane.kind, lane.name, lane.start_ms, lane.end_ms, lane.outcome) for lane in timeline.lanes] == [
        ("activity", "app:a", 1_000, 1_200, "completed"),
        ("timer", "1m 30s", 1_000, 1_500, "cancelled"),
        ("child", "app:kid", 1_000, 1_900, "completed"),
        ("send", "go", 1_000, 1_400, "completed"),
        ("effect", "side effect", 1_000, 1_000, "completed"),
        ("activity", "app:b", 1_000, 1_500, "failed"),
        ("activity", "app:c", 1_000, 1_500, "cancelled"),
        ("activity", "app:a", 1_500, None, "open"),
        ("signal", "word", 1_600, 1_600, "received"),
        ("update", "add", 1_700, 1_700, "completed"),
        ("request", "cancel", 2_000, 2_000, "received"),
    ]
    assert timeline.lanes[0].attempts == 3
    assert timeline.lanes[2].target == "kid-1"
    assert timeline.lanes[5].error == "Declined: no"
    assert (timeline.started_ms, timeline.last_ms, timeline.ending) == (1_000, 2_000, "complete")


def test_an_activity_that_is_to_answer_its_cancelling_goes_on() -> None:
    timeline = read(activity(1), e.Signal(1_100, "stop"), e.CancelActivity(1, True))
    assert timeline.lanes[0].end_ms is None
    assert read(activity(1), e.Terminated(1_200, "enough")).ending == "terminated"


def test_an_empty_history_has_no_lanes() -> None:
    timeline = read_timeline([])
    assert (timeline.lanes, timeline.started_ms) == ([], 0)
    assert make_graph(timeline, title=("id",)).edges == []


def test_steps_one_after_the_other_and_at_once() -> None:
    assert edges(activity(1), done(1_100, 1), activity(2, "app:b"), done(1_200, 2), e.Complete(payload.NIL)) == [
        ("run", "s1"), ("s1", "s2"), ("s2", "done"),
    ]  # fmt: skip
    assert edges(
        activity(1), activity(2, "app:b"), done(1_100, 2), done(1_200, 1), activity(3), done(1_300, 3),
        e.Complete(payload.NIL),
    ) == [("run", "s1"), ("run", "s2"), ("s2", "s3"), ("s1", "s3"), ("s3", "done")]  # fmt: skip


def test_a_step_comes_after_the_start_of_a_child_only_if_it_waited_for_that() -> None:
    child, started = e.StartChild(1, "app:kid", "", NONE), e.ChildStarted(1_100, 1, "{a@b|kid}")
    assert edges(child, started, activity(2)) == [("run", "s1"), ("s1", "s2")]
    late = edges(child, activity(2), started, done(1_200, 2), activity(3, "app:b"))
    assert late == [("run", "s1"), ("run", "s2"), ("s2", "s3")]


def test_a_run_without_steps_goes_to_its_end() -> None:
    assert edges(e.Complete(payload.NIL)) == [("run", "done")]
    assert edges() == []


def test_many_steps_in_a_row_that_are_alike_are_one() -> None:
    history: list[e.Event] = []
    for seq in range(1, 31):
        history += [activity(seq), done(1_000 + seq, seq)]
    graph = make_graph(read(*history), title=("id", "type"))
    assert [node.lines[0] for node in graph.nodes] == ["id", "30 × app:a"]
    assert graph.edges == [("run", "s1")]
    assert len(make_graph(read(*history), title=("id",), fold=False).nodes) == 31
    lanes = read(*history[:8]).lanes
    assert [len(group.lanes) for group in fold_lanes(lanes)] == [1, 1, 1, 1]
    (group,) = fold_lanes(lanes, least=4)
    assert (group.start_ms, group.end_ms) == (1_000, 1_004)


def nasty() -> Graph:
    failure = payload.encode_failure(NASTY, kind="K")
    failed = e.ActivityFailed(1_100, 1, failure, None)
    timeline = read(activity(1), activity(2, "app:b"), failed, activity(3), e.Signal(1_200, NASTY))
    return make_graph(timeline, title=(NASTY, "app:t"))


def test_a_picture_holds_whatever_text() -> None:
    svg = as_svg(nasty())
    root = ET.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert NASTY.replace("\x07", "�") in texts
    assert f"signal {NASTY}".replace("\x07", "�") in texts
    assert "<script" not in as_svg(make_graph(read(), title=("<script>",)))


def test_mermaid_text_is_quoted() -> None:
    lines = as_mermaid(nasty()).splitlines()
    assert lines[0] == "flowchart TD"
    text = r'"[^"<>&;]*((<br/>|#\d+;)[^"<>&;]*)*"'
    box = rf"\w+(\(\[|\[\[|\[|\{{\{{|>){text}(\]\)|\]\]|\]|\}}\}}):::\w+"
    for line in lines[1:]:
        assert re.fullmatch(rf"  ({box}|\w+ --> \w+|classDef .*)", line), line


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" rx', svg)
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in found]


@pytest.mark.parametrize("wide", [1, 3, 12])
def test_no_box_lies_upon_another_and_all_are_inside(wide: int) -> None:
    history: list[e.Event] = [activity(seq, f"app:{'x' * seq}") for seq in range(1, wide + 1)]
    for seq in range(1, wide + 1):
        history += [done(1_100 + seq, seq), activity(100 + seq, f"app:second{seq}")]
    svg = as_svg(make_graph(read(*history), title=("id", "type")))
    found = boxes(svg)
    assert len(found) == 2 * wide + 1
    width, height = map(float, re.findall(r'viewBox="0 0 (\d+) (\d+)"', svg)[0])
    for number, (x, y, w, h) in enumerate(found):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, other_h in found[:number]:
            apart = x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y
            assert apart


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [
        (0, "0 ms"), (999.4, "999 ms"), (999.6, "1 s"), (1_234, "1.23 s"), (59_960, "1m"), (90_000, "1m 30s"),
        (3_600_000, "1h"), (90_061_000, "1d 1h"), (86_400_000, "1d"),
    ],
)  # fmt: skip
def test_spans_in_their_two_largest_units(span_ms: float, text: str) -> None:
    assert span_text(span_ms) == text


