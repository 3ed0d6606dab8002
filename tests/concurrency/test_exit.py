"""A process may end at any time: what MXNet gave goes before MXNet does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.models import retail

PROGRAM = """
import sys
import fastprop

model = fastprop.load_model(sys.argv[1])
predictor = model.predictor(optimize=False, threads=2, batch_size=64)
print(predictor.predict([([1], [1.0])] * 200).shape)
if sys.argv[2] == "closed":
    predictor.close()
elif sys.argv[2] == "released":
    predictor.close()
    model.release_engines()
"""


@pytest.mark.parametrize("how", ["closed", "released", "left open"])
def test_the_end_waits_for_what_is_being_released(tmp_path, how):
    # Hundreds of heads: thousands of arrays, which take their time to go.
    retail(tmp_path, n_heads=400)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(200, 400)"
    assert done.stderr == ""
