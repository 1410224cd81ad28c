"""What a radiologist would lose if results did not reach Slicer's DICOM database as objects of the CT's own study."""

import tempfile
from pathlib import Path

import numpy as np
import slicer
import vtk
from panel_case import PanelCase, read

SERIES = {
    "0008,0016": "1.2.840.10008.5.1.4.1.1.2",
    "0020,000d": "1.2.7.1",
    "0020,000e": "1.2.7.2",
    "0020,0052": "1.2.7.3",
    "0008,0060": "CT",
    "0020,0011": "3",
}


class Database:
    """Slicer's DICOM database, which knows the series of a volume node and takes files."""

    def __init__(self, ct, name):
        self.inserted, self._values = [], {}
        ijk_to_ras = vtk.vtkMatrix4x4()
        ct.GetIJKToRASMatrix(ijk_to_ras)
        to_ras = np.array([[ijk_to_ras.GetElement(row, column) for column in range(4)] for row in range(4)])
        to_lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ to_ras
        spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
        self.uids = [f"1.2.7.{name}.{k}" for k in range(ct.GetImageData().GetDimensions()[2])]
        for k, uid in enumerate(self.uids):
            place = (to_lps @ (0, 0, k, 1))[:3]
            self._values[uid] = SERIES | {
                "0008,0018": uid,
                "0020,0013": str(k + 1),
                "0020,0032": "\\".join(f"{x:.6g}" for x in place),
                "0020,0037": "\\".join(f"{x:.6g}" for x in (to_lps[:3, :2] / spacing[:2]).T.ravel()),
                "0028,0030": f"{spacing[1]:.6g}\\{spacing[0]:.6g}",
            }

    def instanceValue(self, uid, tag):
        return self._values[uid].get(tag.lower(), "")

    def fileForInstance(self, uid):
        return ""

    def insert(self, file):
        self.inserted.append(file)


class TestDicomExport(PanelCase):
    """The button DICOM."""

    def setUp(self):
        super().setUp()
        try:
            import highdicom  # noqa: F401
        except ImportError:
            self.skipTest("needs highdicom")
        self.assess()

    def tearDown(self):
        if hasattr(slicer, "dicomDatabase"):
            del slicer.dicomDatabase
        super().tearDown()

    def export(self, folder):
        self.panel.work.export("dicom", folder)
        self.settle(lambda: self.state.export is None and not self.panel.busy, limit_s=60)

    def test_objects_of_the_cts_study_are_written_and_put_into_the_database(self):
        import pydicom

        slicer.dicomDatabase = database = Database(self.ct, id(self))
        self.ct.SetAttribute("DICOM.instanceUIDs", " ".join(database.uids))
        with tempfile.TemporaryDirectory() as folder:
            self.export(folder)
            self.assertEqual(self.state.error, "")
            self.assertEqual(sorted(database.inserted), sorted(map(str, Path(folder).iterdir())))
            found = {one.Modality: one for one in map(pydicom.dcmread, database.inserted)}
        self.assertEqual({str(one.StudyInstanceUID) for one in found.values()}, {"1.2.7.1"})
        self.assertEqual([str(one.SegmentLabel) for one in found["SEG"].SegmentSequence], ["N-1", "N-2", "N-3"])
        # What Slicer's own plugin for TID 1500 asks before it loads a report (DICOMTID1500Plugin.isDICOMTID1500), and
        # where it looks for the segmentation to load with it.
        report = found["SR"]
        self.assertEqual(report.SOPClassUID, pydicom.uid.Comprehensive3DSRStorage)
        self.assertEqual(report.ContentTemplateSequence[0].TemplateIdentifier, "1500")
        self.assertIn(str(found["SEG"].SeriesInstanceUID), referred(report))

    def test_a_ct_that_is_not_from_dicom_is_told_why(self):
        with tempfile.TemporaryDirectory() as folder:
            self.export(folder)
            self.assertEqual(list(Path(folder).iterdir()), [])
        self.assertIn("was not read from DICOM", read(self.ui.statusLabel, "text"))


def referred(report):
    """SeriesInstanceUIDs of all that a report names as its evidence."""
    return {
        str(series.SeriesInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
    }
