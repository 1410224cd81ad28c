"""
---------------------------------------------------------
NoduleRisk for MHub: a CT and Slicer's points in, a table of graded nodules out.
It runs on the Python of MHub's base image (3.8) and calls NoduleRisk in the environment that has its own.
---------------------------------------------------------
"""

import os
import shutil
import subprocess
import tempfile

from mhubio.core import IO, Instance, InstanceData, Module

#: The command line in its own environment; the variable is for trying it elsewhere.
COMMAND = os.environ.get("NODULERISK", "/app/nodulerisk/bin/nodulerisk")


@IO.Config("heatmaps", bool, False, the="Whether to compute heatmaps, which takes most of the time.")
class NoduleRiskRunner(Module):
    """Outlines and grades the nodule under each point."""

    heatmaps: bool

    @IO.Instance()
    @IO.Input("ct", "dicom|nrrd|nifti:mod=ct", the="Chest CT: a DICOM folder, NRRD or NIfTI.")
    @IO.Input("points", "json:type=slicerpoints", the="Points of 3D Slicer, one on each nodule (.mrk.json).")
    @IO.Output("table", "assessments.csv", "csv:features=nodulerisk", data="ct", the="A row a nodule.")
    @IO.Output("record", "assessments.json", "json:features=nodulerisk", data="ct", the="All that made the table.")
    def task(
        self, instance: Instance, ct: InstanceData, points: InstanceData, table: InstanceData, record: InstanceData
    ) -> None:
        with tempfile.TemporaryDirectory() as out:
            heatmaps = "--heatmaps" if self.heatmaps else "--no-heatmaps"
            command = [COMMAND, "assess", ct.abspath, "--points", points.abspath, "--out", out, heatmaps]
            done = subprocess.run(command, capture_output=True, text=True)
            self.log(done.stdout)
            if done.returncode:
                # One sentence that says what is wrong with the CT or the points.
                raise RuntimeError(done.stderr.strip() or f"NoduleRisk ended with code {done.returncode}")
            shutil.copy(os.path.join(out, "assessments.csv"), table.abspath)
            shutil.copy(os.path.join(out, "assessments.json"), record.abspath)
