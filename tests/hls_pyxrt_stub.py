"""Stand-in for pyxrt: a card that knows the result of every program, in the file STUB_RESULT."""

# ruff: noqa: N801 - names of pyxrt

import os
from pathlib import Path


class xclBOSyncDirection:
    XCL_BO_SYNC_BO_TO_DEVICE, XCL_BO_SYNC_BO_FROM_DEVICE = 0, 1


class bo:
    normal = 0

    def __init__(self, device, size, flags, bank):
        self.host, self.card = bytearray(size), bytearray(size)

    def write(self, data, offset):
        self.host[offset : offset + len(data)] = data

    def read(self, size, offset):
        return memoryview(self.host)[offset : offset + size]

    def sync(self, direction, size, offset):
        source, target = (self.host, self.card) if direction == 0 else (self.card, self.host)
        target[offset : offset + size] = source[offset : offset + size]


class device:
    def __init__(self, number): ...
    def load_xclbin(self, xclbin): ...


def xclbin(path): ...


class kernel:
    shared = 0

    def __init__(self, device, uuid, name, mode):
        assert name == "sat_kernel"

    def group_id(self, argument):
        return 0

    def __call__(self, program, a, b, index, out, report):
        assert bytes(program.card[:4]) == b"SATP" and a is b is index is out
        a.card[:] = Path(os.environ["STUB_RESULT"]).read_bytes()
        report.card[0] = 1
        return self

    def wait(self): ...
