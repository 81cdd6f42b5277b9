"""A test: how much of a map lies above the middle."""

from dataclasses import dataclass

from xkd_eval import Evaluation, ScoreSpec


@dataclass(frozen=True)
class UpperHalfOptions:
    """What the test takes.

    Attributes:
        share: of the height that counts as upper.
    """

    share: float = 0.5


class UpperHalf(Evaluation):
    """Share of the map's positive mass in the upper part."""

    name, title, citation = "upper_half", "Upper half", "nobody, nowhere"
    Options = UpperHalfOptions
    in_comparisons = False

    def __init__(self, protocol, share=0.5):
        super().__init__(protocol)
        self.share = share

    @classmethod
    def create(cls, rules, options):
        """With the share that a user chose."""
        return cls(rules, options.share)

    @classmethod
    def from_description(cls, protocol, settings):
        """As it was run."""
        return cls(cls.Protocol.from_dict(protocol), settings["share"])

    def settings(self):
        """The share."""
        return {"share": self.share}

    def rows(self, batch):
        """One number an image."""
        maps = batch.maps.clamp(min=0)
        upper = maps[:, : round(self.share * maps.shape[1])].sum((1, 2)) / maps.sum((1, 2)).clamp(min=1e-9)
        return {"upper": upper.cpu().numpy()}

    def specs(self):
        """Its mean."""
        return (ScoreSpec("upper", "mass in the upper part", lambda means: means["upper"]),)
