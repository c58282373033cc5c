"""`codesign export`: recorded steps of real runs become Vitis projects that hold."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import succeed
from hls_runs import SMALL, host_program, record
from train_runs import contents

from codesign.compute.formats import Format
from codesign.verify import loss_scale
from hls.program.assembly import assemble
from hls.program.encoding import Program
from hls.recorded import recorded_step
from hls.toolchain import HLS
from hw_models.arch import load_arch
from workloads.recording import load_tensors
from workloads.run_trace import load_run_trace

STEP = ("y", "dw", "weight", "momentum", "next_weight16")
SPARSE = ("weight_ff_values", "weight_ff_indices", "weight_bp_values", "weight_bp_indices", "dx")
NEXT = tuple(f"next_{name}" for name in SPARSE if name != "dx")
needs_gxx = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("make")), reason="needs g++ and make"
)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    return record(tmp_path_factory.mktemp("mlp"))


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    layers = ("prep", "layer1.conv", "fc")
    folder = tmp_path_factory.mktemp("conv")
    return record(folder, model="resnet9", input_size=8, batch=4, steps=2, record_tensors=layers)


@pytest.fixture(scope="module")
def project(mlp, tmp_path_factory):
    """An exported project, and what the command printed as JSON."""
    folder = tmp_path_factory.mktemp("export") / "sat"
    printed = succeed("export", "--trace", mlp, "--out", folder, *SMALL, "--json")
    return folder, json.loads(printed)


# -- what is exported -----------------------------------------------------------------------------------------------


def test_every_pass_of_every_layer_is_compared(project):
    _, printed = project
    expected = {f"{layer}/{what}" for layer in ("fc1", "fc2", "fc3") for what in STEP}
    expected |= {f"{layer}/{what}" for layer in ("fc2", "fc3") for what in (*SPARSE, *NEXT)}
    assert set(printed["tensors"]) == expected
    assert printed["tensors"]["fc2/y"] == 64 * 32
    assert [(each["layer"], each["stage"], each["nm"]) for each in printed["passes"]] == [
        ("fc1", "ff", None),
        ("fc1", "wu", None),
        *(
            (layer, *stage)
            for layer in ("fc2", "fc3")
            for stage in (("ff", "2:8"), ("bp", "2:8"), ("wu", None))
        ),
    ]
    assert printed["csim"] is None


def test_array_cycles_are_near_the_schedule(project):
    """Same tiles, same array: they differ in skews and pipeline depths, which matter less the longer a pass is."""
    for each in project[1]["passes"]:
        assert abs(each["array_cycles"] - each["scheduled_cycles"]) < 300 + 0.05 * each["scheduled_cycles"]


def test_packet_cycles_by_hand(project):
    """FF of fc1, 64 x 64 x 64 in one tile of a 4 x 4 array, OS, dense; packets of the loads, the GEMM, the store.

    LOAD_A: 16 blocks of 4 pixels, 2 pieces of 32: 4 cycles to read, 32 / 4 to place. LOAD_B: 16 blocks of 4 columns,
    2 pieces: 4 to read, 32 to place. STORE: 64 rows, 2 pieces: 32 / 4 to gather, 1 to send.
    """
    first = project[1]["passes"][0]
    assert (first["gemms"], first["dataflow"]) == (1, "os")
    load_a, load_b, store = 16 * 2 * (4 + 8), 16 * 2 * (4 + 32), 64 * 2 * (1 + 8)
    assert first["packet_cycles"] == max(load_a, load_b) + first["array_cycles"] + store


def test_the_project_is_complete_and_its_manifest_is_true(project):
    folder, printed = project
    files = contents(folder)
    assert set(files) == set(printed["files"])
    usual = (
        "Makefile",
        "README.md",
        "hls_config.cfg",
        "run_hls.tcl",
        "connectivity.cfg",
        "xrt.ini",
        "program.txt",
    )
    sources = (
        "src/sat.cpp",
        "src/config.hpp",
        "tb/sat_tb.cpp",
        "host/host.cpp",
        "host/run.py",
        "csim/hls_stream.h",
    )
    assert {*usual, *sources} <= set(files)
    manifest = json.loads(files["tb/manifest.json"])
    assert manifest["layers"] == ["fc1", "fc2", "fc3"]
    assert manifest["sha256"] == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != "tb/manifest.json"
    }
    assert not any(
        b"@" + name + b"@" in content for content in files.values() for name in (b"PART", b"PLATFORM")
    )


def test_text_and_words_are_the_same_program(project):
    folder, printed = project
    program = Program.from_bytes((folder / "tb/data/program.bin").read_bytes())
    assert assemble((folder / "program.txt").read_text()) == program
    assert len(program.instructions) == printed["instructions"]
    text = (folder / "program.txt").read_text()
    assert "fc1/x uint16 [64, 64]" in text and "# fc2 FF: os, 2:8" in text


def test_every_source_file_of_the_kernels_is_there(project):
    folder, _ = project
    for source in [*(HLS / "kernels").glob("*.hpp"), HLS / "kernels/sat.cpp"]:
        assert (folder / "src" / source.name).read_bytes() == source.read_bytes()


def test_the_same_input_gives_the_same_bytes(project, mlp, tmp_path):
    succeed("export", "--trace", mlp, "--out", tmp_path / "again", *SMALL)
    assert contents(tmp_path / "again") == contents(project[0])


def test_part_platform_and_clock_reach_the_build_files(mlp, tmp_path):
    options = ("--part", "xcu250-figd2104-2L-e", "--platform", "my_u250", "--clock", "250")
    succeed("export", "--trace", mlp, "--out", tmp_path / "p", *SMALL, *options)
    configuration = (tmp_path / "p/hls_config.cfg").read_text().splitlines()
    assert configuration[0] == "part=xcu250-figd2104-2L-e"
    assert "clock=4ns" in configuration
    assert "create_clock -period 4ns" in (tmp_path / "p/run_hls.tcl").read_text()
    assert "PLATFORM ?= my_u250" in (tmp_path / "p/Makefile").read_text()


@needs_gxx
def test_csim_of_convolutions_matches(convolutions, tmp_path):
    """Three layers of a small network, in buffers that force several tiles, by the project's own Makefile."""
    buffers = {"activation": 65536, "weight": 65536, "output": 32768}
    tight = [f"buffers.{name}.capacity_bytes={size}" for name, size in buffers.items()]
    tight += [f"buffers.{name}.banks=4" for name in buffers]
    options = [word for text in tight for word in ("--set", text)]
    printed = succeed(
        "export", "--trace", convolutions, "--out", tmp_path / "my project", *SMALL, *options, "--csim"
    )
    assert "29 tensors of 494,824 elements match codesign.functional bit for bit" in printed
    assert "all match, bit for bit" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my project"]
    assert not (tmp_path / "my project/build").exists()


