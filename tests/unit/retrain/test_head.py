"""Which row of a class head goes where when classes have changed, on a real network."""

from __future__ import annotations

from retrain.training import head

TRAINED, FORMERLY, RETIRED = ["scratch", "dent", "dust", "hair"], {"dent": "bump", "dust": "dirt"}, ["hair"]
WANTED = ["scratch", "bump", "dirt", "hair", "crack"]


def test_rows_follow_their_class_and_not_its_name() -> None:
    assert head.rows(TRAINED, WANTED, FORMERLY, RETIRED) == [0, 1, 2, None, None]
    assert head.rows(WANTED, WANTED, FORMERLY, []) == [0, 1, 2, 3, 4]  # going on from a checkpoint of the same training
    assert head.rows(["b", "a"], ["a", "b"], {}, []) == [1, 0]
    assert head.rows(["Dent", "dent"], ["dent", "Dent"], {}, []) == [1, 0]  # names that differ in case are two classes


def test_known_rows_are_taken_over_and_new_ones_begin_anew() -> None:
    from retrain.training.train import prepare

    prepare(1)
    import torch
    from ultralytics.nn.tasks import DetectionModel

    def network(names: list[str]) -> DetectionModel:
        made = DetectionModel("yolov8n.yaml", nc=len(names), verbose=False)
        made.names = dict(enumerate(names))
        return made

    old, new = network(TRAINED), network(WANTED)
    for branch in old.model[-1].cv3:
        torch.nn.init.normal_(branch[-1].weight)
        torch.nn.init.normal_(branch[-1].bias)
    fresh = [branch[-1].bias[3:].clone() for branch in new.model[-1].cv3]
    head.load(new, old, head.rows(TRAINED, WANTED, FORMERLY, RETIRED))
    assert (list(old.names.values()), list(new.names.values())) == (TRAINED, WANTED)
    assert torch.equal(new.model[0].conv.weight, old.model[0].conv.weight)
    for mine, theirs, begun in zip(new.model[-1].cv3, old.model[-1].cv3, fresh, strict=True):
        assert torch.equal(mine[-1].weight[:3], theirs[-1].weight[:3]) and torch.equal(mine[-1].bias[:3], theirs[-1].bias[:3])
        assert torch.equal(mine[-1].bias[3:], begun), "they are as unlikely as in a fresh network"
