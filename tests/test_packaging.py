"""The installed distribution: three packages, one version, light to import."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from evalgauge_dashboards import compose

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_exactly_the_three_packages(wheel: zipfile.ZipFile) -> None:
    names = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {
        "evalgauge",
        "evalgauge_exporter",
        "evalgauge_dashboards",
    }


def test_the_wheel_holds_the_pages_and_the_type_markers(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "evalgauge_exporter/web/live/index.html" in names
    assert "evalgauge_exporter/web/runbooks.md" in names
    assert {f"{package}/py.typed" for package in ("evalgauge", "evalgauge_exporter", "evalgauge_dashboards")} <= names


def test_the_wheel_holds_the_compose_stack(wheel: zipfile.ZipFile) -> None:
    packed = {name.partition("/stack/")[2] for name in wheel.namelist() if "/stack/" in name}
    assert packed == set(compose.FILES)


def test_without_extras_only_pydantic_click_and_msgspec_are_needed(wheel: zipfile.ZipFile) -> None:
    (path,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(path).decode())
    needed = [line for line in metadata.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert sorted(line.partition(">")[0].partition("<")[0].strip() for line in needed) == [
        "click",
        "msgspec",
        "pydantic",
    ]
    extras = {"otel", "exporter", "azure", "aws", "storage", "dashboards", "all"}
    assert set(metadata.get_all("Provides-Extra") or []) == extras


def test_importing_evalgauge_stays_light() -> None:
    allowed = {"evalgauge", "msgspec", "pydantic", "pydantic_core", "click", "annotated_types", "typing_extensions"}
    code = (
        "import sys; before = set(sys.modules); import evalgauge\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    foreign = {name for name in loaded if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign <= allowed | {"typing_inspection"}


def test_no_loose_module_lies_in_the_three_folders() -> None:
    for folder in ("instrumentation", "exporter", "dashboards"):
        assert list((ROOT / folder).glob("*.py")) == []


def test_the_wheel_has_the_version_of_the_package(wheel: zipfile.ZipFile) -> None:
    import evalgauge

    (path,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert Parser().parsestr(wheel.read(path).decode())["Version"] == evalgauge.__version__


def test_the_dashboards_are_built_with_their_extra_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        f"evalgauge[dashboards] @ {Path(wheel.filename or '').as_uri()}",
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "generated"
    done = subprocess.run(
        [python, "-m", "evalgauge_dashboards", "--out", out], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "prometheus" not in listed, "nothing of the exporter extra is installed"
    expected = ROOT / "dashboards" / "generated"
    names = sorted(path.relative_to(expected) for path in expected.rglob("*") if path.is_file())
    assert [Path(path).relative_to(out) for path in sorted(done.stdout.split())] == names
    assert all((out / name).read_bytes() == (expected / name).read_bytes() for name in names)
