"""First use: what is asked, what is installed, and what a user who says no is left with."""

import importlib.metadata
import importlib.util
import sys
import types

import pytest
import standins

import NoduleRisk
from NoduleRiskLib.errors import NoduleRiskError


@pytest.fixture
def slicers_python(monkeypatch):
    """A Python whose gaps are the test's, and what was asked of PyTorch's extension and of pip."""
    state = types.SimpleNamespace(missing={"torch", "torchvision", "timm", "matplotlib"}, asked=[], consent=True)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name in state.missing else real(name))

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False):  # noqa: N803 - Slicer's name
            state.asked.append(("torch", askConfirmation))
            if not state.consent:
                return None
            state.missing -= {"torch", "torchvision"}
            return object()

    def pip_ensure(requirements, constraints, prompt_install, requester):
        state.asked.append(("pip", requirements, constraints.read_text(), prompt_install, requester))
        state.missing.clear()

    packaging = types.SimpleNamespace(
        load_requirements=lambda path: [line for line in path.read_text().splitlines() if line], pip_ensure=pip_ensure
    )
    modules = {
        "PyTorchUtils": types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic),
        "slicer.packaging": packaging,
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(NoduleRisk.slicer, "packaging", packaging, raising=False)
    monkeypatch.setattr(NoduleRisk.Requirements, "_import_torch", staticmethod(lambda: None))
    versions = {"torch": "2.9.1+cpu", "torchvision": "0.24.1+cpu"}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    standins.asked.clear()
    standins.answers["confirm"] = True
    yield state
    standins.answers["confirm"] = True


@pytest.fixture
def requirements():
    return NoduleRisk.Requirements(NoduleRisk.RESOURCES / "requirements.txt")


def test_one_question_says_what_how_large_and_from_where(slicers_python, requirements):
    assert requirements.install()
    (question,) = standins.asked
    for word in (
        "torch",
        "timm",
        "matplotlib",
        "GB",
        "Python's package index",
        "PyTorch's own",
        "Nothing about you or your images is sent",
    ):
        assert word in question


def test_the_rest_is_installed_against_the_very_pair_that_pytorchs_extension_chose(slicers_python, requirements):
    requirements.install()
    (torch, asked), (_, requirements, constraints, prompt, requester) = slicers_python.asked
    assert (torch, asked, prompt, requester) == ("torch", True, False, "NoduleRisk")
    assert constraints == "torch==2.9.1+cpu\ntorchvision==0.24.1+cpu\n"
    assert {line.split(">=")[0] for line in requirements} == {
        "timm",
        "safetensors",
        "matplotlib",
        "jinja2",
        "reportlab",
    }


def test_refusing_our_question_installs_nothing(slicers_python, requirements):
    standins.answers["confirm"] = False
    assert not requirements.install()
    assert slicers_python.asked == []


def test_refusing_pytorchs_question_installs_nothing_else(slicers_python, requirements):
    slicers_python.consent = False
    assert not requirements.install()
    assert [name for name, *_ in slicers_python.asked] == ["torch"]


def test_a_torch_that_is_there_is_left_alone(slicers_python, requirements):
    slicers_python.missing -= {"torch", "torchvision"}
    assert requirements.install()
    assert [name for name, *_ in slicers_python.asked] == ["pip"]


def test_a_missing_pytorch_extension_is_told_in_one_sentence(slicers_python, requirements, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(NoduleRiskError, match="The PyTorch extension is missing"):
        requirements.install()


def test_a_torchvision_for_another_torch_is_told_before_the_model_meets_it(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(NoduleRiskError, match="do not fit together"):
        NoduleRisk.Requirements._import_torch()
