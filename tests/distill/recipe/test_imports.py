"""`imports`: modules and files that are there before a recipe's names are looked up."""

import sys

import pytest
import yaml

from distill.methods.registry import METHODS
from distill.recipe.files import as_recipe, load_recipe
from distill.recipe.imports import import_all, import_modules
from tests.distill.conftest import values_of
from xkd_eval.errors import XkdError

METHOD = """
from distill.methods import register
from distill.methods.cross_entropy import CrossEntropy

@register
class Mine(CrossEntropy):
    name = "{name}"
"""


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """What is imported here is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_file_is_found_beside_the_recipe_and_known_by_its_own_name(clean, tmp_path, monkeypatch, cifar10):
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "mine_one.py").write_text(METHOD.format(name="my_ce"))
    values = values_of(cifar10, imports=["mine_one.py"], losses=[{"method": "my_ce"}])
    (folder / "base.yml").write_text(yaml.safe_dump({"recipe": values}))
    (folder / "mine.yaml").write_text("extends: base.yml\nrecipe: {epochs: 3}\n")
    recipe = load_recipe("deep/mine.yaml")
    assert recipe.imports == (str(folder / "mine_one.py"),)
    import_modules(recipe)
    assert METHODS["my_ce"] is sys.modules["mine_one"].Mine
    assert METHODS["py:mine_one:Mine"] is METHODS["my_ce"]
    # The same training, wherever the file lies.
    elsewhere = recipe.model_copy(update={"imports": ("/elsewhere/mine_one.py",)})
    assert elsewhere.identity() == recipe.identity()
    assert recipe.model_copy(update={"imports": ("json",)}).identity() != recipe.identity()


def test_overrides_and_values_name_files_from_here(clean, tmp_path, cifar10):
    expected = (str(tmp_path / "a.py"), "json")
    assert load_recipe("quickstart/kd", ["imports=[a.py, json]"]).imports == expected
    assert as_recipe(values_of(cifar10, imports=["a.py", "json"])).imports == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.py", None, r"imports: '.*none.py' does not exist; give a file, or a module as package.module"),
        ("my-net.py", "", r"imports: 'my-net.py' can be no module's name"),
        ("json.py", "", r"imports: '.*json.py' is called as another module, json; rename the file"),
        ("fails.py", "1 / 0", r"imports: fails.py cannot be imported \(ZeroDivisionError: division by zero\)"),
        ("no.such.module", None, r"imports: no.such.module cannot be imported \(ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_imported_is_one_line(clean, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(XkdError, match=f"^{message}"):
        import_all([name])
