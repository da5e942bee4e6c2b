"""Makes the virtual environment that the Makefile uses, or says what to install so that it can.

    python3 tools/bootstrap.py test          # .venv holds tapegrad and what its tests need
    python3 tools/bootstrap.py demo notebook

Needs nothing but the standard library. The text is kept within what Python 2.7 understands, so
that an old interpreter prints what is missing instead of a syntax error. With nothing to do it
takes about a tenth of a second, and nothing is asked of the network unless a requirement changed.

The project is installed in place, in the strict form: a folder of links to the sources, laid out
as the import names want it. Type checkers, doctests and editors understand that form; a new file
needs a new link, so the links are compared with the sources on every run.
"""

from __future__ import print_function

import os
import sys

OLDEST = (3, 11)
NAMES = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Stop(Exception):
    """Something is missing; the message says what to do about it."""


def dotted(version):
    """(3, 11) as "3.11"."""
    return ".".join(str(number) for number in version)


def on_mac():
    """Whether Homebrew's names are the useful ones."""
    return sys.platform == "darwin"


def how_to_install_python():
    """The lines that tell how to get a recent Python on this system."""
    if on_mac():
        lines = ["    brew install python@3.13"]
    elif sys.platform.startswith("linux"):
        lines = [
            "    sudo apt install python3 python3-venv          (Debian 12, Ubuntu 24.04 or newer)",
            "    sudo apt install python3.11 python3.11-venv    (Ubuntu 22.04)",
        ]
    else:
        lines = ["    https://www.python.org/downloads/"]
    return "\n".join(["Install one:"] + lines)


def too_old(version, path):
    """The answer to an interpreter that cannot run the project."""
    return "\n".join(
        [
            "tapegrad needs Python %s or newer; this is Python %s (%s)."
            % (dotted(OLDEST), dotted(version), path),
            how_to_install_python(),
            "An interpreter under another name is chosen with PYTHON=python3.12 make test",
        ]
    )


def incomplete(module, version, path):
    """The answer to a Python that lacks a part of its standard library, as Debian's may."""
    short = dotted(version[:2])
    packages = "python%s-venv" % short
    if module not in ("venv", "ensurepip"):
        packages = "python%s %s" % (short, packages)
    if on_mac():
        remedy = "    brew install python@%s" % short
    elif sys.platform.startswith("linux"):
        remedy = "    sudo apt install %s" % packages
    else:
        remedy = "    https://www.python.org/downloads/"
    return "\n".join(
        [
            "Python %s (%s) comes without its module %s." % (short, path, module),
            "Install it:",
            remedy,
        ]
    )


