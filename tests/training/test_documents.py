"""Documents out of files, folders and datasets."""

import gzip
import json
import sys

import datasets
import pytest

from training.documents import Document, DocumentError, read_documents, share_of
from training.duplicates import DUPLICATE, NEAR_DUPLICATE, SeenDocuments

ROWS = [
    {"id": "7", "title": "Salt", "text": "Salt was once money.", "url": "https://example.org/7"},
    {"id": "8", "title": "Rope", "text": "Rope is twisted twice.", "url": "https://example.org/8"},
]
HAY = [
    "Hay is cut when the grass is in flower and lies in the sun for two days.",
    "It is turned at noon so that the underside dries as well.",
    "When it rustles it is raked into rows and carried to the barn before the dew falls.",
    "A barn must let the wind through, for damp hay grows warm and may even catch fire by itself.",
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b.txt").write_text("\ufeffA plain text.", encoding="utf-8")
    (tmp_path / "a.md").write_text(
        '---\ntitle: "Bread"\nlicense: CC-BY-4.0\nsource: Village cookbook\n---\n# Bread\n\nFlour first.\n'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.jsonl").write_text(
        json.dumps({"text": "One.", "licence": "MIT"})
        + "\n\n"
        + json.dumps({"doc_id": "two", "chunks": ["Two.", "Three."], "license": "CC0-1.0", "category": "x"})
    )
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    with gzip.open(tmp_path / "z.jsonl.gz", "wt") as file:
        file.write(json.dumps({"id": 9, "text": "Nine.", "title": None}) + "\n")
    return tmp_path


def test_a_folder_is_read_in_order_of_names(folder):
    found = list(read_documents(folder))
    assert [d.id for d in found] == ["a.md", "b.txt", "c-1", "two", "9"]
    assert found[0].markdown
    assert found[0].text.startswith("# Bread")
    assert (found[0].title, found[0].licence, found[0].source) == ("Bread", "CC-BY-4.0", "Village cookbook")
    assert found[1] == Document("b.txt", "A plain text.", title="b", source="b.txt")
    assert found[3] == Document("two", chunks=("Two.", "Three."), licence="CC0-1.0", category="x")
    assert list(read_documents(folder)) == found


def test_a_licence_is_given_to_documents_that_state_none(folder):
    licences = {d.id: d.licence for d in read_documents(folder, licence="CC-BY-SA-3.0")}
    assert licences == {
        "a.md": "CC-BY-4.0",
        "b.txt": "CC-BY-SA-3.0",
        "c-1": "MIT",
        "two": "CC0-1.0",
        "9": "CC-BY-SA-3.0",
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "fine"}\nnot json\n', r"a\.jsonl:2"),
        ("b.jsonl", b'{"body": "x"}\n', r"b\.jsonl:1 .*text or chunks.*body"),
        ("c.jsonl", b'["text"]\n', "an object is wanted"),
        ("d.jsonl", b'{"chunks": "abc"}\n', "list of strings"),
        ("e.jsonl", b'{"text": 5}\n', "must be a string"),
        ("f.txt", b"caf\xe9", "not UTF-8"),
        ("g.pdf", b"%PDF", r"unknown kind of file; readable are \.txt"),
        ("h.jsonl.gz", gzip.compress(b'{"text": "cut off"}\n' * 2000)[:60], "breaks off"),
    ],
)
def test_a_file_that_is_no_document_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DocumentError, match=message):
        list(read_documents(tmp_path / name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DocumentError, match="does not exist"):
        list(read_documents(tmp_path / "nothing"))


def test_a_dataset_saved_to_disk_is_read(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    found = list(read_documents(f"hf:{tmp_path}/saved", licence="CC-BY-SA-3.0"))
    assert [(d.title, d.text, d.licence) for d in found] == [
        (r["title"], r["text"], "CC-BY-SA-3.0") for r in ROWS
    ]
    assert found[0].source == f"hf:{tmp_path}/saved"
    assert found[0].id.endswith("/7")


def test_a_split_of_a_dataset_saved_to_disk_is_chosen(tmp_path):
    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict(train=rows.select([0]), held=rows.select([1])).save_to_disk(tmp_path / "saved")
    assert [d.title for d in read_documents(f"hf:{tmp_path}/saved:held")] == ["Rope"]
    assert [d.title for d in read_documents(f"hf:{tmp_path}/saved")] == ["Salt"]


def test_a_folder_of_data_files_is_streamed_as_a_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_list(ROWS).to_parquet(tmp_path / "data" / "train.parquet")
    assert [d.text for d in read_documents(f"hf:{tmp_path}/data")] == [r["text"] for r in ROWS]


def test_a_dataset_without_text_is_named(tmp_path):
    datasets.Dataset.from_list([{"body": "x"}]).save_to_disk(tmp_path / "saved")
    with pytest.raises(DocumentError, match=r"row 0 of hf:.* needs text or chunks, this has body"):
        list(read_documents(f"hf:{tmp_path}/saved"))


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DocumentError, match="cannot be opened"):
        list(read_documents(f"hf:{tmp_path}/empty"))


def test_without_the_datasets_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DocumentError, match=r"pip install 'nextvec\[hub\]'"):
        list(read_documents("hf:anything"))


def test_a_document_has_the_same_share_everywhere():
    assert share_of("a document") == share_of("a document")
    assert 0 <= share_of("a document", "salt") < 1
    assert share_of("a document", "salt") != share_of("a document")


def test_the_same_words_are_a_duplicate_whatever_their_case_and_spacing():
    seen = SeenDocuments()
    assert seen.add(HAY) is None
    assert seen.add([sentence.upper() + "!" for sentence in HAY]) == DUPLICATE
    assert seen.add([" ".join(HAY)]) == DUPLICATE


def test_a_document_with_one_word_changed_is_a_near_duplicate():
    seen = SeenDocuments()
    assert seen.add(HAY) is None
    assert seen.add([*HAY[:-1], HAY[-1].replace("itself", "chance")]) == NEAR_DUPLICATE


def test_half_a_document_is_no_duplicate():
    seen = SeenDocuments()
    assert seen.add(HAY) is None
    assert seen.add(HAY[: len(HAY) // 2]) is None
