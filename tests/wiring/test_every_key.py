"""Another value of any key of params.yaml changes what the key names, or is refused."""

import pytest
from faults import leaves
from wiring_project import WEIGHTS, Project
from wiring_table import TRAINED, weights, wires

from pipeline.core.errors import UserError

NOTHING = {"file": WEIGHTS[0], "sha256": 64 * "0"}
KEYS = list(wires(NOTHING, NOTHING))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project(tmp_path_factory.mktemp("wiring"))


@pytest.fixture(scope="module")
def table(project) -> dict:
    return wires(*({"file": name, "sha256": project.sha256(name)} for name in WEIGHTS))


def test_the_table_has_every_key_of_the_schema_and_no_other():
    assert sorted(KEYS) == sorted(key for key, _ in leaves())


@pytest.mark.parametrize("key", KEYS)
def test_another_value_changes_what_the_key_names(project, table, key, monkeypatch):
    wire = table[key]
    other = wire.given | wire.also | {key: wire.other}
    if isinstance(wire.watch, str):
        with pytest.raises(UserError, match=wire.watch):
            project.make(wire.what, other)
        project.make(wire.what, wire.given)
        return
    seen = []
    for changes in (wire.given, other):
        folder = project.make(wire.what, changes)
        monkeypatch.chdir(folder)
        seen.append(wire.watch(folder, wire.what))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("place", TRAINED)
def test_how_often_a_model_is_evaluated_leaves_its_weights_alone(project, place):
    what = place.split(".")[-1]
    more = project.make(what, {f"{place}.training.evaluate_every": 1})
    assert weights(more, what) == weights(project.make(what, {}), what)
