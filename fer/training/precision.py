"""``precision=auto``: bfloat16 where the device computes in it, else float32."""

import logging

import pytorch_lightning as pl
import torch

log = logging.getLogger(__name__)


def settle(precision: str, accelerator: str) -> str:
    """Return the precision for Lightning's Trainer.

    Args:
        precision: ``trainer.precision``; ``auto`` for ``bf16-mixed`` where that is fast, else ``32-true``.
        accelerator: ``trainer.accelerator``.
    """
    if precision != "auto":
        return precision
    gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    cpu = accelerator == "cpu" or (accelerator == "auto" and not gpu and not torch.backends.mps.is_available())
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else cpu and _cpu_has_bf16()
    return "bf16-mixed" if fast else "32-true"


def warn_of_imitation(trainer: pl.Trainer) -> None:
    """Warn of bfloat16 on a processor without instructions for it.

    It converts each number there and back: on an AMD EPYC with AVX2 alone, a convolution took ten times as long as in
    float32.
    """
    if trainer.strategy.root_device.type == "cpu" and trainer.precision.startswith("bf16") and not _cpu_has_bf16():
        log.warning(
            "trainer.precision=%s: this processor has no instructions for bfloat16, which makes training about ten "
            "times as slow as with 32-true; trainer.precision=auto chooses what is fast.",
            trainer.precision,
        )


def _cpu_has_bf16() -> bool:
    """Say whether the processor multiplies bfloat16: AVX-512's or AMX's instructions on x86, bf16 on ARM."""
    has = torch.cpu.get_capabilities()
    return any(has.get(feature, False) for feature in ("avx512_bf16", "amx_bf16", "bf16"))
