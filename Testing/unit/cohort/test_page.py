"""What a reader of docs/cohort.md would lose: commands and files that work as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from NoduleRiskLib.cli.commands import app
from NoduleRiskLib.cohort.manifest import read_manifest
from NoduleRiskLib.results.cohort_tables import NODULE_COLUMNS, SERIES_COLUMNS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cohort.md").read_text(encoding="utf-8")
#: Code on the page, by its language.
CODE = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def code(language: str) -> str:
    return "\n".join(text for name, text in CODE if name == language)


def test_every_option_on_the_page_is_one() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {option for name in ("cohort", "assess") for one in commands[name].params for option in one.opts}
    known |= {option for one in commands["cohort"].params for option in one.secondary_opts}
    of_others = {"--address", "--min-nodes", "--num-cpus", "--memory", "--nodes", "--ntasks", "--rm", "--network"}
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", PAGE)) - of_others - {"--shm-size", "--generate"}
    batch = {"--job-name", "--ntasks-per-node", "--cpus-per-task", "--mem", "--time", "--output", "--requeue"}
    assert named - batch <= known


@pytest.mark.parametrize("column", ["doubts", "suspicion_probability", "status"])
def test_columns_that_the_page_asks_for_are_there(column: str) -> None:
    assert column in code("python") and column in {one.name for one in (*NODULE_COLUMNS, *SERIES_COLUMNS)}


def test_luna16_s_line_is_the_point_that_the_page_says(tmp_path: Path) -> None:
    (table,) = [text for name, text in CODE if text.startswith("seriesuid")]
    (tmp_path / "annotations.csv").write_text(table)
    (tmp_path / f"{table.splitlines()[1].split(',')[0]}.mhd").touch()
    (one,) = read_manifest(str(tmp_path / "annotations.csv"), cts=tmp_path)
    r, a, s = one.placed[0].ras
    assert f"R {r:.1f}, A {a:.1f}, S {s:.1f}" in PAGE


def test_the_cluster_s_file_is_whole() -> None:
    job = yaml.safe_load(code("yaml"))
    cluster = job["spec"]["rayClusterSpec"]
    assert job["kind"] == "RayJob" and job["spec"]["entrypoint"].startswith("nodulerisk cohort ")
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        mounted = {one["name"] for one in container["volumeMounts"]}
        assert mounted == {one["name"] for one in pod["volumes"]}
        # Whole processors and no more than it may use, or Ray counts what Kubernetes takes away again.
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_slurm_job_asks_ray_for_what_it_asks_slurm_for() -> None:
    script = code("bash")
    assert script.startswith("#!/bin/bash\n#SBATCH") and "ray symmetric-run" in script
    assert "-- nodulerisk cohort" in script and "--address auto" in script
