"""What a processor is told to be good for by what Linux says of it."""

from __future__ import annotations

import pytest
import torch

from zslkit.utils import devices
from zslkit.utils.devices import gains_by_bfloat16


@pytest.mark.parametrize(
    ("cpuinfo", "gains"),
    {
        "AMD with bfloat16 products": (
            "vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16",
            True,
        ),
        "Intel with AMX": (
            "vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16 amx_tile",
            True,
        ),
        "Intel, AMX hidden": ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", False),
        "Arm": ("CPU implementer : 0x41\nFeatures : fp asimd bf16", True),
        "no bfloat16": ("vendor_id : AuthenticAMD\nflags : avx2 avx512f", False),
    }.values(),
)
def test_a_processor_gains_by_bfloat16_where_its_products_are_faster(
    cpuinfo: str, gains: bool
) -> None:
    assert gains_by_bfloat16(cpuinfo) is gains


@pytest.mark.parametrize(
    ("precision", "device", "gains", "said"),
    [
        ("bfloat16", "cpu", False, True),
        ("bfloat16", "cpu", True, False),
        ("bfloat16", "cuda", False, False),
        ("float32", "cpu", False, False),
    ],
)
def test_slow_products_are_remarked_with_the_option_to_leave_out(
    precision: str, device: str, gains: bool, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cpu_gains_by_bfloat16", lambda: gains)
    remark = devices.bfloat16_remark(precision, torch.device(device), "--precision")
    assert remark.endswith("leave out --precision bfloat16") is said and bool(remark) is said
