"""The set-up says what is missing, under any Python, and does nothing when nothing changed."""

import ast
import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "tools" / "bootstrap.py"


@pytest.fixture
def bootstrap(monkeypatch):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("bootstrap", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("PYTHON", raising=False)
    return module


@pytest.fixture
def checkout(bootstrap, tmp_path, monkeypatch):
    """A small project, and what would have been done to it."""
    top = tmp_path / "a place [1]"
    (top / "engine" / "ops").mkdir(parents=True)
    for file in ["engine/__init__.py", "engine/py.typed", "engine/ops/__init__.py"]:
        (top / file).touch()
    write_settings(top, "numpy")
    monkeypatch.setattr(bootstrap, "ROOT", str(top))
    monkeypatch.setattr(bootstrap, "say", lambda text: None)
    calls = []

    def create(folder):
        calls.append("create")
        python = Path(bootstrap.interpreter_in(folder))
        python.parent.mkdir(parents=True, exist_ok=True)
        python.unlink(missing_ok=True)
        python.symlink_to(sys.executable)

    def pip(python, arguments):
        calls.append(" ".join(arguments))
        if "--editable" not in arguments:
            return
        links = top / "build" / "links"
        for old in links.rglob("*.*"):
            old.unlink()
        for here, source in bootstrap.sources(tomllib_load(top)):
            link = links / here
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
        site = top / ".venv" / "lib" / "python3.x" / "site-packages"
        site.mkdir(parents=True, exist_ok=True)
        (site / "__editable__.tapegrad-0.pth").write_text(str(links), encoding="utf-8")

    monkeypatch.setattr(bootstrap, "create", create)
    monkeypatch.setattr(bootstrap, "pip", pip)
    return top, calls


def tomllib_load(folder):
    import tomllib

    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def write_settings(folder, *dependencies):
    (folder / "pyproject.toml").write_text(
        f"""
        build-system = {{ requires = ["setuptools"] }}
        [project]
        requires-python = ">=3.11"
        dependencies = {json.dumps(dependencies)}
        optional-dependencies = {{ test = ["pytest"], demo = ["plots"] }}
        [tool.setuptools.package-dir]
        tapegrad = "engine"
        """.replace("\n        ", "\n"),
        encoding="utf-8",
    )


needs_links = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in makes links")


@needs_links
class TestWork:
    def test_the_first_run_installs_and_the_second_does_nothing(self, bootstrap, checkout):
        _, calls = checkout
        assert bootstrap.main(["test"]) == 0
        assert calls[:2] == ["create", "setuptools"]
        assert calls[2].endswith("editable_mode=strict --editable .[test]")
        calls.clear()
        assert bootstrap.main(["test"]) == 0
        assert calls == []

    @pytest.mark.parametrize("change", ["add", "remove", "replace", "unlink"])
    def test_other_files_are_linked_without_the_network(self, bootstrap, checkout, change):
        top, calls = checkout
        (top / "engine" / "old.py").touch()
        bootstrap.main(["test"])
        calls.clear()
        if change == "add":
            (top / "engine" / "ops" / "new.py").touch()
        elif change == "remove":
            (top / "engine" / "old.py").unlink()
        elif change == "replace":  # as an editor may, where links are hard
            link = top / "build" / "links" / "tapegrad" / "old.py"
            link.unlink()
            link.touch()
        else:
            (top / "build" / "links" / "tapegrad" / "__init__.py").unlink()
        bootstrap.main(["test"])
        (call,) = calls
        assert "--no-build-isolation" in call and "--no-deps" in call
        calls.clear()
        bootstrap.main(["test"])
        assert calls == []

    def test_another_extra_joins_the_first(self, bootstrap, checkout):
        _, calls = checkout
        bootstrap.main(["test"])
        calls.clear()
        bootstrap.main(["demo"])
        assert calls[-1].endswith(".[demo,test]")
        calls.clear()
        bootstrap.main(["test"])
        assert calls == []

    def test_another_requirement_is_installed(self, bootstrap, checkout):
        top, calls = checkout
        bootstrap.main(["test"])
        calls.clear()
        write_settings(top, "numpy", "more")
        bootstrap.main(["test"])
        assert calls[-1].endswith(".[test]")

    def test_an_environment_whose_python_is_gone_is_made_anew(self, bootstrap, checkout):
        top, calls = checkout
        bootstrap.main(["test"])
        Path(bootstrap.interpreter_in(str(top / ".venv"))).unlink()
        calls.clear()
        bootstrap.main(["test"])
        assert calls[0] == "create"

    def test_the_interpreter_asked_for_is_used(self, bootstrap, checkout, monkeypatch):
        top, calls = checkout
        bootstrap.main(["test"])
        stamp = top / ".venv" / "tapegrad.json"
        done = json.loads(stamp.read_text(encoding="utf-8"))
        stamp.write_text(json.dumps(done | {"python": [3, 99]}), encoding="utf-8")
        calls.clear()
        bootstrap.main(["test"])
        assert calls == [], "any recent version is kept"
        monkeypatch.setenv("PYTHON", "python3")
        bootstrap.main(["test"])
        assert calls[0] == "create"

    def test_an_extra_that_does_not_exist(self, bootstrap, checkout):
        with pytest.raises(bootstrap.Stop, match=r"'tests'; there are: demo, test"):
            bootstrap.main(["tests"])


class TestAnswers:
    def test_old_pythons_can_read_it(self):
        text = PATH.read_text(encoding="utf-8")
        ast.parse(text, feature_version=(3, 6))
        text.encode("ascii")  # without a coding line, Python 2 reads nothing else
        assert not [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.JoinedStr)]

    def test_too_old(self, bootstrap, monkeypatch):
        monkeypatch.setattr(sys, "version_info", (3, 9, 2))
        monkeypatch.setattr(bootstrap, "another_interpreter", lambda: None)
        monkeypatch.setattr(sys, "platform", "linux")
        with pytest.raises(bootstrap.Stop, match=r"3\.11 .* Python 3\.9\.2[^$]*apt install"):
            bootstrap.main(["test"])
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(bootstrap.Stop, match=r"brew install python@3"):
            bootstrap.main(["test"])

    def test_an_old_one_hands_over_to_a_new_one(self, bootstrap, monkeypatch):
        calls = []
        monkeypatch.setattr(sys, "version_info", (3, 9, 2))
        monkeypatch.setattr("subprocess.call", lambda command: calls.append(command) or 5)
        versions = {"python3": (3, 9, 2), "python3.12": (3, 12, 1)}
        monkeypatch.setattr(bootstrap, "version_of", versions.get)
        assert bootstrap.main(["test"]) == 5
        assert calls == [["python3.12", str(PATH), "test"]]

    def test_an_old_one_asked_for_by_name_does_not(self, bootstrap, monkeypatch):
        monkeypatch.setenv("PYTHON", "python3.9")
        monkeypatch.setattr(sys, "version_info", (3, 9, 2))
        with pytest.raises(bootstrap.Stop, match=r"Python 3.9.2"):
            bootstrap.main(["test"])

    @pytest.mark.parametrize("module", ["venv", "ensurepip"])
    def test_no_venv_module(self, bootstrap, monkeypatch, tmp_path, module):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setitem(sys.modules, module, None)
        short = f"{sys.version_info[0]}.{sys.version_info[1]}"
        with pytest.raises(bootstrap.Stop, match=rf"apt install python{short}-venv"):
            bootstrap.main(["test", "--venv", str(tmp_path / "venv")])
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(bootstrap.Stop, match=rf"brew install python@{short}"):
            bootstrap.main(["test", "--venv", str(tmp_path / "venv")])

    def test_pip_fails(self, bootstrap, monkeypatch):
        monkeypatch.setattr("subprocess.call", lambda *args, **kwargs: 1)
        with pytest.raises(bootstrap.Stop, match="need the network"):
            bootstrap.pip(sys.executable, ["x"])

    def test_version_of_what_is_not_there(self, bootstrap):
        assert bootstrap.version_of("no-such-python") is None
        assert bootstrap.version_of(sys.executable) == sys.version_info[:3]