def test_make_help_lists_the_targets(project):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = subprocess.run(["make", "-C", str(project[0]), "help"], capture_output=True, text=True, check=True)
    assert all(f"make {target}" in done.stdout for target in ("csim", "hls", "host", "build", "run", "clean"))


# -- the golden data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_of", ["mlp", "convolutions"])
def test_expected_results_are_near_pytorch(run_of, request):
    """So they are the right tensors, in the layout that the names say, freed of the loss scale."""
    folder = request.getfixturevalue(run_of)
    recording = load_tensors(folder)
    golden = recorded_step(load_arch("sat"), load_run_trace(folder), recording)
    scale = loss_scale(recording, Format.FP16)
    compared = 0
    for layer, tensors in recording.layers.items():
        pairs = {"y": ("output", 1.0), "dx": ("input_gradient", scale), "dw": ("weight_gradient", scale)}
        for name, (recorded, factor) in pairs.items():
            if recorded in tensors:
                found = golden.expected[f"{layer}/{name}"].view(np.float16).astype(np.float64) / factor
                near(found, tensors[recorded], filters=name == "dw")
                compared += 1
        near(golden.expected[f"{layer}/weight"], tensors["weight_after"], filters=True)
        near(golden.expected[f"{layer}/momentum"], tensors["momentum_after"], filters=True)
    assert compared == 8


def near(found, recorded, filters):
    """On average within 1 %: of weights that are equal in FP16, another one may be kept. Memory has channels last."""
    if filters:
        expected = recorded.reshape(*recorded.shape[:2], -1).transpose(0, 2, 1)
    else:
        expected = recorded.transpose(0, 2, 3, 1) if recorded.ndim == 4 else recorded
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 0.01 * np.abs(expected).mean()


# -- where it is written -------------------------------------------------------------------------------------------


def test_force_replaces_a_project(project, mlp, tmp_path):
    out = tmp_path / "project"
    shutil.copytree(project[0], out)
    (out / "stray.txt").write_text("of an older export")
    succeed("export", "--trace", mlp, "--out", out, *SMALL, "--force")
    assert contents(out) == contents(project[0])


def test_an_empty_folder_is_used(project, mlp, tmp_path):
    succeed("export", "--trace", mlp, "--out", tmp_path, *SMALL)
    assert contents(tmp_path) == contents(project[0])


# -- host programs on a card that is played by the kernel ------------------------------------------------------------


@pytest.mark.slow
@needs_gxx
def test_the_host_program_runs_the_kernel(project, tmp_path):
    folder, _ = project
    host = host_program(folder, tmp_path)
    data = tmp_path / "data"
    shutil.copytree(folder / "tb/data", data)
    done = subprocess.run([str(host), "sat.xclbin", str(data)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n0 of" in done.stdout
    expected = (data / "expected.bin").read_bytes()
    (data / "expected.bin").write_bytes(b"\x01" + expected[1:])
    done = subprocess.run([str(host), "sat.xclbin", str(data)], capture_output=True, text=True)
    assert done.returncode == 1 and "1 of" in done.stdout
    (data / "program.bin").write_bytes(bytes(64))
    done = subprocess.run([str(host), "sat.xclbin", str(data)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "the kernel refused the program: outcome 2\n")


def test_the_python_host_program(project, tmp_path):
    """Its protocol, on a card that knows the result."""
    data = project[0] / "tb/data"
    for result, status in (("expected.bin", 0), ("memory.bin", 1)):
        shutil.copy(Path(__file__).parent / "hls_pyxrt_stub.py", tmp_path / "pyxrt.py")
        command = [sys.executable, str(project[0] / "host/run.py"), "sat.xclbin", str(data)]
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "STUB_RESULT": str(data / result)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (status, "")
        assert done.stdout.startswith("0 of") == (status == 0)
