"""The distillation methods, one file each; METHODS imports their files when a name is looked up."""

from __future__ import annotations

from distill.methods.base import Method
from distill.methods.passes import Pass
from distill.methods.registry import METHODS, create_method, register

__all__ = ["METHODS", "Method", "Pass", "create_method", "register"]
