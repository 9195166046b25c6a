"""The pictures of docs/experiments.md: `python docs/screenshots.py`, after some experiments.

Needs Chromium on the path. Writes docs/report.png and docs/mlflow.png.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def shoot(page: str, picture: Path, width: int, height: int) -> None:
    """Draw a page, given time to load its data."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("error: PATH: no chromium; fix: install it")
    with tempfile.TemporaryDirectory() as profile:
        size = [f"--window-size={width},{height}", "--virtual-time-budget=90000"]
        folder = [f"--user-data-dir={profile}", f"--screenshot={picture}"]
        subprocess.run([browser, *QUIET, *size, *folder, page], check=True, capture_output=True)


def main() -> None:
    """Take both pictures."""
    shoot(Path("report/html/index.html").resolve().as_uri(), DOCS / "report.png", 1200, 1500)
    command = [sys.executable, "-m", "pipeline", "ui"]
    quiet = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=quiet)
    try:
        page = next(line for line in server.stdout if line.startswith("compare: "))
        shoot(page.removeprefix("compare: ").strip(), DOCS / "mlflow.png", 1700, 1000)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
