from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastprop.errors import InvalidInputError
from fastprop.io import OutputError, ScoreOptions, score_files
from fastprop.io.scoring import BatchScorer

from .fake_predictor import FakePredictor
from .samples import (
    N_FEATURES,
    as_table,
    random_rows,
    write_jsonl,
    write_parquet,
    write_svmlight,
)

PARTS = {"part_rows": 60, "batch_rows": 16}


def score(inputs, output, predictor=None, *, progress=None, model=None, **options):
    predictor = predictor or FakePredictor()
    return score_files(
        predictor,
        [str(path) for path in inputs],
        str(output),
        n_features=predictor.n_features,
        labels=predictor.labels,
        options=ScoreOptions(**options),
        model=model,
        progress=progress,
    )


def expected_scores(rows):
    fake = FakePredictor()
    logits = rows.toarray().astype(np.float64) @ fake.weight
    return 1 / (1 + np.exp(-logits))


def tree(folder):
    """Every file below a folder, with its bytes."""
    root = Path(folder)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_all_scores_in_one_file(tmp_path):
    rows = random_rows(100)
    source = write_parquet(tmp_path / "in.parquet", rows)
    summary = score([source], tmp_path / "out.parquet", batch_rows=16)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["customer_id"].to_pylist() == list(range(1000, 1100))
    scores = np.array(table["scores"].to_pylist())
    np.testing.assert_allclose(scores, expected_scores(rows), atol=2e-7)
    assert (summary.rows, summary.bad_rows, summary.parts) == (100, 0, 1)
    assert summary.seconds > 0
    assert summary.rows_per_second == pytest.approx(100 / summary.seconds)
    assert summary.peak_memory > 1 << 20
    assert sorted(os.listdir(tmp_path)) == ["in.parquet", "out.parquet"]


def test_the_best_labels_in_order(tmp_path):
    rows = random_rows(30)
    source = write_parquet(tmp_path / "in.parquet", rows)
    score([source], tmp_path / "out.jsonl", top_k=3, batch_rows=7)
    labels = FakePredictor().labels
    scores = expected_scores(rows)
    for line, row in zip((tmp_path / "out.jsonl").read_text().splitlines(), scores):
        best = [labels[i] for i in np.argsort(-row, kind="stable")[:3]]
        assert list(json.loads(line)["predictions"]) == best


def test_a_threshold_alone_keeps_all_labels_above(tmp_path):
    rows = random_rows(30)
    source = write_parquet(tmp_path / "in.parquet", rows)
    score([source], tmp_path / "out.parquet", threshold=0.6)
    table = pq.read_table(tmp_path / "out.parquet")
    lengths = [len(row) for row in table["top"].to_pylist()]
    assert lengths == (expected_scores(rows) >= 0.6).sum(axis=1).tolist()
    score([source], tmp_path / "out2.parquet", threshold=0.6, top_k=2)
    cut = [len(row) for row in pq.read_table(tmp_path / "out2.parquet")["top"].to_pylist()]
    assert cut == [min(length, 2) for length in lengths]
    score([source], tmp_path / "out3.parquet", top_k=100)
    assert len(pq.read_table(tmp_path / "out3.parquet")["top"][0]) == 7


def test_parts_hold_all_rows_in_order(tmp_path):
    first, second = random_rows(150), random_rows(90, seed=1)
    inputs = [
        write_parquet(tmp_path / "in/a.parquet", first),
        write_parquet(tmp_path / "in/b.parquet", second, first_id=2000),
    ]
    seen = []
    summary = score([tmp_path / "in"], tmp_path / "out", progress=seen.append, **PARTS)
    names = sorted(os.listdir(tmp_path / "out"))
    assert names == ["_manifest.json", *(f"part-{n:05d}.parquet" for n in range(6))]
    # The directory is a data set: names that begin with _ are not its files.
    table = pq.read_table(tmp_path / "out")
    assert table["customer_id"].to_pylist() == [*range(1000, 1150), *range(2000, 2090)]
    scores = np.array(table["scores"].to_pylist())
    np.testing.assert_allclose(
        scores, np.vstack([expected_scores(first), expected_scores(second)]), atol=2e-7
    )
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["rows"] == 240
    assert [part["rows"] for part in manifest["parts"]] == [40, 40, 40, 30, 40, 50]
    assert [part["bytes"] for part in manifest["parts"]] == [
        os.path.getsize(tmp_path / "out" / part["name"]) for part in manifest["parts"]
    ]
    assert [entry["name"] for entry in manifest["job"]["inputs"]] == inputs
    assert summary.parts == 6
    assert seen[-1].rows == seen[-1].total_rows == 240
    assert [progress.rows for progress in seen] == sorted(progress.rows for progress in seen)


