"""What changes the hash of an experiment's code, and what does not."""

from isthmus.recipes import get_recipe
from isthmus.reproduction import code_fingerprint as module
from isthmus.studies import get_study


def test_it_follows_the_imports_and_the_declared_recipes():
    study = get_study("topk")
    begin = [module._file_of(study.experiment)]
    begin += [module._file_of(get_recipe(name).build_function) for name in study.recipes]
    names = {path.relative_to(module.ROOT).as_posix() for path in module._closure(begin)}
    assert {"studies/sparse/topk.py", "recipes/sparse/topk.py"} <= names
    assert {"training/run.py", "training/stepper.py"} <= names
    assert "kernels/native/rows.c" in names
    assert "recipes/implicit/gon.py" not in names
    assert not any(name.startswith(("cli", "pages/", "reproduction/")) for name in names)


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    texts = ['"""A."""\ndef f():\n    """B."""\n    return 1\n', "def f(): # c\n\n  return 1\n"]
    other = "def f():\n    return 2\n"
    found = []
    for number, text in enumerate([*texts, other]):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        found.append(module._meaning(path))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_it_is_the_same_each_time():
    study = get_study("topk")
    assert module.fingerprint(study) == module.fingerprint(study)


def test_texts_of_a_page_do_not_count_but_its_rules_do(tmp_path):
    page = '@study("a", paper="{}", checks=(Check("large", at_least={}),))\ndef a(trial):\n  pass\n'
    found = []
    for number, text in enumerate([page.format("P", 1), page.format("Q", 1), page.format("P", 2)]):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        found.append(module._meaning(path))
    assert found[0] == found[1]
    assert found[0] != found[2]
