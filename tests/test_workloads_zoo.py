"""Named networks against published parameter counts and multiply-accumulates (MACs) worked out by hand."""

import pytest

from workloads.catalog import load, names
from workloads.ops import GemmOp, Role, Stage
from workloads.trace import Trace

# Parameters: as published by torchvision (ResNet, VGG, ViT-B/16), Hugging Face (BERT) and the common CIFAR variants.
# MACs: by hand formula, every convolution and linear layer out_pixels x cin x taps x cout (bias not counted), the two
# attention products 2 x layers x tokens^2 x width. Training: 3 x forward, less the input gradient of the first layer.
# network, options, parameters, forward MACs, training MACs, first-layer MACs, attention MACs (all per sample)
GOLDEN = [
    ("resnet18", {}, 11_689_512, 1_814_073_344, 5_324_206_080, 118_013_952, 0),
    ("resnet50", {}, 25_557_032, 4_089_184_256, 12_149_538_816, 118_013_952, 0),
    ("resnet18-cifar", {"classes": 10}, 11_173_962, 555_422_720, 1_664_498_688, 1_769_472, 0),
    ("vgg16-cifar", {"classes": 10}, 14_728_266, 313_201_664, 937_835_520, 1_769_472, 0),
    ("vgg19-cifar", {"classes": 100}, 20_086_692, 398_182_400, 1_192_777_728, 1_769_472, 0),
    ("vit-base", {}, 86_567_656, 17_563_828_224, 52_575_879_168, 115_605_504, 715_327_488),
    ("vit-small-cifar", {"classes": 100}, 21_376_996, 1_420_343_808, 4_259_851_776, 1_179_648, 38_937_600),
    ("bert-base", {"seq_len": 128}, 109_482_240, 11_174_215_680, 33_522_647_040, 0, 301_989_888),
]

PUBLISHED_PARAMS = {
    "resnet34": 21_797_672,  # torchvision
    "vgg16": 138_357_544,  # torchvision
    "vgg19": 143_667_240,  # torchvision
    "vit-tiny": 5_717_416,  # timm vit_tiny_patch16_224
    "vit-small": 22_050_664,  # timm vit_small_patch16_224
    "vit-base": 86_567_656,  # timm vit_base_patch16_224
    "deit-tiny": 5_717_416,  # timm deit_tiny_patch16_224
    "deit-small": 22_050_664,  # timm deit_small_patch16_224
    "deit-base": 86_567_656,  # timm deit_base_patch16_224
    "gpt2-small": 124_439_808,  # Hugging Face gpt2, tied head
    "resnet34-cifar": 21_282_122,  # kuangliu/pytorch-cifar
    "resnet50-cifar": 23_520_842,  # kuangliu/pytorch-cifar
}


def macs(trace: Trace, keep) -> int:
    total = sum(op.dense_macs for op in trace.gemms(Stage.FF) if keep(op))
    assert total % trace.batch == 0
    return total // trace.batch


def is_attention(op: GemmOp) -> bool:
    return op.a is Role.ACTIVATION and op.b is Role.ACTIVATION


@pytest.mark.parametrize(("name", "options", "params", "forward", "training", "first", "attention"), GOLDEN)
def test_golden_totals(name, options, params, forward, training, first, attention):
    trace = load(name, batch=2, **options)
    first_layers = {layer.name for layer in trace.layers if layer.first}
    assert trace.params == params
    assert trace.forward_macs_per_sample == forward
    assert trace.training_macs_per_sample == training
    assert macs(trace, lambda op: op.layer in first_layers) == first
    assert macs(trace, is_attention) == attention


@pytest.mark.parametrize(("name", "params"), PUBLISHED_PARAMS.items())
def test_published_parameter_counts(name, params):
    assert load(name, batch=1).params == params


def test_resnet9_by_hand():
    # Weights: 27 x 64, then 3 x 3 kernels 64-128, 128-128 (2), 128-256, 256-512, 512-512 (2), head 512 x 10 without
    # bias; BatchNorm 2 x (64 + 3 x 128 + 256 + 3 x 512).
    weights = 27 * 64 + 9 * (64 * 128 + 2 * 128 * 128 + 128 * 256 + 256 * 512 + 2 * 512 * 512) + 5120
    trace = load("resnet9", batch=3)
    assert trace.params == weights + 2 * (64 + 3 * 128 + 256 + 3 * 512) == 6_573_120
    # Maps: 32x32 for the stem and the first 64x128, then 16, 8 (256 wide reads 16), 4 after each pooling.
    convs = 1024 * (27 * 64 + 9 * 64 * 128) + 256 * 9 * (2 * 128 * 128 + 128 * 256)
    convs += 64 * 9 * 256 * 512 + 16 * 9 * 2 * 512 * 512
    assert trace.forward_macs_per_sample == convs + 5120


def test_gpt2_head_is_a_product_without_parameters_of_its_own():
    trace = load("gpt2-small", batch=1, seq_len=64)
    head = next(layer for layer in trace.layers if layer.name == "lm_head")
    assert (head.params, head.weight_params, head.tied_to) == (0, 0, "wte")
    # 12 blocks of 12 x 768^2 weights and two 64 x 64 x 768 attention products each, and the head.
    assert trace.forward_macs_per_sample == 64 * 12 * 12 * 768**2 + 12 * 2 * 64 * 64 * 768 + 64 * 768 * 50_257


def test_mlp_sizes():
    trace = load("mlp:100x50x10", batch=4)
    assert trace.params == 100 * 50 + 50 + 50 * 10 + 10
    assert trace.forward_macs_per_sample == 100 * 50 + 50 * 10
    assert trace.training_macs_per_sample == 2 * 100 * 50 + 3 * 50 * 10


def test_gemm_has_all_three_stages_and_its_update():
    trace = load("gemm:640x32x16")
    assert [op.name for op in trace.ops] == ["gemm.ff", "gemm.bp", "gemm.wu", "gemm.update"]
    shapes = [(op.gemms[0].i, op.gemms[0].k, op.gemms[0].j) for op in trace.gemms()]
    assert shapes == [(640, 32, 16), (640, 16, 32), (32, 640, 16)]
    assert trace.batch == 1
    assert trace.params == 32 * 16


@pytest.mark.parametrize("name", names())
def test_every_network_scales_with_the_batch(name):
    small, large = load(name, batch=1), load(name, batch=4)
    assert small.training_macs_per_sample == large.training_macs_per_sample
    assert small.params == large.params
    assert [op.name for op in small.ops] == [op.name for op in large.ops]


def test_classes_and_input_size_change_what_they_should():
    base, more = load("resnet18", classes=1000), load("resnet18", classes=2000)
    assert more.params - base.params == 1000 * 513
    assert load("vgg16", input_size=256).params == load("vgg16").params  # pooled to 7 x 7
    # ViT: a larger image has more positions, 16 x 16 + 1 against 14 x 14 + 1, each of width 192.
    assert load("vit-tiny", input_size=256).params - load("vit-tiny").params == (256 - 196) * 192