def test_row_groups_of_several_files_share_a_part(tmp_path):
    for number in range(5):
        write_parquet(tmp_path / f"in/{number}.parquet", random_rows(20, seed=number))
    summary = score([tmp_path / "in"], tmp_path / "out", **PARTS)
    assert summary.parts == 2
    assert pq.read_table(tmp_path / "out/part-00000.parquet").num_rows == 60


@pytest.mark.parametrize("extension", ["parquet", "jsonl", "csv"])
def test_two_runs_leave_the_same_bytes(tmp_path, extension):
    source = write_parquet(tmp_path / "in.parquet", random_rows(150))
    for name in ("one", "two"):
        score([source], tmp_path / name, output_format=extension, top_k=3, **PARTS)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_several_readers_leave_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("fastprop.io.plan._UNIT_ROWS", 50)
    inputs = [
        write_parquet(tmp_path / "a.parquet", random_rows(400), row_group_size=30),
        write_jsonl(tmp_path / "b.jsonl", random_rows(100, seed=1)),
        write_parquet(tmp_path / "c.parquet", random_rows(0)),
        write_parquet(tmp_path / "d.parquet", random_rows(70, seed=2), row_group_size=70),
    ]
    for readers in (1, 2, 5):
        predictor = FakePredictor()
        score(inputs, tmp_path / f"out{readers}", predictor, readers=readers, top_k=2, **PARTS)
        # Batches do not depend on who reads: units of two row groups of 30, cut at 16 rows.
        assert predictor.calls[:4] == [16, 16, 16, 12]
        score(inputs, tmp_path / f"out{readers}.csv", readers=readers)
    assert tree(tmp_path / "out2") == tree(tmp_path / "out1") == tree(tmp_path / "out5")
    texts = {(tmp_path / f"out{readers}.csv").read_text() for readers in (1, 2, 5)}
    assert len(texts) == 1
    # An error in a file that is read ahead stops the run in its turn; what was before is there.
    broken = tmp_path / "b.jsonl"
    broken.write_text(broken.read_text() + "{")
    with pytest.raises(InvalidInputError, match=r"b\.jsonl, line 101"):
        score(inputs, tmp_path / "broken", readers=4, top_k=2, **PARTS)
    assert (tmp_path / "broken/part-00005.parquet").is_file()


def test_inputs_of_different_formats_go_together(tmp_path):
    rows = random_rows(20)
    inputs = [write_parquet(tmp_path / "a.parquet", rows), write_jsonl(tmp_path / "b.jsonl", rows)]
    assert score(inputs, tmp_path / "out.csv").rows == 40
    with_text_ids = as_table(rows).set_column(0, "customer_id", pa.array(["x"] * 20))
    pq.write_table(with_text_ids, tmp_path / "c.parquet")
    with pytest.raises(InvalidInputError, match=r"c\.parquet: the ids are string, but int64 in"):
        score([*inputs, tmp_path / "c.parquet"], tmp_path / "out.csv")


def test_null_rows_have_null_results(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"customerId": 1, "indices": [1], "values": [1.0]}\n'
        '{"customerId": 2, "indices": null, "values": null}\n'
    )
    for extension in ("parquet", "jsonl", "csv"):
        for options in ({}, {"top_k": 2}):
            summary = score([path], tmp_path / f"out.{extension}", **options)
            assert (summary.rows, summary.null_rows) == (2, 1)
    assert pq.read_table(tmp_path / "out.parquet")["top"].to_pylist()[1] is None
    assert (tmp_path / "out.jsonl").read_text().splitlines()[1] == (
        '{"customerId": 2, "predictions": null}'
    )
    assert (tmp_path / "out.csv").read_text().count("\n") == 3


