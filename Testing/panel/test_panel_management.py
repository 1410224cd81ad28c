"""What a radiologist would lose in the Management section: answers, their doubts, and what was told."""

import csv
import importlib.util
import json
import tempfile
from datetime import date
from pathlib import Path

import fakes
import slicer
import slicer.util
import vtk
from panel_case import PanelCase, read

from NoduleRiskLib.guidelines import GUIDELINES, QUESTIONS
from NoduleRiskLib.slicer_scene import answers, inputs, results


class TestManagement(PanelCase):
    """The answers, the questions and the report."""

    def setUp(self):
        super().setUp()
        self.assessor.doubtful = {"N-3"}
        self.assess()

    def row(self, name):
        return list(QUESTIONS).index(name)

    def question(self, name):
        """A question's row: label, editor, where its value came from."""
        table, row = self.ui.questionsTable, self.row(name)
        return table.item(row, 0).text(), table.cellWidget(row, 1), table.item(row, 2).text()

    def choose_answer(self, name, text):
        box = self.question(name)[1]
        n = next(n for n in range(read(box, "count")) if box.itemText(n) == text)
        box.setCurrentIndex(n)
        # As a click on the list sends it.
        box.activated.emit(n)
        self.settle()

    def type_answer(self, name, text):
        field = self.question(name)[1]
        field.setText(text)
        field.setModified(True)
        field.editingFinished.emit()
        self.settle()

    def answer_of(self, name):
        table = self.ui.answersTable
        found = {table.item(row, 0).text(): table.item(row, 1).text() for row in range(read(table, "rowCount"))}
        return next(text for guideline, text in found.items() if guideline.startswith(name))

    def caution(self):
        return "" if self.ui.cautionLabel.isHidden() else read(self.ui.cautionLabel, "text")

    def select(self, n):
        self.panel.choose(self.state.nodules[n].mark.id)
        self.settle()

    def test_every_guideline_answers_and_says_what_it_lacks_and_its_source(self):
        self.select(0)
        self.assertEqual(read(self.ui.answersTable, "rowCount"), len(GUIDELINES))
        self.ui.answersTable.selectRow(0)
        told = read(self.ui.answerLabel, "text")
        for words in ("ACR Lung-RADS v2022", "Missing", "why the CT was made", "Research use only"):
            self.assertIn(words, told)

    def test_inputs_say_where_they_come_from_and_unknown_stays_unknown(self):
        self.select(0)
        self.assertEqual(self.question("nodule_type")[2], "proposed")
        self.assertEqual(self.ui.questionsTable.item(self.row("size"), 2).text(), "measured")
        self.assertEqual(read(self.question("age")[1], "text"), "")
        self.assertEqual(self.question("age")[2], "not known")
        self.assertTrue(self.question("setting")[0].endswith("*"))

    def test_an_answer_changes_what_is_said_and_is_the_users(self):
        self.select(0)
        self.choose_answer("setting", "incidental")
        self.assertEqual(self.answer_of("Lung-RADS"), "does not apply")
        self.assertEqual(self.question("setting")[2], "yours")
        self.choose_answer("setting", "?")
        self.assertNotEqual(self.answer_of("Lung-RADS"), "does not apply")
        self.assertEqual(self.question("setting")[2], "not known")

    def test_choosing_what_is_proposed_confirms_it(self):
        self.select(0)
        box = self.question("nodule_type")[1]
        self.choose_answer("nodule_type", read(box, "currentText"))
        self.assertEqual(self.question("nodule_type")[2], "yours")

    def test_the_patients_answers_hold_for_all_nodules_and_a_nodules_for_it_alone(self):
        self.select(0)
        self.type_answer("age", "61")
        self.choose_answer("lobe", "upper")
        self.select(1)
        self.assertEqual(read(self.question("age")[1], "text"), "61")
        self.assertEqual(read(self.question("lobe")[1], "currentText"), "?")

    def test_what_is_no_answer_is_refused_in_one_sentence_and_not_kept(self):
        self.select(0)
        self.type_answer("age", "old")
        self.assertIn("age", read(self.ui.statusLabel, "text"))
        self.assertEqual(read(self.question("age")[1], "text"), "")
        self.type_answer("age", "61")
        self.assertTrue(self.ui.statusLabel.isHidden())

    def test_a_doubtful_nodule_says_so_before_anything_else(self):
        self.select(0)
        self.assertEqual(self.caution(), "")
        self.select(2)
        self.assertTrue(self.caution().startswith(f"Doubtful ({fakes.DOUBT})"))

    def test_a_moved_point_is_told_before_its_old_answers(self):
        self.select(0)
        self.points.SetNthControlPointPositionWorld(0, -10.0, -6.0, 2.0)
        self.settle()
        self.assertIn("assess again", self.caution())

    def test_without_an_assessment_nothing_is_answered(self):
        self.points.AddControlPointWorld(vtk.vtkVector3d(12, 5, -7), "late")
        self.settle()
        self.select(3)
        self.assertEqual(read(self.ui.answersTable, "rowCount"), 0)
        self.assertTrue(self.ui.answerLabel.isHidden())

    def test_answers_are_saved_with_the_scene_and_go_with_their_point(self):
        self.select(0)
        self.type_answer("age", "61")
        self.choose_answer("lobe", "upper")
        table, point_id = self.state.table, self.state.nodules[0].mark.id
        self.assertEqual(answers.answers_of(table, point_id), {"age": 61.0, "lobe": "upper"})
        results.forget(table, set())
        self.assertEqual(answers.answers_of(table, point_id), {"age": 61.0})

    def test_damaged_answers_in_a_scene_stop_nothing(self):
        table, point_id = self.state.table, self.state.nodules[0].mark.id
        for text in ("{", "[1]", json.dumps({"age": "old"}), json.dumps({"years": 3})):
            table.SetAttribute(results.ABOUT, text)
            with self.assertLogs(level="WARNING"):
                self.assertEqual(answers.answers_of(table, point_id), {})
        self.select(0)

    def test_the_text_is_copied_with_what_was_told(self):
        self.select(0)
        self.choose_answer("lobe", "upper")
        self.ui.copyTextButton.click()
        self.settle(lambda: self.state.export is None and not self.panel.busy)
        told = slicer.app.clipboard().text()
        self.assertIn("1. N-1: ", told)
        self.assertIn("upper lobe", told.split("2. N-2")[0])
        self.assertNotIn("upper lobe", told.split("2. N-2")[1])
        self.assertIn(f"3. N-3: Doubtful ({fakes.DOUBT})", told)

    def test_a_report_is_written_where_the_user_says(self):
        with tempfile.TemporaryDirectory() as folder:
            # Slicer's Python has what HTML needs only once the user has let it be installed.
            drawn = all(importlib.util.find_spec(name) for name in ("jinja2", "matplotlib"))
            for name in ("report.txt", *(["report.html"] if drawn else [])):
                path = Path(folder) / name
                self.panel.work.report(str(path))
                self.settle(lambda: self.state.export is None and not self.panel.busy, limit_s=60)
                self.assertIn("N-2", path.read_text(encoding="utf-8"))
        self.assertEqual(self.state.error, "")

    def test_a_report_of_another_kind_is_refused_in_one_sentence(self):
        self.panel.work.report("report.doc")
        self.settle()
        self.assertIn(".html, .pdf or .txt", read(self.ui.statusLabel, "text"))


