"""Networks are built with random weights by the dozen; none of these tests asks how the weights are spread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.quick_weights import quick_weights


@pytest.fixture(scope="package", autouse=True)
def _quick_weights() -> Iterator[None]:
    with quick_weights():
        yield
