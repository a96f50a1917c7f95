import json
from types import SimpleNamespace

import pytest

from eeg2fmri.data.leaks import refuse_leak, training_record
from eeg2fmri.errors import InputError


def entry(subject, checksum):
    name = f"sub-{subject}_task-rest"
    return {"name": name, "subject": subject, "bold": "b.nii", "sources": [{"path": "b.nii", "sha256": checksum}]}


def dataset(folder, split, entries):
    folder.mkdir(exist_ok=True)
    (folder / "index.json").write_text(json.dumps({"runs": entries}))
    own = [one for one in entries if one["subject"] in split]
    return SimpleNamespace(folder=folder, subjects=split, runs=own)


ENTRIES = [entry("001", "a"), entry("002", "b"), entry("003", "c")]


def test_a_training_subject_in_the_test_is_named(tmp_path):
    record = training_record(dataset(tmp_path / "train", ["001", "002"], ENTRIES))
    assert record["training_subjects"] == ["001", "002"]
    refuse_leak(record, dataset(tmp_path / "test", ["003"], ENTRIES))
    with pytest.raises(InputError, match="002, on which the model was trained"):
        refuse_leak(record, dataset(tmp_path / "test", ["002", "003"], ENTRIES))


def test_a_new_run_of_a_training_subject_is_a_leak_and_a_new_label_does_not_hide_one(tmp_path):
    record = training_record(dataset(tmp_path / "train", ["001"], ENTRIES))
    with pytest.raises(InputError, match="001"):
        refuse_leak(record, dataset(tmp_path / "test", ["001", "003"], [entry("001", "new"), entry("003", "c")]))
    with pytest.raises(InputError, match="renamed"):
        refuse_leak(record, dataset(tmp_path / "test", ["renamed"], [entry("renamed", "a")]))


def test_equal_labels_of_another_dataset_are_no_leak(tmp_path):
    record = training_record(dataset(tmp_path / "train", ["001", "002"], ENTRIES))
    refuse_leak(record, dataset(tmp_path / "test", ["001"], [entry("001", "x"), entry("002", "y")]))
    refuse_leak(None, dataset(tmp_path / "test", ["001"], ENTRIES))


def test_a_validation_subject_chose_the_model(tmp_path):
    train, validation = (dataset(tmp_path / "train", split, ENTRIES) for split in (["001"], ["002"]))
    record = training_record(train, validation=validation)
    assert (record["training_subjects"], record["validation_subjects"]) == (["001"], ["002"])
    refuse_leak(record, dataset(tmp_path / "test", ["003"], ENTRIES))
    test = dataset(tmp_path / "test", ["002", "003"], ENTRIES)
    with pytest.raises(InputError, match="found 002, on which the model was validated"):
        refuse_leak(record, test)
    refuse_leak(record, test, parts=["training"])
    with pytest.raises(InputError, match="found 002, on which the model was validated"):
        refuse_leak(training_record(dataset(tmp_path / "new", ["x"], [entry("x", "x")]), [record]), test)
    old = {name: record[name] for name in ("training_subjects", "training_runs", "dataset_runs")}
    refuse_leak(old, test)
