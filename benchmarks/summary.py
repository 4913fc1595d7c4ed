"""Writes the few figures of README.md, from what the other questions have measured.

.venv/bin/python -m benchmarks.summary
"""

from . import document
from .preprocessing.comparison import number, size
from .preprocessing.targets import PIL
from .table import table
from .throughput.figures import best_of, p50_alone, systems_of

TASK = "resnet18"


def rows() -> list[list[str]]:
    """What was measured, Falconet's figure, and the other's."""
    return [_preprocessing(), *_serving(), _deploys(), _accuracy()]


def _preprocessing() -> list[str]:
    jobs = document.load("preprocessing")["jobs"]
    (job,) = (each for each in jobs if each["kind"] == "from JPEG" and size(each) == "500x375")
    found = {each["name"]: each for each in job["contenders"]}
    own = job["contenders"][0]["milliseconds"]["median"]
    other = number(found[PIL]["ratio"]["median"])
    return [
        "JPEG of 500x375 to the network's input, one thread",
        f"**{number(own)} ms**",
        f"{PIL}: {other} times as long",
    ]


def _serving() -> list[list[str]]:
    tasks = document.load("throughput")["tasks"]
    (task,) = (each for each in tasks if each["name"] == TASK)
    ours, _, stock = systems_of(task)[:3]
    own, its = best_of(task, ours), best_of(task, stock)
    own_p50, its_p50 = (1e3 * p50_alone(task, name) for name in (ours, stock))
    return [
        [
            f"{task['title']}: requests/s",
            f"**{own:.0f}**",
            f"TorchServe's own handler: {its:.0f} (Falconet {own / its:.1f}x)",
        ],
        [
            "the same, median latency of one connection",
            f"**{own_p50:.1f} ms**",
            f"TorchServe's own handler: {its_p50:.1f} ms",
        ],
    ]


def _deploys() -> list[str]:
    result = document.load("deploys")
    requests, failed = result["requests_of_all"], sum(result["errors_of_all"].values())
    return [
        f"new versions deployed under {result['rate']:.0f} requests/s: failed requests",
        f"**{failed}** of {requests:,}",
        "",
    ]


def _accuracy() -> list[str]:
    result = document.load("accuracy")
    return [
        f"the included CIFAR-10 model, served in {result['precision']}: top-1 accuracy",
        f"**{100 * result['accuracy']:.2f} %**",
        f"float32: {100 * result['float32']['accuracy']:.2f} %",
    ]


def page() -> str:
    """The table, and where its figures come from."""
    questions = ("preprocessing", "throughput", "deploys", "accuracy")
    sources = ", ".join(f"`{document.command(each)}`" for each in questions)
    return (
        f"{table(['', 'Falconet', 'others'], rows())}\n\nOn a machine with 2 cores; medians; every "
        f"response was checked. Measured by {sources}, on {document.load('accuracy')['machine']}.\n"
    )


def main() -> None:
    document.parser(__doc__).parse_args()
    print(page())
    document.write(document.ROOT / "README.md", "summary", page())


if __name__ == "__main__":
    main()