def test_null_rows_can_be_bad_rows(tmp_path):
    rows = pa.array(
        [[1], None, [1, None], None, [2]] * 2,
        pa.list_(pa.int32()),
    )
    values = pa.array([[1.0], None, [1.0, 1.0], None, [2.0]] * 2, pa.list_(pa.float32()))
    table = pa.table({"customer_id": range(10), "indices": rows, "values": values})
    pq.write_table(table, tmp_path / "in.parquet")
    source = [tmp_path / "in.parquet"]
    with pytest.raises(InvalidInputError, match=r"row 2 \(id 2\): indices\[1\] is null"):
        score(source, tmp_path / "out.parquet", null_rows="bad")
    with pytest.raises(InvalidInputError, match=r"row 1 \(id 1\): is null"):
        score(source, tmp_path / "out.parquet", null_rows="bad", batch_rows=2)
    summary = score(source, tmp_path / "out.parquet", null_rows="bad", on_bad_row="quarantine")
    assert (summary.rows, summary.null_rows, summary.bad_rows) == (4, 0, 6)
    assert pq.read_table(tmp_path / "out.parquet")["customer_id"].to_pylist() == [0, 4, 5, 9]
    side = (tmp_path / "out.parquet.quarantine.jsonl").read_text().splitlines()
    reasons = ["is null", "indices[1] is null", "is null"] * 2
    assert [json.loads(line)["reason"] for line in side] == reasons


@pytest.fixture
def bad_input(tmp_path):
    """150 rows; those with ids 1007, 1050, 1051, 1149 are bad in different ways."""
    table = as_table(random_rows(150)).to_pydict()
    table["indices"][7] = [3, N_FEATURES]
    table["values"][7] = [1.0, 1.0]
    table["indices"][50] = [1, 2]
    table["values"][50] = [float("inf"), 1.0]
    table["indices"][51] = [1, 2]
    table["values"][51] = [1.0]
    table["indices"][149] = [-1]
    table["values"][149] = [1.0]
    schema = as_table(random_rows(1)).schema
    pq.write_table(pa.table(table, schema), tmp_path / "in.parquet", row_group_size=40)
    return str(tmp_path / "in.parquet")


def test_a_bad_row_stops_the_run_and_is_named(tmp_path, bad_input):
    with pytest.raises(
        InvalidInputError,
        match=r"in\.parquet, row 7 \(id 1007\): indices\[1\] is 50, outside 0 to 49",
    ):
        score([bad_input], tmp_path / "out.parquet", batch_rows=16)
    assert os.listdir(tmp_path) == ["in.parquet"]
    with pytest.raises(InvalidInputError, match="row 7"):
        score([bad_input], tmp_path / "out", **PARTS)
    assert not list((tmp_path / "out").glob("*part*"))


def test_histograms_count_what_was_written(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(150))
    scores = expected_scores(random_rows(150))
    for name, options in (("all", {}), ("top", {"top_k": 2})):
        score([source], tmp_path / name, histogram=True, on_bad_row="skip", **PARTS, **options)
        kept = np.ones_like(scores, bool)
        if options:
            kept = scores >= -np.sort(-scores, axis=1)[:, 1:2]
        found = json.loads((tmp_path / name / "_histogram.json").read_text())
        assert len(found["edges"]) == 21
        for number, counts in enumerate(found["labels"].values()):
            wanted, _ = np.histogram(scores[kept[:, number], number], found["edges"])
            assert counts == [0, *wanted.tolist(), 0]
    score([source], tmp_path / "out.csv", histogram=True)
    beside = (tmp_path / "out.csv.histogram.json").read_text()
    assert beside == (tmp_path / "all/_histogram.json").read_text()
    # A part that is done again, or only its histogram, changes nothing.
    whole = tree(tmp_path / "all")
    (tmp_path / "all/_histogram/part-00001.json").unlink()
    (tmp_path / "all/part-00002.parquet").unlink()
    options = {"histogram": True, "on_bad_row": "skip", "resume": True, **PARTS}
    assert score([source], tmp_path / "all", **options).resumed_parts == 2
    assert tree(tmp_path / "all") == whole
    with pytest.raises(InvalidInputError, match="another job: histogram"):
        score([source], tmp_path / "all", **{**options, "histogram": False})
    score([source], tmp_path / "all", overwrite=True)
    assert not [name for name in tree(tmp_path / "all") if "histogram" in name]


