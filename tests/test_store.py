"""labkit.store: what is saved is loaded; a long run that is cut off goes on, damaged files count
for nothing.
"""

import pytest
import torch

import labkit as lk
from course import Lab
from course.chapters.sparsity import network
from labkit.base import LabError


def counted(folder, fail_at=None):
    """A function that leaves a line a call, and stops the run at one item."""
    log = folder / "calls.txt"

    def work(item):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{item}\n")
        if item == fail_at:
            raise LabError("the machine was switched off")
        return {"item": item, "third": item / 3, "nothing": float("nan"), "pair": [item, "x"]}

    return work, lambda: sorted(map(int, log.read_text().split()))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_loop_goes_on_and_ends_the_same(tmp_path, workers):
    work, calls = counted(tmp_path, fail_at=4)
    with pytest.raises(LabError, match="switched off"):
        lk.training.parallel(work, range(6), workers, keep=tmp_path / "kept")
    done = {int(p.stem.split("-")[1]) for p in (tmp_path / "kept").glob("*.json")}
    assert {0, 1, 2, 3} <= done | {5} and 4 not in done
    work, calls = counted(tmp_path)
    again = lk.training.parallel(work, range(6), workers, keep=tmp_path / "kept")
    assert sorted(set(calls())) == list(range(6)) and calls().count(4) == 2
    assert all(calls().count(i) == 1 for i in done), "what was kept is not computed again"
    # NaN does not equal itself, its text does
    assert str(again) == str(lk.training.parallel(work, range(6)))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1]
                                    + bytes([b[-1] ^ 1]), lambda b: b""])
def test_a_damaged_file_is_computed_again(tmp_path, damage):
    work, calls = counted(tmp_path)
    lk.training.parallel(work, [7], keep=tmp_path / "kept")
    [path] = (tmp_path / "kept").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    [value] = lk.training.parallel(work, [7], keep=tmp_path / "kept")
    assert value["item"] == 7 and calls() == [7, 7]


def test_a_kept_network_is_the_same_network_and_takes_its_seconds_along(tmp_path):
    torch.manual_seed(0)
    trained, calls = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)), []
    trained[1].running_mean += 5  # a buffer

    def train():
        calls.append(1)
        return trained

    def fresh():
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))

    first, seconds = network(tmp_path, "seed 1, 0.95", fresh(), train)
    second, again = network(tmp_path, "seed 1, 0.95", fresh(), train)
    assert len(calls) == 1 and seconds == again and second is not first and not second.training
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(),
                                                 second.state_dict().values(),
                                                 strict=True))
    network(tmp_path, "seed 2, 0.95", fresh(), train)
    network(None, "seed 1, 0.95", fresh(), train)
    assert len(calls) == 3 and len(list(tmp_path.iterdir())) == 2


def test_the_folder_changes_with_what_the_results_depend_on(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))

    def place(seed=0, profile="full", n=3, dataset="digits", rows=200):
        lab = Lab("sparsity", profile=profile, dataset=dataset, seed=seed)
        lab.settings(quick=dict(n=n))
        lab.load(n_train=rows, n_test=50)
        return lab.unfinished("contest")

    assert place(profile="quick") is None
    folders = [place(), place(seed=1), place(profile="paper"), place(n=4), place(rows=201)]
    assert len(set(folders)) == 5 and place() == folders[0] and folders[0].is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir()), "asking for the folder makes none"


def test_what_is_saved_is_loaded_and_anything_else_is_said(tmp_path):
    tensors = {"a": torch.arange(6).view(2, 3).T, "b": torch.tensor([True]),
               "c": torch.ones(2, dtype=torch.bfloat16)}
    about = {"a, \"sha256\": \"": [0.1, float("inf"), None, "ß\n"], "n": {"1": 2}}
    for beside in (None, tmp_path / "x.safetensors"):
        lk.store.save(tmp_path / "new" / "x.json", about, tensors, beside)
        said, found = lk.store.load(tmp_path / "new" / "x.json", beside)
        assert said == about and found.keys() == tensors.keys()
        assert all(torch.equal(found[k], t) and found[k].dtype == t.dtype for k,
                   t in tensors.items())
    assert [p.name for p
            in (tmp_path / "new").iterdir()] == ["x.json"], "nothing half written is left"
    lk.store.save(tmp_path / "y.json", about)
    assert lk.store.load(tmp_path / "y.json") == (about, {})
    (tmp_path / "z.json").write_bytes((tmp_path / "y.json").read_bytes().replace(b"0.1", b"0.2"))
    (tmp_path / "text").write_text("{}")
    for name, words in (("none", "is missing"), ("new", "cannot be read"),
                        ("text", "cannot be read"),
                        ("z.json", "is damaged: its checksum does not fit")):
        with pytest.raises(LookupError, match=f"^{words}$"):
            lk.store.load(tmp_path / name)
    with pytest.raises(LookupError, match="is missing"):
        lk.store.load(tmp_path / "y.json", tmp_path / "none")
    with pytest.raises(LabError, match="cannot be written"):
        lk.store.save(tmp_path / "text" / "x.json", about)
