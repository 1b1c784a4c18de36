"""The benchmark's own arithmetic: a wrong ratio would mislead for years."""

import os
import subprocess
import sys

import pytest
from bench.accounting import cpu_of, tree_of, usages
from bench.goals import FAN_OUT_GROWTH, Goal, verdicts
from bench.large import Large
from bench.report import Surroundings, large_table, replace_figures
from bench.results import CountError, Run, check_accepted, check_count, check_empty, ratios, spread_of


def _run(contender: str, number: int, *, seconds: float, items: int = 1000) -> Run:
    cpu = {"contender": 0.3, "database": 0.1}
    return Run(contender=contender, round=number, items=items, seconds=seconds, cpu=cpu)


def test_a_rate_is_items_by_seconds_and_cpu_is_per_item() -> None:
    run = _run("ours", 1, seconds=2.0)
    assert run.rate == 500
    assert run.cpu_us("contender") == pytest.approx(300)
    assert run.cpu_us() == pytest.approx(400)


def test_ratios_compare_runs_of_the_same_round_only() -> None:
    runs = [
        _run("floor", 1, seconds=1.0),
        _run("ours", 1, seconds=2.0),
        _run("ours", 2, seconds=8.0, items=2000),
        _run("floor", 2, seconds=1.0),
        _run("floor", 3, seconds=1.0),
    ]
    assert ratios(runs, "ours", "floor") == [0.5, 0.25]


def test_a_goal_is_met_when_the_lower_quartile_meets_it() -> None:
    seconds = [1.0, 2.0, 2.0, 2.0, 4.0]  # ratios 1, 1/2, 1/2, 1/2, 1/4
    runs = [
        run
        for number, took in enumerate(seconds, start=1)
        for run in (_run("floor", number, seconds=1.0), _run("ours", number, seconds=took))
    ]
    reached, missed, unmeasured = (
        Goal("S", "ours", "floor", 0.5),
        Goal("S", "ours", "floor", 0.51),
        Goal("S", "ours", "nobody", 0.1),
    )
    found = {verdict.goal: verdict.met for verdict in verdicts(runs, [reached, missed, unmeasured])}
    assert found == {reached: True, missed: False}


@pytest.mark.parametrize(("grown", "met"), [(FAN_OUT_GROWTH - 1, "yes"), (FAN_OUT_GROWTH, "no")])
def test_a_large_broadcast_is_judged_by_what_the_dispatcher_grew(grown: int, met: str) -> None:
    growth = {"api": 10 * FAN_OUT_GROWTH, "dispatcher": grown}
    large = Large(people=1000, dispatched=1.0, delivered=4.0, growth=growth, room=0)
    assert large.rate == 250
    where = Surroundings("2026-11-22", "abc", "2 cores", "3.11", 0.5)
    assert f"| the dispatcher is bounded | {met} | < 50 MB |" in large_table(where, large)


def test_the_spread_of_one_value_is_that_value() -> None:
    assert spread_of([3.0]).low == spread_of([3.0]).high == 3.0
    assert spread_of([1.0, 2.0, 3.0, 4.0, 5.0]).median == 3.0


@pytest.mark.parametrize("found", [{"rows": 9}, {"rows": 11}, {"rows": 10, "attempts": 11}])
def test_a_lost_or_doubled_row_ends_the_benchmark(found: dict[str, int]) -> None:
    with pytest.raises(CountError, match="ours: expected 10"):
        check_count("ours", expected=10, found=found)


def test_what_was_not_acknowledged_ends_the_benchmark() -> None:
    check_empty("ours", "work", 0)
    with pytest.raises(CountError, match="3 messages of work"):
        check_empty("ours", "work", 3)


def test_every_answered_request_must_be_stored_and_few_others_may_be() -> None:
    check_accepted("api", answered=100, failed=0, stored=164, connections=64)
    for answered, failed, stored in ((100, 0, 99), (100, 0, 165), (100, 1, 100)):
        with pytest.raises(CountError, match="api: 100 answered"):
            check_accepted("api", answered=answered, failed=failed, stored=stored, connections=64)


def test_cpu_time_counts_children_that_have_ended_and_survives_odd_names() -> None:
    hertz = os.sysconf("SC_CLK_TCK")
    fields = ["S", "1", *["0"] * 9, "100", "20", "3", "4", *["0"] * 20]
    assert cpu_of(f"7 (a ) b) {' '.join(fields)}") == pytest.approx(127 / hertz)


def test_a_tree_holds_all_descendants() -> None:
    assert tree_of(1, {1: [2, 3], 3: [4], 9: [5]}) == [1, 2, 3, 4]


def test_the_work_of_a_child_process_is_seen() -> None:
    code = "import sys; sum(range(3_000_000)); print('done', flush=True); sys.stdin.read()"
    before = usages({"us": os.getpid()})["us"]
    with subprocess.Popen(  # noqa: S603 - a program of our own
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = usages({"us": os.getpid(), "child": child.pid})
    assert during["child"].cpu > 0
    assert during["us"].cpu >= before.cpu + during["child"].cpu
    assert during["child"].resident > 1_000_000
    assert usages({"gone": child.pid})["gone"].cpu == 0


def test_figures_are_put_between_their_marks_and_nowhere_else() -> None:
    page = "# A\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nB\n"
    written = replace_figures(page, "new")
    assert "old" not in written
    assert written.startswith("# A\n<!-- figures: begin -->\n\nnew\n")
    assert written.endswith("<!-- figures: end -->\nB\n")
    with pytest.raises(ValueError, match="no <!-- figures"):
        replace_figures("# A", "new")