def test_bad_rows_are_skipped_or_listed(tmp_path, bad_input):
    reference = tmp_path / "good.parquet"
    table = pq.read_table(bad_input)
    good = table.filter(pa.array([i not in (7, 50, 51, 149) for i in range(150)]))
    pq.write_table(good, reference)
    score([reference], tmp_path / "expected.parquet")
    expected = pq.read_table(tmp_path / "expected.parquet")

    summary = score([bad_input], tmp_path / "out.parquet", on_bad_row="skip", batch_rows=16)
    assert (summary.rows, summary.bad_rows) == (146, 4)
    assert pq.read_table(tmp_path / "out.parquet").equals(expected)
    assert not list(tmp_path.glob("*quarantine*"))

    score([bad_input], tmp_path / "out.parquet", on_bad_row="quarantine", batch_rows=16)
    lines = (tmp_path / "out.parquet.quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": 1007, "file": bad_input, "row": 7, "reason": "indices[1] is 50, outside 0 to 49"},
        {
            "id": 1050,
            "file": bad_input,
            "row": 50,
            "reason": "values[0] is inf, not finite in float32",
        },
        {"id": 1051, "file": bad_input, "row": 51, "reason": "2 indices and 1 values"},
        {"id": 1149, "file": bad_input, "row": 149, "reason": "indices[0] is -1, outside 0 to 49"},
    ]
    score([bad_input], tmp_path / "out", on_bad_row="quarantine", **PARTS)
    side = tree(tmp_path / "out/_quarantine")
    assert sorted(side) == ["part-00000.jsonl", "part-00001.jsonl", "part-00003.jsonl"]
    assert b"".join(side.values()).count(b"\n") == 4
    # A good run leaves no side file of an earlier one.
    score([reference], tmp_path / "out.parquet", on_bad_row="quarantine")
    assert not list(tmp_path.glob("*quarantine*"))


def test_a_batch_of_bad_rows_only(tmp_path):
    path = tmp_path / "in.svmlight"
    path.write_text("1 77:1\n1 78:1\n1 3:1\n")
    summary = score([path], tmp_path / "out.csv", on_bad_row="skip", batch_rows=2)
    assert (summary.rows, summary.bad_rows) == (1, 2)
    path.write_text("1 77:1\n1 x:1\n")
    summary = score([path], tmp_path / "out.csv", on_bad_row="skip")
    assert (summary.rows, summary.bad_rows) == (0, 2)


class Failing(FakePredictor):
    """Fails, or interrupts, at some row."""

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error, self.seen = at, error, 0

    def predict(self, rows):
        self.seen += rows.shape[0]
        if self.seen > self.at:
            raise self.error
        return super().predict(rows)


@pytest.mark.parametrize("at", [0, 20, 70, 130])
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
@pytest.mark.parametrize("extension", ["parquet", "csv"])
def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path, at, error, extension):
    source = write_parquet(tmp_path / "in.parquet", random_rows(150))
    options = {"output_format": extension, "on_bad_row": "quarantine", **PARTS}
    score([source], tmp_path / "whole", **options)
    with pytest.raises(type(error)):
        score([source], tmp_path / "out", Failing(at, error), **options)
    finished = {name: data for name, data in tree(tmp_path / "out").items() if "part" in name}
    assert not [name for name in finished if "unfinished" in name]
    with pytest.raises(InvalidInputError, match="holds files already"):
        score([source], tmp_path / "out", **options)
    predictor = FakePredictor()
    summary = score([source], tmp_path / "out", predictor, resume=True, **options)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert summary.rows == 150
    records = [name for name in finished if name.startswith("_progress/part")]
    assert summary.resumed_parts == len(records)
    # Nothing that was finished is done again.
    assert sum(predictor.calls) == 150 - 40 * summary.resumed_parts
    again = FakePredictor()
    summary = score([source], tmp_path / "out", again, resume=True, **options)
    assert (summary.resumed_parts, again.calls, summary.rows) == (4, [], 150)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fake_predictor import FakePredictor
