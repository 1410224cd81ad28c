"""Half precision where the processor computes in it."""

from __future__ import annotations

import torch


def half_where_fast(device: torch.device | str) -> torch.autocast:
    """bfloat16 on GPUs and on CPUs with bfloat16 arithmetic; elsewhere it would be emulated, ten times slower."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda" or _cpu_has_bfloat16())


def _cpu_has_bfloat16() -> bool:
    # Newer than the oldest torch that the project accepts.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
