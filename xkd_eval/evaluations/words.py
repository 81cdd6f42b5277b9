"""The words of rules that several tests share, for their options: command lines read these without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from xkd_eval.arguments import Within

Form = Literal["minmax", "relu", "lowres", "magnitude", "absolute", "cubic"]
"""Of a map, see forms.py."""

Fill = Literal["black", "mean", "blur", "rise_blur", "reflecting_blur"]
"""What a removed pixel becomes, see removal.py."""

MOST = 10**6
"""Steps, samples or parts of an image that may be asked for: more would fill the memory before any is refused."""

Count = Annotated[int, Within(1, MOST)]
"""A number of steps or parts."""

Answer = Literal["probability", "logit"]
"""What is read of a network, see removal.py."""
