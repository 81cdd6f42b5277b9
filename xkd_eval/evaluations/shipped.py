"""The tests of this project, in the order in which tables show them; importing this module makes them known."""

from __future__ import annotations

from xkd_eval.evaluations import register_test
from xkd_eval.evaluations.adcc.test import AdccTest
from xkd_eval.evaluations.agreement.test import AgreementTest
from xkd_eval.evaluations.aopc.test import AopcTest
from xkd_eval.evaluations.arcc.test import ArccTest
from xkd_eval.evaluations.complexity.test import ComplexityTest
from xkd_eval.evaluations.confidence.test import ConfidenceTest
from xkd_eval.evaluations.faithfulness.test import FaithfulnessTest
from xkd_eval.evaluations.fidelity.test import FidelityTest
from xkd_eval.evaluations.grid_pointing.test import GridPointingTest
from xkd_eval.evaluations.infidelity.test import InfidelityTest
from xkd_eval.evaluations.insertion_deletion.test import InsertionDeletionTest
from xkd_eval.evaluations.irof.test import IrofTest
from xkd_eval.evaluations.localisation.test import LocalisationTest
from xkd_eval.evaluations.perturbation.test import PerturbationTest
from xkd_eval.evaluations.pixel_flipping.test import PixelFlippingTest
from xkd_eval.evaluations.randomisation.test import RandomisationTest
from xkd_eval.evaluations.road.test import RoadTest
from xkd_eval.evaluations.robustness.test import RobustnessTest
from xkd_eval.evaluations.segmentation.test import SegmentationTest
from xkd_eval.evaluations.sic.test import SicTest
from xkd_eval.evaluations.stability.test import StabilityTest

SHIPPED = (
    PerturbationTest,
    SegmentationTest,
    FidelityTest,
    AgreementTest,
    ConfidenceTest,
    InsertionDeletionTest,
    LocalisationTest,
    RoadTest,
    AdccTest,
    ArccTest,
    PixelFlippingTest,
    AopcTest,
    IrofTest,
    SicTest,
    GridPointingTest,
    RandomisationTest,
    RobustnessTest,
    InfidelityTest,
    ComplexityTest,
    FaithfulnessTest,
    StabilityTest,
)

for _test in SHIPPED:
    register_test(_test)
