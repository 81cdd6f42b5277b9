"""What a command, or a sweep's file, changes of its recipes, in one order: recipe file < options < `overrides`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.recipe.files import load_recipe
from distill.recipe.imports import beside, import_modules
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import override
from xkd_eval.errors import XkdError


@dataclass(frozen=True)
class RecipeChanges:
    """Changes of one source; what is None stays as the recipe has it.

    Attributes:
        data: the data set's folder or file.
        teacher: a model in place of the recipe's teacher, or for a recipe that distils and names none.
        teacher_weights: a file of weights for the teacher's architecture.
        teacher_engine: what runs the teachers forward: "torch", "auto" or a name; for recipes that distil.
        test_split: fraction that is split off to be tested on.
        val_split: fraction of the training images that is held out.
        select_on_test: keep the epoch that is the best on the test images.
        precision: "fp32", "tf32", "bf16" or "fp16".
        compile: run the networks through torch.compile.
        imports: modules and files beside the recipe's own.
        overrides: "key=value" texts in their order, after all of these: where they say something else, they win.
    """

    data: str | None = None
    teacher: str | None = None
    teacher_weights: Path | None = None
    teacher_engine: str | None = None
    test_split: float | None = None
    val_split: float | None = None
    select_on_test: bool = False
    precision: str | None = None
    compile: bool = False
    imports: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def texts(self, with_teacher: bool = True, teachers: Sequence[str] = ()) -> list[str]:
        """All but `imports` as "key=value" texts.

        Args:
            with_teacher: `teacher` among them.
            teachers: dotted keys of those that are given the engine.

        Raises:
            XkdError: weights without a teacher, or a text that no file of a recipe can hold.
        """
        if self.teacher_weights is not None and self.teacher is None:
            raise XkdError("teacher_weights: needs the architecture as `teacher`, such as timm/resnet18")
        given = [
            ("data", "data.path", self.data),
            ("test_split", "data.test_split", self.test_split),
            ("val_split", "data.val_split", self.val_split),
            ("select_on_test", "select_on_test", self.select_on_test or None),
            ("precision", "precision", self.precision),
            ("compile", "compile", self.compile or None),
        ]
        texts = [override(key, value, name) for name, key, value in given if value is not None]
        if self.teacher is not None and with_teacher:
            weights = None if self.teacher_weights is None else str(self.teacher_weights)
            texts.append(override("teacher.model", self.teacher, "teacher"))
            texts.append(override("teacher.weights", weights, "teacher_weights"))  # none of a former teacher's
        if self.teacher_engine is not None:
            texts += [override(f"{key}.engine", self.teacher_engine, "teacher_engine") for key in teachers]
        return [*texts, *self.overrides]


def changed_recipe(name: str, *sources: RecipeChanges) -> Recipe:
    """A recipe with changes of several sources, the later ones over the earlier; its modules are imported.

    A teacher, and its engine, are only for a recipe that distils: the plain student beside it stays as it is.

    Raises:
        XkdError: no such recipe, changes that make none, or a module that cannot be imported.
    """
    recipe = _loaded(name, sources, with_teacher=True)
    if any(source.teacher is not None for source in sources) and not distils(recipe):
        return _loaded(name, sources, with_teacher=False)
    if any(source.teacher_engine is not None for source in sources) and recipe.named_teachers:
        several = [f"teachers.{key}" for key in recipe.teachers or ()]
        return _loaded(name, sources, with_teacher=True, teachers=several or ["teacher"])
    return recipe


def distils(recipe: Recipe) -> bool:
    """Whether any of a recipe's methods needs a teacher; its modules have been imported."""
    from distill.methods.registry import METHODS  # imports torch, which most commands do without

    return any(METHODS[loss.method].requires for loss in recipe.losses)


def check_seeds(overrides: Sequence[str], what: str) -> None:
    """Refuse a seed among the overrides of runs that have seeds of their own.

    Raises:
        XkdError: begins with `what`, the argument that holds the overrides.
    """
    if found := next((text for text in overrides if text.partition("=")[0] == "seed"), None):
        raise XkdError(f"{what}: {found} found beside `seeds`; give one of the two")


def _loaded(name: str, sources: Sequence[RecipeChanges], with_teacher: bool, teachers: Sequence[str] = ()) -> Recipe:
    recipe = load_recipe(name, [text for source in sources for text in source.texts(with_teacher, teachers)])
    added = beside({"imports": [module for source in sources for module in source.imports]}, Path.cwd())["imports"]
    if added:
        recipe = recipe.model_copy(update={"imports": tuple(dict.fromkeys([*recipe.imports, *added]))})
    import_modules(recipe)
    return recipe
