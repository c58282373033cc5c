"""From counts to joules: prices, the sums of every view, the tables' arithmetic, and what is shown."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SAT

from codesign.energy.actions import ACTIONS
from codesign.energy.calibration import arithmetic_factor
from codesign.energy.estimate import EnergyResult, energy_of
from codesign.energy.ranges import Range
from codesign.energy.sources import load_energy_table
from codesign.energy.table import EnergyTable, Price
from codesign.energy.technology import packaged, packaged_technology
from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.report.energy_table import print_energy
from codesign.result import Share, SimResult
from codesign.simulate import simulate
from hw_models.arch import load_arch
from workloads.catalog import load

PRICES = EnergyTable(
    "test",
    "Prices of a test.",
    {
        "multiplier.fp16_multiply": Price(Range(1, 2, 4), "derived"),
        "wuve.fp32_add": Price(Range(10, 10, 10), "measured"),
        "wuve.fp32_multiply": Price(Range(0, 100, 200), "memory"),
        "static.leak": Price(Range(1000, 1000, 1000), "memory"),
    },
)
RESULT = SimResult(
    version="1.2.3",
    arch_name="sat",
    arch_sha256="",
    workload_name="tiny",
    workload_sha256="",
    batch=1,
    params=1,
    forward_macs_per_sample=1,
    training_macs_per_sample=1,
    method="bdwp",
    nm="2:8",
    clock_hz=10**6,
    peak_macs_per_cycle=1,
    total_cycles=2000,
    bound_cycles=1,
    dram_busy_cycles=0,
    stages={"ff": Share(cycles=2000, macs=3_000_000, dense_macs=6_000_000)},
    layers={},
    ops=(),
    actions={
        "conv": {"ff": {"multiplier.fp16_multiply": 3_000_000, "static.leak": 500}},
        "fc": {
            "ff": {"multiplier.fp16_multiply": 1_000_000},
            "wu": {"wuve.fp32_add": 7000, "wuve.fp32_multiply": 1000, "static.leak": 1500},
        },
    },
)
RESNET = simulate(SAT, load("resnet9", batch=2), nm=NM(2, 8))


def resnet_energy(technology: str = "fpga16") -> EnergyResult:
    return energy_of(RESNET, load_energy_table(SAT, technology))


# -- arithmetic ----------------------------------------------------------------------------------------------------


def test_energies_by_hand() -> None:
    # 4,000,000 multiplications at 2 pJ, 7000 additions at 10, 1000 multiplications at 100, 2000 cycles at 1000 pJ:
    # 8 + 0.07 + 0.1 + 2 = 10.17 uJ in 2 ms are 5.085 mW.
    energy = energy_of(RESULT, PRICES)
    components = {name: component.joules.nominal for name, component in energy.components.items()}
    assert components == pytest.approx({"multiplier": 8e-6, "wuve": 0.17e-6, "static": 2e-6})
    assert energy.total_joules.nominal == pytest.approx(10.17e-6)
    assert energy.total_joules.low == pytest.approx(4e-6 + 0.07e-6 + 2e-6)
    assert energy.total_joules.high == pytest.approx(16e-6 + 0.27e-6 + 2e-6)
    assert energy.average_watts.nominal == pytest.approx(5.085e-3)
    assert energy.picojoules_per_mac is not None
    assert energy.picojoules_per_mac.nominal == pytest.approx(10.17 / 3)  # 3,000,000 executed
    assert energy.effective_gops_per_watt.nominal == pytest.approx(6e-3 / 10.17e-6)  # 6,000,000 operations
    assert energy.dense_equivalent_gops_per_watt.nominal == pytest.approx(12e-3 / 10.17e-6)
    assert energy.effective_gops_per_watt.high == pytest.approx(6e-3 / 6.07e-6)  # at the lower prices
    assert energy.layers["fc"]["wu"].nominal == pytest.approx(1.67e-6)
    stages = {stage: joules.nominal for stage, joules in energy.stages.items()}
    assert stages == pytest.approx({"ff": 8.5e-6, "bp": 0, "wu": 1.67e-6, "other": 0})


def test_a_component_rests_on_its_weakest_figure() -> None:
    components = energy_of(RESULT, PRICES).components
    assert {name: component.status for name, component in components.items()} == {
        "multiplier": "derived",
        "wuve": "memory",
        "static": "memory",
    }


@pytest.mark.parametrize("technology", packaged())
def test_every_view_sums_to_the_total(technology: str) -> None:
    energy = resnet_energy(technology)
    assert energy.baseline is not None
    for each in (energy, energy.baseline):
        for end in ("low", "nominal", "high"):
            total = getattr(each.total_joules, end)
            layers = [joules for stages in each.layers.values() for joules in stages.values()]
            assert sum(getattr(joules, end) for joules in layers) == pytest.approx(total, rel=1e-12)
            assert sum(getattr(joules, end) for joules in each.stages.values()) == pytest.approx(
                total, rel=1e-12
            )
        for joules in (
            each.total_joules,
            *layers,
            *(component.joules for component in each.components.values()),
        ):
            assert 0 <= joules.low <= joules.nominal <= joules.high
    assert energy.saving_vs_dense is not None
    assert energy.saving_vs_dense.nominal == pytest.approx(
        energy.baseline.total_joules.nominal / energy.total_joules.nominal
    )


def test_dram_energy_is_bits_times_energy_per_bit() -> None:
    # sat has DDR4: 8.96 and 8.09 pJ/bit, 5545.7 pJ a row of 8 KiB, 0.73 + 0.183 W on each of four channels.
    components, total = resnet_energy().components, RESNET.total
    access = 8 * (8.96 * total.read_bytes + 8.09 * total.write_bytes)
    assert components["dram_access"].joules.nominal == pytest.approx(access / 1e12)
    rows = (total.read_bytes + total.write_bytes) / 8192
    assert components["dram_activation"].joules.nominal == pytest.approx(rows * 5545.7 / 1e12)
    assert components["dram_background"].joules.nominal == pytest.approx(4 * 0.913 * RESNET.latency_s)
    assert components["static"].joules.nominal == pytest.approx(3.0 * RESNET.latency_s)


def test_dram_background_scales_with_the_width_of_a_channel() -> None:
    wide = SAT.with_overrides({"dram.width_bits": 128})
    prices = [load_energy_table(arch, "asic16").prices for arch in (SAT, wide)]
    leaks = [each["dram_background.leak"].picojoules for each in prices]
    assert leaks[1].nominal == pytest.approx(2 * leaks[0].nominal)
    assert leaks[0].nominal == pytest.approx(0.913e12 / 200e6)  # of one cycle at 200 MHz
    assert prices[0]["dram_activation.streamed_bit"] == prices[1]["dram_activation.streamed_bit"]


# -- tables --------------------------------------------------------------------------------------------------------


def test_every_action_has_a_price_in_every_technology() -> None:
    names = {f"{component}.{action}" for component, actions in ACTIONS.items() for action in actions}
    for arch_name in ("sat", "sat-u280", "sat-zynq", "dense"):
        for technology in packaged():
            assert load_energy_table(load_arch(arch_name), technology).prices.keys() == names


def test_asic_energies_are_those_of_45_nm_scaled() -> None:
    base = packaged_technology("asic45").nominal
    # Published at 45 nm; scales of hwcomponents 1.0.114.
    assert [base.fp16_multiply.value.nominal, base.fp32_multiply.value.nominal] == [1.1, 3.7]
    assert [base.fp16_add.value.nominal, base.fp32_add.value.nominal] == [0.4, 0.9]
    for technology, scale in (("asic16", 0.1735), ("asic7", 0.0943)):
        scaled = packaged_technology(technology).nominal
        for name in type(base).model_fields.keys() - {"sram"}:
            expected = getattr(base, name).value.nominal * scale
            assert getattr(scaled, name).value.nominal == pytest.approx(expected, rel=1e-3), (
                technology,
                name,
            )
    multiply_add = packaged_technology("asic16").nominal
    assert multiply_add.fp16_multiply.value.nominal + multiply_add.fp32_add.value.nominal == pytest.approx(
        0.347, abs=5e-4
    )


def test_srams_between_and_beyond_the_table() -> None:
    energies = packaged_technology("asic16").nominal
    assert energies.sram_pj(36864, "read") == pytest.approx(0.0515)
    # Half way between 36 KiB and 256 KiB on a log scale: the geometric mean of both sizes has that of both energies.
    middle = round((36864 * 262144) ** 0.5)
    assert energies.sram_pj(middle, "write") == pytest.approx((0.0424 * 0.091) ** 0.5, rel=1e-5)
    assert energies.sram_pj(64, "read") == pytest.approx(0.0161)
    assert energies.sram_pj(1 << 30, "read") == pytest.approx(0.259)
    # sat: 4 MiB of activations in 32 banks of 128 KiB.
    price = load_energy_table(SAT, "asic16").prices["activation_buffer.read_bit"]
    assert price.picojoules.nominal == pytest.approx(energies.sram_pj(131072, "read"))
    assert price.status == "measured"


def test_the_fpga_factor_follows_from_published_figures() -> None:
    # EF-Train: 46.99 GFLOPS at 6.09 GFLOPS/W are 7.716 W and 23.495 GMAC/s. Less 3.3 (2.0) W: 187.95 (243.3) pJ a
    # MAC. 14 times 0.1561 pJ of storage come off; bare FP32 multiply and add take 0.642 + 0.1561 = 0.7981 pJ.
    # (187.95 - 2.19) / 0.7981 = 232.8; (243.3 - 2.19) / 0.7981 = 302.1.
    factor = arithmetic_factor(packaged_technology("asic16").nominal)
    assert asdict(factor) == pytest.approx({"low": 14, "nominal": 232.8, "high": 302.1}, rel=1e-3)
    stated = packaged_technology("fpga16").arithmetic_factor.value
    assert asdict(stated) == {end: round(value) for end, value in asdict(factor).items()}


def test_the_fpga_multiplies_nominal_asic_energies() -> None:
    asic, fpga = (load_energy_table(SAT, name).prices for name in ("asic16", "fpga16"))
    for key, factors in {
        "multiplier.fp16_multiply": (14, 233, 302),
        "vector_unit.operation": (14, 233, 302),
        "selector.mux_bit": (7, 14, 28),
        "weight_register.read_bit": (7, 14, 28),
        "output_buffer.write_bit": (7, 14, 28),
    }.items():
        nominal = asic[key].picojoules.nominal
        assert asdict(fpga[key].picojoules) == pytest.approx(asdict(Range(*factors) * nominal)), key
    assert fpga["multiplier.fp16_multiply"].status == "memory"
    assert fpga["dram_access.read_bit"] == asic["dram_access.read_bit"]
    assert asic["static.leak"].picojoules == Range(0, 0, 0)


@given(st.integers(0, 4000), st.integers(1, 4000))
def test_an_action_more_costs_its_price(low: int, more: int) -> None:
    def joules(count: int) -> float:
        actions = {"conv": {"ff": {"multiplier.fp16_multiply": count, "static.leak": 1}}}
        return energy_of(replace(RESULT, actions=actions), PRICES).total_joules.nominal

    assert joules(low + more) - joules(low) == pytest.approx(more * 2e-12)


# -- comparisons that must come out right --------------------------------------------------------------------------


def test_sparse_training_saves_arithmetic_energy_as_it_saves_macs() -> None:
    energy = resnet_energy()
    assert energy.baseline is not None and energy.saving_vs_dense is not None
    ratio = RESNET.total.dense_macs / RESNET.total.macs
    dense, sparse = (each.components["multiplier"].joules.nominal for each in (energy.baseline, energy))
    assert dense / sparse == pytest.approx(ratio)
    assert min(asdict(energy.saving_vs_dense).values()) > 1


def test_smaller_nodes_take_less() -> None:
    totals = [resnet_energy(name).total_joules.nominal for name in ("asic7", "asic16", "asic45", "fpga16")]
    assert totals == sorted(totals)


# -- errors and views ----------------------------------------------------------------------------------------------


def test_what_has_no_price_is_named() -> None:
    partial = replace(PRICES, prices={"static.leak": PRICES.prices["static.leak"]})
    with pytest.raises(
        SpecError, match=r"^test: no energy for multiplier.fp16_multiply, wuve.fp32_add, wuve"
    ):
        energy_of(RESULT, partial)
    free = replace(PRICES, prices=dict.fromkeys(PRICES.prices, Price(Range(0, 0, 0), "assumed")))
    with pytest.raises(SpecError, match=r"^test: the lower energies of all that was counted are 0 pJ"):
        energy_of(RESULT, free)


def test_dram_of_an_unknown_kind() -> None:
    exotic = SAT.with_overrides({"dram.kind": "rambus-800"})
    with pytest.raises(
        SpecError, match=r"^sat: energy of DRAM 'rambus-800' is not known, expected .* ddr4, hbm2"
    ):
        load_energy_table(exotic, "asic16")


def test_machine_readable() -> None:
    energy = resnet_energy()
    data = json.loads(json.dumps(energy.as_dict(), allow_nan=False))
    assert data["source"] == "fpga16"
    assert data["total_j"] == asdict(energy.total_joules)
    assert data["average_power_w"]["nominal"] == data["total_j"]["nominal"] / RESNET.latency_s
    assert data["components"]["static"] == {
        "energy_j": asdict(energy.components["static"].joules),
        "status": "memory",
    }
    assert set(data["stages"]) == {"ff", "bp", "wu", "other"}
    assert [row["layer"] for row in data["layers"]] == list(RESNET.actions)
    assert data["saving_vs_dense"]["low"] == data["dense_total_j"]["low"] / data["total_j"]["low"]
    alone = energy_of(replace(RESNET, baseline=None), load_energy_table(SAT, "fpga16")).as_dict()
    assert (alone["dense_total_j"], alone["saving_vs_dense"]) == (None, None)


def test_tables_show_every_component_and_stage() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        print_energy(energy_of(RESULT, PRICES))
    text = out.getvalue()
    cells = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line
    ]
    assert "Energy of an iteration, µJ, with test" in text
    assert ["multiplier", "4.000", "8.000", "16.000", "78.7%", "derived"] in cells
    assert ["total", "6.070", "10.170", "18.270", "100.0%", ""] in cells
    assert ["WU", "1.570", "1.670", "1.770", "16.4%"] in cells
    assert "(0.00303 to 0.00913) W; 590 (328 to 988) effective GOPS/W, 1,180 (657 to 1,977) dense-eq" in text
    assert "3.39 (2.02 to 6.09) pJ a multiply-accumulate" in text
    assert "Prices of a test." in text
    assert "Dense training" not in text
