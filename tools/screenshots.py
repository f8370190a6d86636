"""The pictures of docs/screenshots, taken of pages by Chromium: python tools/screenshots.py report.html run.html

A third argument is the address of a JupyterLab that shows a notebook and was started with
``--LabApp.expose_app_in_browser=True``: its cells are run first.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "view"))

from chromium import Chromium, find  # noqa: E402

READY = "document.documentElement.dataset.ready === 'yes'"
WIDGET = "document.querySelector('.chemiscope-widget canvas, .chemiscope-structure > div') !== null"


def main(report: str, run: str, notebook: str = "") -> None:
    program = find()
    if program is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    folder = ROOT / "docs" / "screenshots"
    folder.mkdir(exist_ok=True)
    window = Chromium(program, 1200, 1330)
    try:
        window.open(Path(report))
        window.until(READY)
        window.run("window.molflow.go(4)")
        time.sleep(3)
        window.picture(folder / "report.png")
        window.size(1200, 1250)
        window.open(Path(run))
        window.until(READY)
        window.run(
            "(() => { const s = document.getElementById('frame'); s.value = 0.85 * s.max;"
            " s.dispatchEvent(new Event('input')); return true; })()"
        )
        time.sleep(2)
        window.picture(folder / "run.png")
    finally:
        window.close()
    if notebook:
        window = Chromium(program, 1200, 1100, offline=False)
        try:
            window.open(notebook)
            window.until("window.jupyterapp && document.querySelectorAll('.jp-CodeCell').length > 0")
            time.sleep(12)
            window.run("void jupyterapp.commands.execute('notebook:run-all-cells')")
            window.until(WIDGET, 300)
            time.sleep(10)
            window.run("document.querySelectorAll('.Toastify__toast').forEach((note) => note.remove())")
            window.picture(folder / "notebook.png")
        finally:
            window.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