def version_of(command):
    """The version of an interpreter as a tuple, or None if there is none that runs."""
    import subprocess

    ask = "import sys; print('%d %d %d' % sys.version_info[:3])"
    try:
        with open(os.devnull, "w") as nowhere:
            answer = subprocess.check_output([command, "-c", ask], stderr=nowhere)
        return tuple(int(number) for number in answer.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def another_interpreter():
    """A name on the PATH under which a recent enough Python runs, or None."""
    for name in NAMES:
        version = version_of(name)
        if version is not None and version >= OLDEST:
            return name
    return None


def main(arguments):
    """Find an interpreter that will do, then bring the environment up to date with it."""
    import argparse

    parser = argparse.ArgumentParser(description="Prepare the virtual environment.")
    parser.add_argument("extras", nargs="+", help="extras of pyproject.toml, such as test or demo")
    parser.add_argument("--venv", default=".venv", help="where it lies (default: .venv)")
    options = parser.parse_args(arguments)
    chosen = os.environ.get("PYTHON", "")
    if sys.version_info[:2] < OLDEST:
        other = None if chosen else another_interpreter()
        if other is None:
            raise Stop(too_old(sys.version_info[:3], sys.executable))
        import subprocess

        return subprocess.call([other, os.path.abspath(__file__)] + arguments)
    try:
        prepare(os.path.join(ROOT, options.venv), options.extras, insist=bool(chosen))
    except ImportError as error:
        name = getattr(error, "name", None) or str(error)
        raise Stop(incomplete(name, sys.version_info, sys.executable))  # noqa: B904
    return 0


# From here on the interpreter is recent.


def prepare(folder, extras, insist):
    """Create the environment if need be, and install what is missing or has changed.

    ``insist`` says that the interpreter was asked for by name: an environment of another version
    is then made anew. Otherwise any that is recent enough is kept.
    """
    import json
    import tomllib

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        settings = tomllib.load(file)
    known = settings["project"]["optional-dependencies"]
    for extra in extras:
        if extra not in known:
            raise Stop("There is no extra %r; there are: %s." % (extra, ", ".join(sorted(known))))

    stamp = os.path.join(folder, "tapegrad.json")
    try:
        with open(stamp) as file:
            done = json.load(file)
    except (OSError, ValueError):
        done = {}
    python = interpreter_in(folder)
    wanted = tuple(sys.version_info[:2]) if insist else None
    if not usable(python, done, wanted):
        create(folder)
        done = {}

    needed = sorted(set(extras) | set(done.get("extras", [])))
    now = {
        "python": list(version_of(python)[:2]) if not done else done["python"],
        "extras": needed,
        "requirements": digest(settings["build-system"], *requirements(settings["project"])),
        "description": digest(settings["project"], settings["tool"]["setuptools"]),
    }
    same = {key: done.get(key) == value for key, value in now.items()}
    if all(same.values()) and links_are_right(folder, settings):
        return
    if same["extras"] and same["requirements"]:
        say("Linking the sources anew.")
        install(python, ["--no-deps"], ".")
    else:
        say("Installing tapegrad with its extras %s; once only." % ", ".join(needed))
        pip(python, settings["build-system"]["requires"])
        install(python, [], ".[%s]" % ",".join(needed))
    with open(stamp, "w") as file:
        json.dump(now, file)
        file.write("\n")


def interpreter_in(folder):
    """The path of an environment's interpreter."""
    if sys.platform == "win32":
        return os.path.join(folder, "Scripts", "python.exe")
    return os.path.join(folder, "bin", "python")


def usable(python, done, wanted):
    """Whether an environment is there, runs, and is of a version that will do."""
    if not os.path.exists(python):  # nor does a link into a Python that was since removed
        return False
    version = tuple(done["python"]) if done else version_of(python)
    if version is None or version[:2] < OLDEST:
        return False
    if wanted is not None and version[:2] != wanted:
        return False
    return bool(done) or quiet([python, "-m", "pip", "--version"])


def create(folder):
    """Make an empty environment with pip in it."""
    # Said by main if they are missing, as on a Debian without python3-venv.
    import subprocess
    import venv  # noqa: F401
    from ensurepip import bootstrap  # noqa: F401

    say("Making %s with Python %s." % (os.path.relpath(folder), dotted(sys.version_info[:3])))
    if subprocess.call([sys.executable, "-m", "venv", "--clear", folder]) != 0:
        raise Stop(
            "The virtual environment could not be made (see above). If part of Python is missing:\n"
            + incomplete("venv", sys.version_info, sys.executable)
        )


def requirements(project):
    """What decides which packages must be present."""
    return project["requires-python"], project["dependencies"], project["optional-dependencies"]


def digest(*parts):
    """A short text that changes when any of the parts does."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def sources(settings):
    """Each file of the packages: its path under the import names, and where it lies."""
    for name, folder in settings["tool"]["setuptools"]["package-dir"].items():
        top = os.path.join(ROOT, folder)
        for path, inner, files in os.walk(top):
            inner[:] = [d for d in inner if os.path.exists(os.path.join(path, d, "__init__.py"))]
            if not os.path.exists(os.path.join(path, "__init__.py")):
                continue
            under = name.replace(".", os.sep)
            here = os.path.normpath(os.path.join(under, os.path.relpath(path, top)))
            for file in files:
                if file.endswith(".py") or file == "py.typed":
                    yield os.path.join(here, file), os.path.join(path, file)


def links_are_right(folder, settings):
    """Whether the installed links are those of the sources: none missing, none left over."""
    import glob

    site = os.path.join(glob.escape(folder), "[Ll]ib", "**", "site-packages")
    pointers = glob.glob(os.path.join(site, "__editable__.tapegrad-*.pth"), recursive=True)
    if not pointers:
        return False
    with open(pointers[0], encoding="utf-8") as file:
        top = file.read().strip()
    expected = dict(sources(settings))
    present = set()
    for path, inner, files in os.walk(top):
        inner[:] = [d for d in inner if d != "__pycache__"]
        here = os.path.relpath(path, top)
        present.update(os.path.normpath(os.path.join(here, file)) for file in files)
    if present != set(expected):
        return False
    try:
        return all(os.path.samefile(os.path.join(top, k), v) for k, v in expected.items())
    except OSError:
        return False


def install(python, options, what):
    """Install the project in place, as links, with the build tools the environment has."""
    strict = ["--config-settings", "editable_mode=strict"]
    pip(python, ["--no-build-isolation"] + strict + options + ["--editable", what])


def pip(python, arguments):
    """Call pip's install and explain a failure."""
    import subprocess

    command = [python, "-m", "pip", "install", "--quiet", "--no-input"]
    command.append("--disable-pip-version-check")
    if subprocess.call(command + arguments, cwd=ROOT) != 0:
        raise Stop(
            "pip could not install what is needed (see above).\n"
            "The first run, and a run after a requirement changed, need the network."
        )


def quiet(command):
    """Whether a command succeeds; what it prints is dropped."""
    import subprocess

    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def say(text):
    """Print a line at once."""
    print(text)
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        sys.exit("\n%s\n" % stop)
    except KeyboardInterrupt:
        sys.exit(130)
