"""Runs notebooks from a clean kernel, top to bottom, and fails when any cell does.

    python tools/run_notebooks.py                       every notebook in notebooks/
    python tools/run_notebooks.py notebooks/first.ipynb
    python tools/run_notebooks.py --write               keep the outputs in the files

Nothing is written into the tree unless --write is given: the kernel works in a folder of its own
that is thrown away, so a notebook must not depend on where it is run.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run(path: Path, timeout: int, write: bool) -> str | None:
    """Execute one notebook; the answer is None, or what went wrong."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,  # times would differ in every run
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            return str(error)
    if write:
        shrink_pictures(notebook)
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
    return None


def shrink_pictures(notebook: Any) -> None:
    """Store plots with a palette of 64 colours: they look the same and take a third."""
    from PIL import Image

    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            png = output.get("data", {}).get("image/png")
            if png is not None:
                small = io.BytesIO()
                picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
                few = picture.quantize(64, Image.Quantize.MAXCOVERAGE)  # keeps rare colours, too
                few.save(small, "PNG", optimize=True)
                output["data"]["image/png"] = base64.b64encode(small.getvalue()).decode()


def main() -> int:
    """Run what the command line names; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(description="Run notebooks from a clean kernel.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in notebooks/")
    parser.add_argument("--write", action="store_true", help="keep the outputs in the files")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that a cell may take")
    options = parser.parse_args()
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ipython-") as settings:
        # This environment's kernel, without the settings or the history of whoever runs it.
        os.environ.update(IPYTHONDIR=settings, JUPYTER_PREFER_ENV_PATH="1")
        os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
        for path in paths:
            start = time.perf_counter()
            problem = run(path, options.timeout, options.write)
            seconds = time.perf_counter() - start
            print(f"{'FAILED' if problem else 'ok':6} {path.name} ({seconds:.1f} s)", flush=True)
            if problem:
                failed += 1
                print(problem, file=sys.stderr, flush=True)
    print(f"{len(paths) - failed} of {len(paths)} notebooks ran without an error.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