class Database:
    """Slicer's DICOM database, which knows one series of 32 slices."""

    VALUES = {  # noqa: RUF012
        "0010,0020": "ID-7",
        "0020,000e": "1.2.3",
        "0010,1010": "061Y",
        "0010,0040": "F",
        "0020,0011": "3",
        "0008,0022": "20260102",
    }

    def __init__(self):
        self.asked = []

    def instanceValue(self, uid, tag):
        self.asked.append((uid, tag))
        if tag == "0020,0013":
            return str(100 + int(uid.rsplit(".", 1)[1]))
        return uid if tag == "0008,0018" else self.VALUES.get(tag, "")


class TestDicomFacts(PanelCase):
    """What Slicer's DICOM database adds."""

    def setUp(self):
        super().setUp()
        self.database = slicer.dicomDatabase = Database()
        uids = [f"1.2.{id(self)}.{k}" for k in range(32)]
        self.ct.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
        self.assess()

    def tearDown(self):
        del slicer.dicomDatabase
        super().tearDown()

    def test_age_and_sex_come_from_the_database_and_are_asked_once(self):
        table = self.ui.questionsTable
        row = list(QUESTIONS).index("age")
        self.assertEqual(read(table.cellWidget(row, 1), "text"), "61")
        self.assertEqual(table.item(row, 2).text(), "DICOM header")
        before = len(self.database.asked)
        self.panel.choose(self.state.nodules[1].mark.id)
        self.settle()
        self.assertEqual(len(self.database.asked), before)

    def test_the_day_of_the_scan_and_whose_it_is_come_from_the_database(self):
        volume = inputs.scan(self.ct).read()
        self.assertEqual(volume.acquired, date(2026, 1, 2))
        # Whose CT it is keeps a patient's own nodules out of the similar ones, and two patients apart.
        self.assertEqual(volume.identity["SeriesInstanceUID"], "1.2.3")
        self.assertEqual(volume.dicom.study["PatientID"], "ID-7")
        self.ct.SetAttribute("DICOM.instanceUIDs", f"9.{id(self)}")
        self.database.VALUES = {}
        self.assertIsNone(inputs.scan(self.ct).read().acquired)

    def test_exported_tables_name_image_series_and_instance(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "nodules.csv"
            self.panel.work.export("csv", path)
            self.settle(lambda: self.state.export is None)
            with path.open(newline="", encoding="utf-8") as lines:
                first = next(csv.DictReader(lines))
        self.assertEqual((first["series_number"], first["image_number"]), ("3", "117"))
        self.assertEqual(first["sop_uid"], f"1.2.{id(self)}.17")

    def test_the_text_names_image_and_series(self):
        self.panel.work.copy_text()
        self.settle(lambda: self.state.export is None and not self.panel.busy)
        told = slicer.app.clipboard().text()
        # N-1 lies at S 2 mm: slice 17 of those from S -24 mm, 1.5 mm apart.
        self.assertIn("image 117, series 3", told.split("2. N-2")[0])
        self.assertIn(f"SOP instance 1.2.{id(self)}.17.", told)
        self.assertNotIn("uspicion", told)
