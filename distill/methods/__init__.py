"""The distillation losses, one file each; importing this package registers them."""

from __future__ import annotations

from distill.methods import (  # noqa: F401 - imported for their registration
    at,
    cat_kd,
    crd,
    cross_entropy,
    dist,
    dkd,
    e2kd,
    exp_kd,
    fitnet,
    kd,
    nst,
    ofd,
    pkt,
    reviewkd,
    rkd,
    sdd,
    sp,
)
from distill.methods.base import Method, Pass, create_method, method_class, method_names

__all__ = ["Method", "Pass", "create_method", "method_class", "method_names"]
