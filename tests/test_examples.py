"""What the README and `examples/` show works and prints what they say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_array_sizes_example() -> None:
    lines = run("examples/array_sizes.py", "resnet9", "2").splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["8x8", "16x16", "32x32", "64x64"]
    rates = [float(line.split()[1]) for line in lines[2:]]
    assert rates == sorted(rates)


def test_readme_python() -> None:
    simulating, training = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    total_cycles, speedup = run("-c", simulating).split()
    assert int(total_cycles) > 0
    assert 1 < float(speedup) < 2
    # ResNet-9: seven convolutions after the stem are sparse in both passes, the head of 10 classes in the first only.
    assert int(run("-c", training)) == 15


def test_readme_commands_exist() -> None:
    from codesign.cli import COMMANDS

    blocks = "".join(re.findall(r"```\n(.*?)```", README, re.DOTALL))
    used = set(re.findall(r"^codesign (\w+)", blocks, re.MULTILINE))
    assert used <= set(COMMANDS)
    assert {"simulate", "schedule", "headline"} <= used


@pytest.mark.slow
def test_readme_headline_is_what_the_command_prints() -> None:
    printed = json.loads(run("-m", "codesign", "headline", "--json"))
    for network, speedup in printed["speedup_vs_dense"].items():
        assert re.search(rf"\| {network} .*\| +{speedup:.3f}x \|", README), (network, speedup)
    assert f"mean speedup is {printed['mean_speedup']:.3f}x" in README
