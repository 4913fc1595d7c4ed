"""The manifests, by Kubernetes's schemas, and that they agree with each other and with the rest."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from falconet.cli.main import main
from falconet.handler import ENTRY
from falconet.model.archive import Serving, archive
from falconet.serving import gateway, processes
from falconet.serving.store import identify

# Sidecars and all else that the manifests use are there from the first on.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
Resource = dict[str, Any]
Resources = dict[str, Resource]  # by file


@pytest.fixture
def pod(resources: Resources) -> Resource:
    spec = resources["deployment.yaml"]["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


@pytest.fixture
def arguments(pod: Resource) -> list[str]:
    """Of the container, with its variables filled in as Kubernetes does."""
    (container,) = pod["containers"]
    values = {each["name"]: each["value"] for each in container["env"]}
    return [re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], it) for it in container["args"]]


@pytest.fixture
def parsed(image: Any, arguments: list[str], tmp_path: Path) -> dict[str, Any]:
    """What the command makes of the image's and the pod's words, in a place where files exist."""
    words = [*image.command("ENTRYPOINT")[4:], *arguments]
    here = [re.sub(r"(?<==)(/etc/falconet/)", f"{tmp_path}\\1", word) for word in words]
    for word in here:
        if str(tmp_path) in word:
            path = Path(word.partition("=")[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    command = main.get_command(None, "up")  # type: ignore[arg-type]
    assert command is not None
    return command.make_context("up", here).params


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_hold(resources: Resources, version: str) -> None:
    checked = set()
    for file, resource in resources.items():
        # KEDA's has no schema there; see below. A patch is part of a resource, and is merged below.
        if resource["apiVersion"].startswith("keda.sh/") or file == "metrics/sidecar.yaml":
            continue
        kubernetes_validate.validate(resource, version, strict=True)
        checked.add(resource["kind"])
    assert {"Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "Pod"} <= checked


def test_the_schemas_can_be_broken(resources: Resources) -> None:
    wrong = {**resources["service.yaml"], "spek": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def built(folder: Path, page: str, *components: str) -> Iterator[Resource]:
    """What kustomize makes of a page's overlay, with other components."""
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    content = yaml.safe_load(block.replace("../deploy/kubernetes", "../kubernetes"))
    content["components"] = [f"../kubernetes/{each}" for each in components]
    overlay = folder.parent / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
    text = subprocess.check_output(["kubectl", "kustomize", str(overlay)], text=True)
    yield from yaml.safe_load_all(text)


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize("components", [(), ("metrics",), ("keda",), ("metrics", "keda")])
def test_kustomize_puts_it_together(
    kubernetes: Path, repository: Path, tmp_path: Path, components: tuple[str, ...]
) -> None:
    copy = Path(shutil.copytree(kubernetes, tmp_path / "kubernetes"))
    page = (repository / "docs" / "deployment.md").read_text()
    found = list(built(copy, page, *components))
    assert {each["metadata"]["namespace"] for each in found} == {"images"}
    (claim,) = (each for each in found if each["kind"] == "PersistentVolumeClaim")
    assert "storageClassName" in claim["spec"]
    kinds = [each["kind"] for each in found]
    for each in found:
        if each["kind"] != "ScaledObject":
            kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    # One of them scales.
    scalers = ("ScaledObject", "HorizontalPodAutoscaler")
    assert [kinds.count(each) for each in scalers] == ([1, 0] if "keda" in components else [0, 1])
    (deployment,) = (each for each in found if each["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    assert len(containers) == (2 if "metrics" in components else 1)
    assert {each["image"] for each in containers} == {"registry.example/falconet:1.0.0"}
    agree_on_volumes(spec)


def agree_on_volumes(spec: Resource) -> None:
    mounted = {
        mount["name"]
        for container in (*spec["containers"], *spec.get("initContainers", []))
        for mount in container["volumeMounts"]
    }
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_everything_is_listed(kubernetes: Path) -> None:
    listed = set(yaml.safe_load((kubernetes / "kustomization.yaml").read_text())["resources"])
    alone = {"kustomization.yaml", "loader.yaml"}
    assert {path.name for path in kubernetes.glob("*.yaml")} == listed | alone
    for component in ("keda", "metrics"):
        content = yaml.safe_load((kubernetes / component / "kustomization.yaml").read_text())
        files = {path.name for path in (kubernetes / component).iterdir()} - {"kustomization.yaml"}
        named = {*content["resources"], *(each.get("path") for each in content["patches"])}
        generated = {
            file for each in content.get("configMapGenerator", []) for file in each["files"]
        }
        assert files == {each for each in named | generated if each}


def test_names_and_labels_agree(resources: Resources) -> None:
    deployment = resources["deployment.yaml"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert resources["service.yaml"]["spec"]["selector"] == labels
    assert resources["disruption.yaml"]["spec"]["selector"]["matchLabels"] == labels
    for file in ("network.yaml", "metrics/network.yaml"):
        assert resources[file]["spec"]["podSelector"]["matchLabels"] == labels
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [each["labelSelector"]["matchLabels"] for each in spread] == [labels, labels]
    for file in ("autoscaler.yaml", "keda/scaledobject.yaml"):
        target = resources[file]["spec"]["scaleTargetRef"]
        assert target["name"] == deployment["metadata"]["name"]
        assert target["kind"] == deployment["kind"]
    # The loader is none of the replicas.
    assert resources["loader.yaml"]["metadata"]["labels"] != labels


def test_a_pod_has_no_rights_it_does_not_need(resources: Resources, image: Any) -> None:
    user = int(image.one("USER").partition(":")[0])
    pods = [
        resources["deployment.yaml"]["spec"]["template"]["spec"],
        resources["loader.yaml"]["spec"],
    ]
    for spec in pods:
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    sidecar = resources["metrics/sidecar.yaml"]["spec"]["template"]["spec"]
    containers = [*(each for spec in pods for each in spec["containers"])]
    for container in [*containers, *sidecar["initContainers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}


def test_images_are_of_this_version(resources: Resources, project: dict[str, Any]) -> None:
    found = re.findall(r"'image': '([^']+)'", str(list(resources.values())))
    assert found == [f"falconet:{project['version']}"] * 3


def test_ports_agree(
    resources: Resources, pod: Resource, image: Any, parsed: dict[str, Any]
) -> None:
    (container,) = pod["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == parsed["port"] == int(image.one("EXPOSE"))
    assert parsed["host"] == "0.0.0.0"
    (service,) = resources["service.yaml"]["spec"]["ports"]
    assert service["targetPort"] == port["name"]
    network = resources["network.yaml"]["spec"]
    assert network["ingress"] == [{"ports": [{"port": port["name"], "protocol": "TCP"}]}]
    assert network["egress"] == []
    assert set(network["policyTypes"]) == {"Ingress", "Egress"}
    (own,) = resources["metrics/sidecar.yaml"]["spec"]["template"]["spec"]["initContainers"]
    (policy,) = resources["metrics/network.yaml"]["spec"]["ingress"]
    assert [each["port"] for each in policy["ports"]] == [own["ports"][0]["name"]]


def test_probes_ask_what_the_gateway_answers(
    pod: Resource, parsed: dict[str, Any], repository: Path
) -> None:
    (container,) = pod["containers"]
    text = (repository / "serving" / "conf" / "nginx.conf").read_text()
    for name, path in (("startup", "/ready"), ("readiness", "/ready"), ("liveness", "/live")):
        probe = container[f"{name}Probe"]
        assert probe["httpGet"] == {
            "path": path,
            "port": "gateway",
            "scheme": "HTTP" if parsed["no_tls"] else "HTTPS",
        }
        assert f"location = {path} {{" in text
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > parsed["timeout"]


def test_there_is_time_to_end(resources: Resources, pod: Resource, parsed: dict[str, Any]) -> None:
    """Notice, nginx's answers, the server's, and then what processes may take to stop."""
    longest = (
        parsed["notice_seconds"]
        + parsed["timeout"]
        + gateway.GRACE_SECONDS
        + parsed["drain_seconds"]
        + processes.STOP_SECONDS
        + processes.KILL_SECONDS
    )
    assert pod["terminationGracePeriodSeconds"] > longest
    readiness = pod["containers"][0]["readinessProbe"]
    seen = readiness["periodSeconds"] * readiness["failureThreshold"]
    assert parsed["notice_seconds"] > seen
    strategy = resources["deployment.yaml"]["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_files_are_where_they_are_mounted(pod: Resource, arguments: list[str], image: Any) -> None:
    agree_on_volumes(pod)
    (container,) = pod["containers"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    files = [each.rpartition("=")[2] for each in arguments if "/" in each]
    assert len(files) == 4
    for file in files:
        (mount,) = (path for path in mounts if Path(path) in Path(file).parents)
        assert mounts[mount]["readOnly"] is True
    # What may be written, and nothing else: the file system is read-only.
    writable = {path for path, each in mounts.items() if not each.get("readOnly")}
    entry = image.command("ENTRYPOINT")
    assert writable == {entry[entry.index("--state") + 1], "/tmp"}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert all("emptyDir" in volumes[mounts[path]["name"]] for path in writable)
    # The image is told the same, where nobody says otherwise.
    assert [each.rpartition("=")[2] for each in arguments if "falconet/" in each] == [
        each for each in image.command("CMD") if "/etc/falconet/" in each
    ]
    claim = volumes["models"]["persistentVolumeClaim"]
    assert claim["readOnly"] is True


def test_claims_and_secrets_agree(resources: Resources, pod: Resource, repository: Path) -> None:
    volumes = {each["name"]: each for each in pod["volumes"]}
    claim = resources["models.yaml"]
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "ReadOnlyMany" in claim["spec"]["accessModes"]
    (loaded,) = resources["loader.yaml"]["spec"]["volumes"]
    assert loaded["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    page = (repository / "docs" / "deployment.md").read_text()
    for name in ("keys", "tls"):
        secret = volumes[name]["secret"]["secretName"]
        assert re.search(rf"kubectl create secret \w+ {secret} ", page), secret


def test_the_name_of_the_archive_is_the_models(
    arguments: list[str], resources: Resources, exported: Path, tmp_path: Path
) -> None:
    """Versions are told apart by their folders, as the file's name is the model's."""
    path = Path(arguments[0])
    assert path.is_relative_to("/models/1.0")
    archive(exported, tmp_path / path.name, handler=ENTRY, serving=Serving())
    assert identify(tmp_path / path.name).version == path.parent.name
    query = resources["keda/scaledobject.yaml"]["spec"]["triggers"][0]["metadata"]["query"]
    assert f'model_name="{path.stem}"' in query


def test_pods_have_the_cores_that_they_ask_for(pod: Resource, parsed: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    resources = container["resources"]
    assert parsed["workers"] == int(resources["limits"]["cpu"])
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
