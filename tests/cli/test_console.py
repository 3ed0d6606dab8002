from __future__ import annotations

import json

import pytest

from fastprop.cli import console


def test_results_and_talk_go_to_different_streams(capsys):
    console.print_text("[red]result")
    console.print_json({"a": ["ü", None]})
    console.say("doing [x]")
    console.warn("mind [y]")
    captured = capsys.readouterr()
    result, _, rest = captured.out.partition("\n")
    assert result == "[red]result"
    assert json.loads(rest) == {"a": ["ü", None]}
    assert captured.err == "doing [x]\nwarning: mind [y]\n"


def test_tables(capsys):
    console.heading("title [t]")
    console.print_table(["name", "n"], [("[b]x", 1), ("y" * 90, 22)], title="first", right=[1])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "title [t]" in lines
    cells = [line.split() for line in lines]
    assert ["name", "n"] in cells
    assert ["[b]x", "1"] in cells
    assert ["y" * 90, "22"] in cells


def test_plain_progress_speaks_only_after_a_second(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress("short work", total=10) as bar:
        bar.advance(10)
        now[0] = 0.9
    assert capsys.readouterr().err == ""
    with console.progress("long work", total=1000, unit="rows") as bar:
        bar.advance(100)
        now[0] += 2
        bar.advance(100)
        now[0] += 2
        bar.advance(100)
        now[0] += 10
        bar.update(700, total=700)
    assert capsys.readouterr().err.splitlines() == [
        "long work: 200 of 1,000 rows in 2.0 s, 100 rows/s, 8.0 s left",
        "long work: 700 of 700 rows in 14.0 s, 50 rows/s",
        "long work: 700 of 700 rows in 14.0 s, 50 rows/s",
    ]


def test_work_that_counts_nothing_has_its_time_alone(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress("making up a shop", unit="lines"):
        now[0] = 2.2
    with console.progress("waiting for rows", total=10):
        now[0] = 4.2
    assert capsys.readouterr().err.splitlines() == [
        "making up a shop: 2.2 s",
        "waiting for rows: 0 of 10 rows in 2.0 s",
    ]


def test_progress_ends_with_the_work_that_fails(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])

    def work():
        with console.progress("work") as bar:
            now[0] = 5
            bar.advance(1)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        work()
    assert capsys.readouterr().err.splitlines()[-1] == "work: 1 rows in 5.0 s, 0.2 rows/s"


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    """On a terminal there is a bar, after a while, and it is taken away."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "_SHOW_AFTER", 0.01)
    with console.progress("scoring [x]", total=4, unit="rows") as bar:
        assert bar._timer is not None
        bar._timer.join(10)
        assert bar._rich is not None
        bar.advance(3)
        bar._rich.refresh()
    text = capsys.readouterr().err
    assert "scoring [x]" in text
    assert "3/4" in text
    with console.progress("quick", total=4) as bar:
        timer = bar._timer
    timer.join(10)
    assert "quick" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)
def test_bytes(value, text):
    assert console.format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.034, "0.03 s"), (12.34, "12.3 s"), (65, "1 min 05 s"), (3600 * 2 + 185, "2 h 03 min")],
)
def test_seconds(value, text):
    assert console.format_seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(1234567.8, "1,234,568"), (99.5, "99.5"), (0, "0")])
def test_counts(value, text):
    assert console.format_count(value) == text
