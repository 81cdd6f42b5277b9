"""Parameter randomisation (Adebayo et al., NeurIPS 2018): redraw what the network has learned, explain it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.means import curve_score, defined_columns, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.randomisation.maps import RandomisedMaps, places_on_curve
from xkd_eval.evaluations.randomisation.options import RandomisationOptions
from xkd_eval.evaluations.randomisation.protocol import PRESETS, RandomisationProtocol, randomisation_protocol
from xkd_eval.evaluations.randomisation.similarity import MEASURES, by_magnitude, complexity, random_logit
from xkd_eval.evaluations.ranks import is_degenerate, upsample
from xkd_eval.evaluations.scores import Columns, Role, ScoreSpec


class RandomisationTest(Evaluation):
    """How alike the maps of the network and of the same network with redrawn layers are.

    Args:
        protocol: the rules.
    """

    name = "randomisation"
    title = "Parameter randomisation"
    citation = "Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018"
    question = "Does the map change when what the network has learned is drawn anew?"
    cost = "1 + 10 E; quantus: 1 + an E a layer"
    takes_label_sets = True
    is_core = True
    in_comparisons = False
    forwards_again = True
    explains_again = True
    about = (
        "A map that stays as it is does not depend on what was learned, and fails. One that changes has passed a check "
        "and no more: a lower similarity is no better explanation."
    )
    presets = PRESETS
    Options = RandomisationOptions
    Protocol = RandomisationProtocol
    protocol: RandomisationProtocol

    @classmethod
    def create(cls, rules: Rules, options: RandomisationOptions) -> Self:
        """See Evaluation.create."""
        return cls(randomisation_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. Lists "..._by_depth" hold one value a depth, NaN where the redrawn map is constant."""
        randomised = RandomisedMaps(batch, self.protocol)
        parts = [self._part(part, randomised) for part in _parts(batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _part(self, batch: Batch, randomised: RandomisedMaps) -> Columns:
        rules, size = self.protocol, self.scored_size(batch.preprocess)
        degenerate = is_degenerate(batch.required_maps()).cpu().numpy()
        clean = upsample(batch.required_maps(), size)
        prepared = {name: MEASURES[name].prepare(clean) for name in rules.measures}
        found: dict[str, list[np.ndarray]] = {name: [] for name in rules.measures}
        void, last = [], clean
        for maps in randomised.of(batch):
            last = upsample(maps, size)
            void.append(is_degenerate(maps).cpu().numpy() | degenerate)
            for name in rules.measures:
                measure = MEASURES[name]
                alike = measure.compare(prepared[name], measure.prepare(last))
                found[name].append(np.where(void[-1], np.nan, alike))
        columns: Columns = {"degenerate": degenerate, "constant_redrawn": np.stack(void, 1).mean(1)}
        for name, by_depth in found.items():
            columns |= self._similarities(f"mprt_{name}", np.stack(by_depth, 1))
        if rules.ends_untrained:
            before, after = (complexity(maps, rules.bins) for maps in (clean, last))
            rise = np.divide(after - before, before, out=np.full(len(before), np.nan), where=before > 0)
            columns["efficient_mprt"] = np.where(void[-1], np.nan, rise)
        if rules.random_logit != "off":
            columns |= self._other_class(batch, clean, degenerate)
        return columns

    def _similarities(self, name: str, by_depth: np.ndarray) -> Columns:
        sums, counts = np.nansum(by_depth, 1), (~np.isnan(by_depth)).sum(1)
        columns = {
            name: np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0),
            f"{name}_curve": by_depth[:, places_on_curve(by_depth.shape[1], self.protocol)],
            f"{name}_by_depth": by_depth,
        }
        if self.protocol.mode == "cascading":
            columns[f"{name}_last"] = by_depth[:, -1]
        return columns

    def _other_class(self, batch: Batch, clean: Tensor, degenerate: np.ndarray) -> Columns:
        n_classes = batch.logits.shape[1]
        if n_classes < 2:
            raise XkdError(
                "random_logit: the network has a single class, and the map of another is compared; set `random_logit` "
                "to off"
            )
        drawn = [
            image_generator(name, self.protocol.weight_seed, "class").integers(n_classes - 1) for name in batch.ids
        ]
        others = torch.tensor(drawn, device=batch.target.device)
        others = others + (others >= batch.target).long()
        maps = batch.explain(batch.images, others, features=batch.features)
        pair = (clean, upsample(maps, self.scored_size(batch.preprocess)))
        alike = random_logit(self.protocol.random_logit, *(by_magnitude(values) for values in pair))
        void = degenerate | is_degenerate(maps).cpu().numpy()
        return {"random_logit": np.where(void, np.nan, alike), "other_class": others.cpu().numpy()}

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        rules = self.protocol
        at_once = rules.ends_untrained and rules.depths == (1.0,)
        headline = "efficient_mprt" if at_once else f"mprt_{rules.measures[0]}"
        return _specs(
            rules.measures,
            rules.abscissae,
            headline,
            cascades=rules.mode == "cascading",
            efficient=rules.ends_untrained,
            other_class=rules.random_logit != "off",
        )

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return {"degenerate": rows["degenerate"], **defined_columns(rows, [spec.name for spec in self.specs()])}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        constant = summary["constant_redrawn"]["value"]
        found = super().notes(summary)
        if constant:
            share = f"{100 * constant:.1f} %"
            found.append(f"{share} of the redrawn networks' maps are constant, so like no map, and left out")
        return found


def _parts(batch: Batch) -> Iterator[Batch]:
    """The photographs of a batch, a chunk of the clean pass at a time."""
    width = batch.network.clean_chunk  # it may become smaller meanwhile
    for start in range(0, len(batch.ids), width):
        places = slice(start, start + width)
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        tensors: dict[str, Any] = {name: value[places] for name, value in values.items() if isinstance(value, Tensor)}
        yield replace(batch, ids=batch.ids[places], **tensors)


@lru_cache(maxsize=32)
def _specs(
    measures: tuple[str, ...],
    abscissae: tuple[float, ...],
    headline: str,
    *,
    cascades: bool,
    efficient: bool,
    other_class: bool,
) -> tuple[ScoreSpec, ...]:
    similarity: dict[str, Any] = {"better": "lower", "range": (-1, 1), "unit": ""}

    def role(name: str, otherwise: Role) -> Role:
        return "headline" if name == headline else otherwise

    found = []
    for measure in measures:
        name, title = f"mprt_{measure}", MEASURES[measure].title
        found.append(mean_score(name, title, role=role(name, "shown"), **similarity))
        if cascades:
            found.append(mean_score(f"{name}_last", f"{title}, last depth", role="compared", **similarity))
        found.append(curve_score(f"{name}_curve", f"{title} by depth", abscissae, role="detail", **similarity))
    if efficient:
        rise: dict[str, Any] = {"better": "higher", "range": (-1, None), "unit": ""}
        how_much = role("efficient_mprt", "compared")
        found.append(mean_score("efficient_mprt", "efficient MPRT, rise in complexity", role=how_much, **rise))
    if other_class:
        found.append(mean_score("random_logit", "random logit, similarity", **similarity))
    found.append(mean_score("constant_redrawn", "redrawn maps that are constant", range=(0, 1), role="detail"))
    return tuple(found)
