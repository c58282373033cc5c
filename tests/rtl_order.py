"""The documented order of accumulation, written out for the RTL's GEMMs."""

import numpy as np

from codesign.compute.order import Order
from hls.rtl_bench.stimuli import RandomGemm
from hw_models.timing import Dataflow


def in_order(gemm: RandomGemm) -> np.ndarray:
    """Y (i, j) float32, with the products of kept weights added in the documented order."""
    plan, operands = gemm.plan, gemm.operands
    padded = plan.groups * plan.m
    place = (np.arange(plan.groups)[:, np.newaxis] * plan.m + operands.indices).reshape(plan.shape[2], -1)
    weights, kept = np.zeros((plan.shape[2], padded), "<f4"), np.zeros((plan.shape[2], padded), bool)
    np.put_along_axis(weights, place, operands.values.reshape(place.shape).astype("<f4"), axis=1)
    np.put_along_axis(kept, place, True, axis=1)
    a = np.zeros((plan.shape[0], padded), "<f4")
    a[:, : plan.shape[1]] = operands.a

    order = Order.ws(plan.array.rows, plan.m) if plan.dataflow is Dataflow.WS else Order.os()
    visit, ends = order.walk(padded)
    total = np.zeros((plan.shape[0], plan.shape[2]), "<f4")
    with np.errstate(invalid="ignore"):
        for run in np.split(visit, ends[:-1]):
            partial = np.zeros_like(total)
            for k in run:
                partial = np.where(kept[:, k], partial + a[:, k, np.newaxis] * weights[:, k], partial)
            total = total + partial
    return total