from fastprop.io import ScoreOptions, score_files

class Slow(FakePredictor):
    def predict(self, rows):
        time.sleep(0.01)
        return super().predict(rows)

predictor = Slow()
score_files(
    predictor, [sys.argv[2]], sys.argv[3], n_features=predictor.n_features,
    labels=predictor.labels,
    options=ScoreOptions(
        part_rows=60, batch_rows=16, top_k=3, on_bad_row="quarantine", resume=True
    ),
)
"""


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path, bad_input):
    options = {"top_k": 3, "on_bad_row": "quarantine", **PARTS}
    score([bad_input], tmp_path / "whole", **options)
    (tmp_path / "out").mkdir()
    (tmp_path / "run.py").write_text(KILLED)
    command = [sys.executable, "run.py", str(Path(__file__).parent), bad_input, "out"]
    kills = 0
    for part in range(3):
        process = subprocess.Popen(command, cwd=tmp_path)
        record = tmp_path / f"out/_progress/part-{part:05d}.json"
        deadline = time.monotonic() + 30
        while not record.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills
    # What a kill in the middle of a write can leave.
    (tmp_path / "out/.part-00002.parquet.unfinished").write_bytes(b"half")
    (tmp_path / "out/_quarantine/.part-00002.jsonl.unfinished").write_bytes(b"half")
    subprocess.run(command, cwd=tmp_path, check=True)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_two_runs_at_once_are_refused(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(150))
    refused = []

    def once_more(_):
        try:
            score([source], tmp_path / "out", resume=True, **PARTS)
        except OutputError as error:
            refused.append(str(error))

    score([source], tmp_path / "out", progress=once_more, **PARTS)
    assert set(refused) == {f"{tmp_path / 'out'}: another run is writing to it"}
    assert ".lock" not in os.listdir(tmp_path / "out")
    score([source], tmp_path / "out", resume=True, **PARTS)
    # What a killed run leaves holds nobody up.
    (tmp_path / "out/.lock").write_text("")
    score([source], tmp_path / "out", resume=True, **PARTS)
    with pytest.raises(InvalidInputError, match="holds files already"):
        score([source], tmp_path / "out", **PARTS)
    assert ".lock" not in os.listdir(tmp_path / "out")


def test_a_part_that_is_not_what_was_written_is_done_again(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(150))
    score([source], tmp_path / "out", **PARTS)
    whole = tree(tmp_path / "out")
    (tmp_path / "out/part-00001.parquet").write_bytes(b"short")
    (tmp_path / "out/part-00002.parquet").unlink()
    summary = score([source], tmp_path / "out", resume=True, **PARTS)
    assert summary.resumed_parts == 2
    assert tree(tmp_path / "out") == whole


def test_only_the_same_job_is_resumed(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(150))
    score([source], tmp_path / "out", model={"params": "abc"}, **PARTS)
    again = {"model": {"params": "abc"}, "resume": True, **PARTS}
    score([source], tmp_path / "out", **again)
    for change, key in (
        ({"model": {"params": "abd"}}, "model"),
        ({"top_k": 3}, "top_k"),
        ({"batch_rows": 17}, "batch_rows"),
        ({"on_bad_row": "skip"}, "on_bad_row"),
    ):
        with pytest.raises(InvalidInputError, match=f"another job: {key} was "):
            score([source], tmp_path / "out", **{**again, **change})
    os.utime(source, (1, 1))
    with pytest.raises(InvalidInputError, match="another job: inputs was "):
        score([source], tmp_path / "out", **again)
    score([source], tmp_path / "out", overwrite=True, top_k=3, **PARTS)
    assert "top" in pq.read_schema(tmp_path / "out/part-00000.parquet").names


def test_there_must_be_a_run_to_resume(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(10))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    for options in ({"resume": True}, {"overwrite": True}, {}):
        with pytest.raises(InvalidInputError, match="out: "):
            score([source], tmp_path / "out", **options)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
    with pytest.raises(InvalidInputError, match="only a directory of parts can be resumed"):
        score([source], tmp_path / "out.csv", resume=True)
    # To resume what has not begun is to begin.
    score([source], tmp_path / "new", resume=True)


def test_where_the_output_goes(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(10))
    score([source], f"{tmp_path}/dotted.dir/")
    assert (tmp_path / "dotted.dir/part-00000.parquet").is_file()
    score([source], tmp_path / "out.txt", output_format="csv")
    assert (tmp_path / "out.txt").read_text().startswith("id,label,score\n")
    with pytest.raises(InvalidInputError, match="names no output format"):
        score([source], tmp_path / "out.dat")
    score([source], f"file://{tmp_path}/uri")
    assert (tmp_path / "uri/_manifest.json").is_file()
    (tmp_path / "plain").write_text("")
    with pytest.raises(InvalidInputError, match="is a file"):
        score([source], tmp_path / "plain")
    with pytest.raises(OutputError, match=r"none/out\.csv: .*there is no folder .*/none$"):
        score([source], tmp_path / "none/out.csv")
    assert not (tmp_path / "none").exists()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(OutputError, match=r"pipe\.csv: cannot be written: is no regular file"):
        score([source], tmp_path / "pipe.csv")
    assert (tmp_path / "pipe.csv").is_fifo()
    with pytest.raises(InvalidInputError, match=r"csv: cannot be reached: .*too long"):
        score([source], tmp_path / ("x" * 300 + ".csv"))
    with pytest.raises(OutputError) as caught:
        score([source], tmp_path / ("x" * 245 + ".csv"))
    assert "unfinished" not in str(caught.value)


def test_an_input_is_never_written_over(tmp_path):
    rows = random_rows(10)
    source = write_parquet(tmp_path / "in.parquet", rows)
    beside = write_jsonl(tmp_path / "out.csv.quarantine.jsonl", rows)
    (tmp_path / "link.parquet").symlink_to("in.parquet")
    (tmp_path / "folder").mkdir()
    inside = write_parquet(tmp_path / "folder/part-00000.parquet", rows)
    before = tree(tmp_path)
    for output in (
        source,
        tmp_path / "link.parquet",
        f"file://{source}",
        f"{tmp_path}/./in.parquet",
    ):
        with pytest.raises(InvalidInputError, match=r"is the input .*in\.parquet"):
            score([inside, source], output)
    with pytest.raises(InvalidInputError, match="is the input"):
        score([beside], tmp_path / "out.csv", on_bad_row="quarantine")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InvalidInputError, match=r"holds the input .*part-00000\.parquet"):
            score([inside], tmp_path / "folder", **options)
    with pytest.raises(InvalidInputError, match="an empty path"):
        score([source], "")
    with pytest.raises(InvalidInputError, match="an empty path"):
        score([""], tmp_path / "out.csv")
    assert tree(tmp_path) == before
    # What would not be written is no matter.
    assert score([beside], tmp_path / "out.csv").rows == 10
    assert score([source], f"{tmp_path}/parts/").rows == 10


def test_no_rows_give_an_empty_output(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(0))
    for name in ("out.parquet", "out.csv", "out.jsonl", "out"):
        summary = score([source], tmp_path / name)
        assert (summary.rows, summary.parts) == (0, 1)
    assert pq.read_table(tmp_path / "out").num_rows == 0


def test_an_unreadable_file_in_the_middle(tmp_path):
    write_parquet(tmp_path / "in/a.parquet", random_rows(100), row_group_size=50)
    write_parquet(tmp_path / "in/b.parquet", random_rows(100, seed=1), row_group_size=50)
    path = tmp_path / "in/b.parquet"
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"in/b\.parquet: cannot be read"):
        score([tmp_path / "in"], tmp_path / "out", part_rows=50, batch_rows=10)
    finished = [name for name in tree(tmp_path / "out") if name.startswith("part-")]
    for name in finished:
        assert pq.read_table(tmp_path / "out" / name).num_rows == 50
    # Once it is mended the run goes on; the file is then another, and so is the job.
    write_parquet(tmp_path / "in/b.parquet", random_rows(100, seed=1), row_group_size=50)
    with pytest.raises(InvalidInputError, match="another job: inputs"):
        score([tmp_path / "in"], tmp_path / "out", part_rows=50, batch_rows=10, resume=True)


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from fake_predictor import FakePredictor
from fastprop.io import OutputError, ScoreOptions, score_files

resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
predictor = FakePredictor()
try:
    score_files(
        predictor, [sys.argv[2]], sys.argv[3], n_features=predictor.n_features,
        labels=predictor.labels,
        options=ScoreOptions(part_rows=60, batch_rows=16, output_format="csv"),
    )
except OutputError as error:
    print(error)
    sys.exit(3)
"""


