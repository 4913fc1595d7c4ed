"""The wheel and the sdist hold what they should, and nothing else."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from falconet.native import Preprocessor
from falconet.serving.server import Server

# Of a download: falconet's wheel and NumPy's, which is the largest part by far.
BARE_BYTES = 40e6
# HTTPX, and what it requires.
HTTP = ("httpx", "httpcore", "h11", "anyio", "certifi", "idna", "typing_extensions")
REQUIRED = ("numpy", *HTTP)


@pytest.fixture(scope="module")
def dist(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, and a wheel built from it, of the files that git tracks or would.

    The extension is linked of this checkout's object files, where they are not outdated.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    source = tmp_path_factory.mktemp("source")
    for name in listed.stdout.splitlines():
        if (repository / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, source / name)
    output = tmp_path_factory.mktemp("dist")
    build("--sdist", source, output)
    (sdist,) = output.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        file.extractall(source / "build", filter="tar")
    (unpacked,) = (source / "build").iterdir()
    objects = repository / "build" / "objects"
    if objects.exists():
        shutil.copytree(objects, unpacked / "build" / "objects")
    build("--wheel", unpacked, output)
    return output


def build(kind: str, source: Path, output: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(output), source],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout


def test_the_wheel_holds_the_namespace_alone(dist: Path, repository: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        tops = {name.split("/")[0] for name in names}
        assert {top.partition("-")[0] for top in tops} == {"falconet"}
        assert "falconet/__init__.py" not in names
        assert not {name for name in names if name.endswith((".cpp", ".h"))}
        assert "falconet/native/_core.pyi" in names
        assert "falconet/model/pretrained/cifar10.pt" in names
        configured = {name.rpartition("/")[2] for name in names if "/serving/conf/" in name}
        assert configured == {
            "log4j2.xml",
            "metrics.yaml",
            "nginx.conf",
            "nginx-ask.conf",
            "nginx-cors.conf",
            "nginx-key.conf",
            "nginx-known.conf",
            "nginx-level.conf",
            "nginx-page.conf",
            "nginx-read.conf",
            "nginx-upstream.conf",
            "openapi.yaml",
        }
        config = file.read("falconet/serving/config.properties")
    assert config == (repository / "config.properties").read_bytes()


def test_the_sdist_holds_what_a_build_needs(dist: Path, repository: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    needed = {
        "LICENSE",
        "README.md",
        "config.properties",
        *(f"csrc/{path.name}" for path in (repository / "csrc").glob("*.h")),
        *(f"csrc/{path.name}" for path in (repository / "csrc").glob("*.cpp")),
        "csrc/_core.pyi",
        "handler/torchserve_entry.py",
        "pyproject.toml",
        "setup.py",
    }
    assert needed <= names


@pytest.fixture(scope="module")
def clean(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, and none of this checkout.

    What the wheel depends on is borrowed from the environment of the tests: a path in a .pth file
    does not run the .pth files found there, which is where an editable install hides.
    """
    environment = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    (wheel,) = dist.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", program], text=True).strip())
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="module")
def bare(clean: Path, dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it requires, not even pip."""
    environment = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    (wheel,) = dist.glob("*.whl")
    pip = [clean, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", wheel], check=True)
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", program], text=True).strip())
    for package in REQUIRED:
        installed = metadata.distribution(package)
        for name in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            (site / name).symlink_to(Path(str(installed.locate_file(name))))
    return python


def finish(python: Path, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def run(python: Path, *arguments: str, cwd: Path) -> str:
    finished = finish(python, *arguments, cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_every_room_imports_from_the_wheel(clean: Path, repository: Path, tmp_path: Path) -> None:
    program = (
        "import importlib, pkgutil\n"
        "rooms = 'client', 'native', 'model', 'training', 'handler', 'serving', 'scoring', 'cli'\n"
        "for room in rooms:\n"
        "    package = importlib.import_module(f'falconet.{room}')\n"
        "    print(package.__file__)\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(found.name)\n"
    )
    files = run(clean, "-W", "ignore", "-c", program, cwd=tmp_path).split()
    assert len(files) == 8
    for file in files:
        assert str(clean.parent.parent) in file
        assert not Path(file).is_relative_to(repository)


def test_the_wheel_predicts_by_itself(clean: Path, samples: list[Path], tmp_path: Path) -> None:
    falconet = clean.parent / "falconet"
    output = run(clean, str(falconet), "predict", "--json", str(samples[4]), cwd=tmp_path)
    assert '"label": "frog"' in output.split("}")[0]
    assert run(clean, str(falconet), "--version", cwd=tmp_path).startswith("falconet, version ")


def test_little_is_required(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    (found,) = metadata.distributions(path=[str(wheel)])
    required = [each for each in found.requires or () if "extra ==" not in each]
    assert sorted(required) == ["httpx>=0.27", "numpy>=1.26"]
    assert {"serve", "train", "training", "all"} <= set(found.metadata.get_all("Provides-Extra"))


def test_the_bare_wheel_preprocesses_with_numpy_alone(bare: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    np.save(tmp_path / "image.npy", image)
    program = (
        "import sys\n"
        "import numpy as np\n"
        "from falconet.native import Preprocessor\n"
        "preprocess = Preprocessor((224, 224), resize=256)\n"
        "np.save('batch.npy', preprocess([np.load('image.npy')]))\n"
        "print(*{name.partition('.')[0] for name, module in sys.modules.items()\n"
        "        if 'site-packages' in str(getattr(module, '__file__', ''))})\n"
    )
    assert set(run(bare, "-c", program, cwd=tmp_path).split()) == {"falconet", "numpy"}
    expected = Preprocessor((224, 224), resize=256)([image])
    np.testing.assert_array_equal(np.load(tmp_path / "batch.npy"), expected)


def test_the_bare_wheel_has_a_client(bare: Path, server: Server, tmp_path: Path) -> None:
    image = Path(__file__).parent.parent / "images" / "cifar10" / "04-frog.png"
    url = server.client.prediction_url("cifar10")
    program = (
        "from falconet.client import Client\n"
        f"print(Client({url!r}).predict({str(image)!r}).label)\n"
    )
    assert run(bare, "-c", program, cwd=tmp_path) == "frog\n"


def test_the_bare_wheel_is_a_small_download(dist: Path, tmp_path: Path) -> None:
    """What pip fetches; NumPy's wheel is made again from what is installed of it."""
    (wheel,) = dist.glob("*.whl")
    installed = metadata.distribution("numpy")
    packed = tmp_path / "numpy.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for each in installed.files or ():
            if each.suffix != ".pyc":
                file.write(str(installed.locate_file(each)))
    assert wheel.stat().st_size + packed.stat().st_size <= BARE_BYTES


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "falconet: needs click; pip install 'falconet[serve]'"),
        (("train", "elu"), "falconet train: needs click; pip install 'falconet[train]'"),
    ],
)
def test_a_bare_command_names_its_extra(
    bare: Path, arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    finished = finish(bare, str(bare.parent / "falconet"), *arguments, cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (1, f"{sentence}\n")


def test_decoding_names_its_extra(bare: Path, tmp_path: Path) -> None:
    finished = finish(bare, "-c", "import falconet.native.decode", cwd=tmp_path)
    assert finished.stderr.endswith(
        "ModuleNotFoundError: decoding needs Pillow and simplejpeg: pip install 'falconet[serve]'\n"
    )
