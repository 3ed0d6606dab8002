"""Spark Connect, with the local server that PySpark 4 brings along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.spark import require_spark

require_spark()

import pyspark

pytestmark = pytest.mark.timeout(900)
PROGRAM = Path(__file__).parent.parent / "support" / "spark_connect.py"

if int(pyspark.__version__.partition(".")[0]) >= 4:

    @pytest.fixture(scope="module")
    def facts(tmp_path_factory):
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(tmp_path_factory.mktemp("connect"))],
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        return json.loads(done.stdout.splitlines()[-1])

    def test_the_session_is_one_of_connect(facts):
        assert facts["session"].startswith("pyspark.sql.connect")

    @pytest.mark.parametrize("way", ["path", "vectors", "shipped", "loaded", "function"])
    def test_scores_are_those_of_predict(facts, way):
        assert facts[way]

    def test_features_are_built(facts):
        assert facts["customers"] > 30

    def test_a_uri_that_the_client_cannot_read_is_refused(facts):
        assert facts["uri"].startswith("s3a://bucket/model: on Spark Connect a model has to be on")
