"""The words of rules that several tests share, for their options: command lines read these without torch."""

from __future__ import annotations

from typing import Literal

Form = Literal["minmax", "relu", "lowres", "magnitude", "absolute", "cubic"]
"""Of a map, see forms.py."""

Fill = Literal["black", "mean", "blur", "rise_blur", "reflecting_blur"]
"""What a removed pixel becomes, see removal.py."""

Answer = Literal["probability", "logit"]
"""What is read of a network, see removal.py."""