def test_a_full_disk_is_an_output_error(tmp_path):
    """A limit on the size of files stands for a disk that fills up during the second part."""
    rows = random_rows(90)
    write_parquet(tmp_path / "in/a.parquet", rows[:10])
    write_parquet(tmp_path / "in/b.parquet", rows, row_group_size=90)
    (tmp_path / "run.py").write_text(LIMITED)
    command = [sys.executable, "run.py", str(Path(__file__).parent), "in", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "out/part-00001.csv: cannot be written: " in done.stdout
    left = tree(tmp_path / "out")
    assert "part-00000.csv" in left
    assert not [name for name in left if "00001" in name]


def test_memory_is_a_few_batches(tmp_path, monkeypatch):
    """The reader is never more than the queues ahead of the writer."""
    source = write_parquet(tmp_path / "in.parquet", random_rows(400), row_group_size=400)
    read, written, ahead = [], [], []
    original = BatchScorer.score

    def score_and_note(self, batch):
        read.append(batch.n_rows)
        ahead.append(len(read) - len(written))
        return original(self, batch)

    monkeypatch.setattr(BatchScorer, "score", score_and_note)
    slow = lambda progress: (time.sleep(0.005), written.append(progress))  # noqa: E731
    score([source], tmp_path / "out.csv", batch_rows=10, progress=slow)
    assert len(read) == 40
    assert max(ahead) <= 2 * ScoreOptions().read_ahead + 2


def test_a_progress_callback_that_fails_stops_the_run(tmp_path):
    source = write_parquet(tmp_path / "in.parquet", random_rows(400))

    def fail(_progress):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        score([source], tmp_path / "out.csv", batch_rows=10, progress=fail)
    assert os.listdir(tmp_path) == ["in.parquet"]


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"on_bad_row": "ignore"},
        {"batch_rows": 0},
        {"part_rows": -1},
        {"svmlight_base": 2},
        {"compression": "lzma"},
        {"top_k": "5"},
        {"readers": 1 << 70},
        {"read_ahead": None},
        {"threshold": float("nan")},
        {"threshold": "high"},
        {"id_column": None},
        {"input_format": [1]},
        {"keep_columns": "age"},
        {"keep_columns": (5,)},
        {"threshold": [0.5]},
        {"top_k": None, "features_column": np.array(["a", "b"])},
        *({name: np.array([1, 2])} for name in ("on_bad_row", "null_rows", "compression")),
        *({name: np.array([1, 2])} for name in ("resume", "overwrite", "histogram")),
        {"histogram": "no"},
        {"svmlight_base": np.array([0, 1])},
        {"output_format": "xml"},
        {"input_format": "xml"},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(InvalidInputError, match=list(options)[-1]):
        ScoreOptions(**options)


def test_notes_reach_the_summary(tmp_path):
    path = write_svmlight(tmp_path / "a.svmlight", random_rows(10), base=1)
    rows = score([path], tmp_path / "out.csv", on_bad_row="skip")
    assert "counted from 0" in rows.notes[0]
