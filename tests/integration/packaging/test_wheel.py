"""The wheel, opened: the dashboard's build and the data files are in it, development files are not."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
DIST = ROOT / "dist"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make test` has just built `dist/`; a lone pytest run builds its own, the same way."""
    if not (ROOT / "cloud" / "web" / "static" / "index.html").is_file():
        pytest.skip("the dashboard is not built: 'make ui' builds it")
    if list(DIST.glob("minewarden-*.whl")) and list(DIST.glob("minewarden-*.tar.gz")):
        return DIST
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> list[str]:
    with zipfile.ZipFile(next(built.glob("minewarden-*.whl"))) as archive:
        return archive.namelist()


def test_the_dashboard_is_inside(wheel: list[str]) -> None:
    static = [name for name in wheel if name.startswith("cloud/web/static/")]
    assert "cloud/web/static/index.html" in static
    assert any(name.endswith(".js") and "/assets/" in name for name in static)
    assert any(name.endswith(".css") and "/assets/" in name for name in static)


def test_its_sources_are_not(wheel: list[str]) -> None:
    assert not [name for name in wheel if name.startswith(("cloud/ui/", "tests/", "packaging/"))]


@pytest.mark.parametrize(
    "pattern", ["shared/plant/*.toml", "firmware_adapters/site/profiles/*.toml", "cloud/migrations/**/*.py"]
)
def test_data_files_are_inside(wheel: list[str], pattern: str) -> None:
    expected = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}
    assert expected
    assert expected <= set(wheel)


def test_only_our_four_packages(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops == {"shared", "firmware_adapters", "edge_agent", "cloud"}


def test_the_sdist_can_build_the_same_wheel(built: Path) -> None:
    with tarfile.open(next(built.glob("minewarden-*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "cloud/web/static/index.html", "packaging/install.sh"} <= names
    assert not [name for name in names if "node_modules" in name or name.startswith(".venv")]
