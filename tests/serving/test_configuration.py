import socket
from pathlib import Path

import pytest

from falconet.serving.configuration import DEFAULT, METRICS, Configuration
from falconet.serving.errors import ServerError
from falconet.serving.ports import Ports, free_ports


def properties(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    pairs = [tuple(line.split("=", 1)) for line in lines]
    assert len(dict(pairs)) == len(pairs), "a key is there twice"
    return dict(pairs)


def test_ours_is_the_repositorys(repository: Path) -> None:
    assert DEFAULT.read_bytes() == (repository / "config.properties").read_bytes()


def test_ports_are_those_in_the_file() -> None:
    assert Configuration.load().ports == Ports(8080, 8081, 8082, 7070, 7071)


def test_chosen_and_free_ports(tmp_path: Path) -> None:
    configuration = Configuration.load(inference=18080, management=0)
    ports = configuration.ports
    assert (ports.inference, ports.metrics) == (18080, 8082)
    assert len({ports.management, ports.grpc_inference, ports.grpc_management}) == 3
    assert not {ports.management, ports.grpc_inference, ports.grpc_management} & {0, 7070, 7071}

    written = properties(configuration.write(tmp_path))
    assert written["inference_address"] == "http://127.0.0.1:18080"
    assert written["management_address"] == f"http://127.0.0.1:{ports.management}"
    assert written["grpc_inference_port"] == str(ports.grpc_inference)


def test_all_else_stays_but_what_is_served(tmp_path: Path) -> None:
    written = properties(Configuration.load().write(tmp_path))
    original = properties(DEFAULT)
    assert original.pop("model_store") == "build/model_store"
    assert original.pop("load_models") == "cifar10.mar"
    assert written.pop("metrics_config") == str(METRICS.resolve())
    assert written == original


def test_only_this_machine_is_listened_to() -> None:
    original = properties(DEFAULT)
    for name in ("inference", "management", "metrics"):
        assert original[f"{name}_address"].startswith("http://127.0.0.1:")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no configuration at"):
        Configuration.load(tmp_path / "config.properties")


def test_a_file_may_be_spaced_and_short(tmp_path: Path) -> None:
    path = tmp_path / "mine.properties"
    path.write_text("# mine\n\n inference_address = http://127.0.0.1:9090\nload_models = x.mar\n")
    configuration = Configuration.load(path)
    assert configuration.ports == Ports(9090, 8081, 8082, 7070, 7071)
    written = properties(configuration.write(tmp_path))
    assert written.keys() == {
        *("inference_address", "management_address", "metrics_address"),
        *("grpc_inference_port", "grpc_management_port", "metrics_config"),
    }
    path.write_text("metrics_config=mine.yaml\n")
    assert properties(Configuration.load(path).write(tmp_path))["metrics_config"] == "mine.yaml"


def test_what_lines_say_of_workers_and_memory() -> None:
    bare = Configuration((), Configuration.load().ports)
    assert (bare.workers, bare.heap) == (None, 0)
    for vmargs, heap in (("-Xmx2g -Da=b", 2 << 30), ("-Da=b -Xmx300M", 300 << 20), ("-Xmx9", 9)):
        said = bare.changed({"vmargs": vmargs, "default_workers_per_model": "3"})
        assert (said.workers, said.heap) == (3, heap)


def test_free_ports_are_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20


def test_a_taken_port_is_named_with_its_owner() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        a, b, c, d = free_ports(4)
        message = rf"the metrics port {taken} is taken by process \d+ \(.*\); stop what uses it, or"
        with pytest.raises(ServerError, match=message):
            Ports(a, b, taken, c, d).check()
    Ports(a, b, taken, c, d).check()
