from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

import pytest

from capstone_metrics.errors import CapstoneError, SourceChangedError
from capstone_metrics.schedule import Calendar
from capstone_metrics.sources import Declarations, new_objects, warn_of_shared_files
from capstone_metrics.sources.files import files_of, withdrawn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from capstone_metrics.sources.objects import NewObjects

NOBODY = 65_534
SCHEDULE = {
    "timezone": "America/Sao_Paulo",
    "layers": {"bronze": {"starts": ["08:00", "20:00"]}},
}


def objects_of(
    path: Path | str, present: Iterable[str] = (), now: str = "2026-01-31T20:05", **options: Any
) -> dict[str, bytes]:
    """Return the objects of a source named `export`: their names and bytes."""
    declaration = {"type": "files", "format": "csv", "path": str(path)} | options
    calendar = Calendar.of(SCHEDULE, now)
    objects = new_objects("export", declaration, calendar, tuple(present)).objects
    return {name: b"".join(chunks()) for name, chunks in objects.items()}


def found(
    path: Path | str,
    present: Iterable[str] = (),
    last_contents: Mapping[str, str] | None = None,
    **options: Any,
) -> NewObjects:
    """Return what a source named `export` has that Bronze lacks."""
    declaration = {"type": "files", "format": "csv", "path": str(path)} | options
    calendar = Calendar.of(SCHEDULE, "2026-01-31T20:05")
    return new_objects("export", declaration, calendar, tuple(present), last_contents)


def write(path: Path, content: bytes, written_at: int) -> None:
    path.write_bytes(content)
    os.utime(path, (written_at, written_at))


def digests(names: Iterable[str]) -> list[str]:
    """Return the digest of the content of each object, in the order of the names."""
    return [name.rpartition("/")[2].split("-")[2] for name in sorted(names)]


def test_an_object_is_named_after_its_arrival_its_content_and_its_reading(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(b"a\n1\n")
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    assert list(objects_of(path, now="2026-01-31T19:59")) == [
        f"fonte=export/janela=2026-01-31T08/file-000001-{digest}-a1285ad7.jsonl"
    ]


@pytest.mark.parametrize("filler", [b"", b"\n\n"], ids=["one", "the other"])
def test_objects_of_a_window_sort_by_when_their_files_were_written(
    tmp_path: Path, filler: bytes
) -> None:
    contents = [b"a\n1\n" + filler, b"a\n2\n", b"a\n3\n", b"a\n4\n"]
    for number, content in enumerate(contents[:3]):
        write(tmp_path / f"{3 - number}.csv", content, written_at=1_000 + number)
    first = objects_of(tmp_path / "*.csv")
    write(tmp_path / "0.csv", contents[3], written_at=0)  # arrives last
    second = objects_of(tmp_path / "*.csv", first)
    expected = [hashlib.sha256(content).hexdigest() for content in contents]
    assert digests([*first, *second]) == expected


def test_files_written_at_once_sort_by_name(tmp_path: Path) -> None:
    for name, content in (("2026-01-31", b"a\n2\n"), ("2026-01-24", b"a\n1\n")):
        write(tmp_path / name, content, written_at=1_000)
    first, second = (lines for _, lines in sorted(objects_of(tmp_path / "*").items()))
    assert (first, second) == (b'{"a":"1"}\n', b'{"a":"2"}\n')


def test_a_file_is_read_again_once_its_declaration_was_corrected(tmp_path: Path) -> None:
    for number, content in enumerate([b"a;b\n1;2\n", b"a;b\n3;4\n"]):
        write(tmp_path / f"{number}.csv", content, written_at=number)
    wrong = objects_of(tmp_path / "*.csv")
    mended = objects_of(tmp_path / "*.csv", wrong, now="2026-03-01T20:05", delimiter=";")
    assert list(mended.values()) == [b'{"a":"1","b":"2"}\n', b'{"a":"3","b":"4"}\n']
    # the content arrived when it did: only how it was read is another
    assert [name[:-14] for name in sorted(mended)] == [name[:-14] for name in sorted(wrong)]
    assert not set(mended) & set(wrong)
    assert not objects_of(tmp_path / "*.csv", [*wrong, *mended], delimiter=";")
    assert not objects_of(tmp_path / "*.csv", [*wrong, *mended])


def test_a_file_that_came_in_under_an_earlier_name_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    earlier = f"fonte=export/janela=2026-01-31T20/{digest}.jsonl"
    assert not objects_of(path, (earlier,), delimiter=";")
    path.write_bytes(b"a\n2\n")
    (name,) = objects_of(path, (earlier,))
    assert name > earlier


def test_a_file_that_is_again_what_it_was_arrives_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.csv"
    present: list[str] = []
    contents: dict[str, str] = {}
    for content in (b"a\n1\n", b"a\n2\n", b"a\n2\n", b"a\n1\n", b"a\n1\n", b"a\n2\n"):
        path.write_bytes(content)
        new = found(path, present, last_contents=contents)
        contents, present = new.contents, [*present, *new.objects]
    assert [int(name.split("file-")[1][:6]) for name in present] == [1, 2, 3, 4]
    assert digests(present) == [hashlib.sha256(b"a\n%d\n" % n).hexdigest() for n in (1, 2, 1, 2)]
    assert (
        caplog.messages
        == [f"sources.export: {path} is as it was before; it counts as a new observation."] * 2
    )
    # each of its arrivals is read in another way, and each first reading is withdrawn
    mended = list(found(path, present, contents, delimiter=";").objects)
    assert sorted(name[:-14] for name in mended) == sorted(
        n[:-14] for n in (present[1], present[3])
    )
    declared = {"export": {"type": "files", "format": "csv", "delimiter": ";"}}
    assert withdrawn(declared, [*present, *mended]) == {present[1], present[3]}


def test_a_copy_of_a_file_is_no_new_observation(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    first = found(tmp_path / "*.csv")
    (tmp_path / "a.csv").write_bytes(b"a\n2\n")
    (tmp_path / "b.csv").write_bytes(b"a\n1\n")
    second = found(tmp_path / "*.csv", first.objects, first.contents)
    assert len(second.objects) == 1
    third = found(tmp_path / "*.csv", [*first.objects, *second.objects], second.contents)
    assert not third.objects


@pytest.mark.parametrize("change", [b"a,b\n1,2\n3,4\n", b"a,b\n1,3\n", b"\x1f\x8b", b""])
def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(
    tmp_path: Path, change: bytes
) -> None:
    path = tmp_path / "a.csv"
    write(path, b"a,b\n1,2\n", written_at=1_000)
    (chunks,) = found(path).objects.values()
    write(path, change, written_at=1_000)
    with pytest.raises(
        SourceChangedError, match=r"a\.csv: changed while it was read; the next run"
    ):
        list(chunks())


def test_each_member_of_a_zip_is_an_object(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.csv", b"a\n1\n")
        archive.writestr("y.csv", b"a\n2\n")
    one = objects_of(tmp_path / "a.zip", member="x.csv")
    both = objects_of(tmp_path / "a.zip", member="*.csv")
    assert list(one.values()) == [b'{"a":"1"}\n']
    assert [lines for _, lines in sorted(both.items())] == [b'{"a":"1"}\n', b'{"a":"2"}\n']
    assert not objects_of(tmp_path / "a.zip", both, member="*.csv")


@pytest.mark.parametrize("declared", ["utf-8", "cp1252"])
def test_a_byte_order_mark_counts_before_the_encoding_of_a_source(
    tmp_path: Path, declared: str
) -> None:
    for number, encoding in enumerate([declared, "utf-16", "utf-8-sig"]):
        write(tmp_path / f"{number}.csv", f"ação\n{number}\n".encode(encoding), written_at=number)
    objects = objects_of(tmp_path / "*.csv", encoding=declared)
    assert list(objects.values()) == [f'{{"ação":"{n}"}}\n'.encode() for n in range(3)]


def test_the_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    for number, encoding in enumerate(["utf-8", "cp1252"]):
        write(tmp_path / f"{number}.csv", "ação\n1\n".encode(encoding), written_at=number)
    with pytest.raises(CapstoneError, match=r"1\.csv: cannot be read as utf-8 .*declare its enc"):
        objects_of(tmp_path / "*.csv")


def test_the_file_of_an_object_is_found_by_its_content(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.csv", b"a\n1\n")
    (tmp_path / "b.csv").write_bytes(b"a\n2\n")
    names = sorted(objects_of(tmp_path / "*"))
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    sources = {"export": {"type": "files", "format": "csv", "path": str(tmp_path / "*")}}
    assert files_of(sources, names) == dict(
        zip(names, [f"{tmp_path}/a.zip/x.csv", f"{tmp_path}/c.csv"], strict=True)
    )
    (tmp_path / "c.csv").unlink()
    assert list(files_of(sources, names)) == names[:1]
    assert files_of({"export": {"type": "files", "format": "csv", "path": "gone"}}, names) == {}


def test_a_member_that_is_no_longer_read_is_withdrawn(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x.csv", "y.csv", "z.csv"):
            archive.writestr(name, b"a\n1\n")
    both = objects_of(tmp_path / "a.zip", member="[xy].csv")
    narrowed = objects_of(tmp_path / "a.zip", both, member="x.csv")
    assert sorted(narrowed.values()) == [b"", b'{"a":"1"}\n']  # y.csv has no line now
    declared = {"export": {"format": "csv", "member": "x.csv"}}
    assert withdrawn(declared, [*both, *narrowed]) == set(both)
    assert not objects_of(tmp_path / "a.zip", [*both, *narrowed], member="x.csv")
    # and back again: the first reading counts, and nothing has to be read
    assert not objects_of(tmp_path / "a.zip", [*both, *narrowed], member="[xy].csv")
    declared = {"export": {"format": "csv", "member": "[xy].csv"}}
    assert withdrawn(declared, [*both, *narrowed]) == set(narrowed)


def test_an_export_comes_in_once_under_any_name_and_in_any_window(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    present = tuple(objects_of(tmp_path / "*.csv"))
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_bytes(b"a\n1\n")
    assert not objects_of(tmp_path / "*.csv", present, now="2026-03-01T20:05")


def test_the_file_of_an_object_is_found_beside_one_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", b"PK\x03\x04", written_at=0)
    write(tmp_path / "b.csv", b"a\n1\n", written_at=1)
    names = list(found(tmp_path / "*").objects)
    sources = {"export": {"type": "files", "format": "csv", "path": str(tmp_path / "*")}}
    assert files_of(sources, names) == {names[0]: f"{tmp_path}/b.csv"}


def test_an_export_that_changed_comes_in_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    present = tuple(objects_of(path))
    path.write_bytes(b"a\n1\n2\n")
    assert list(objects_of(path, present).values()) == [b'{"a":"1"}\n{"a":"2"}\n']


def test_objects_of_another_source_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    (name,) = objects_of(path)
    assert objects_of(path, (name.replace("fonte=export/", "fonte=export_2/"),))
    assert not objects_of(path, (name,))


def test_a_glob_finds_the_files_of_folders_and_not_the_folders(tmp_path: Path) -> None:
    (tmp_path / "2026/01").mkdir(parents=True)
    (tmp_path / "2026/01/a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "2026/b.csv").write_bytes(b"a\n2\n")
    assert len(objects_of(tmp_path / "**")) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, every name is UTF-8")
def test_what_a_glob_finds_and_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nothing")
    (tmp_path / "self.csv").symlink_to(tmp_path / "self.csv")
    odd = os.fsdecode(b"Relat\xf3rio.csv")
    (tmp_path / odd).write_bytes(b"a\n2\n")
    os.mkfifo(tmp_path / "pipe.csv")
    new = found(tmp_path / "*.csv")
    assert list(new.contents) == [f"{tmp_path}/a.csv"]
    assert sorted(new.refused) == [
        f"{tmp_path}/Relat\N{REPLACEMENT CHARACTER}rio.csv: its name is not UTF-8; rename it.",
        f"{tmp_path}/gone.csv: is a link that leads nowhere; remove it.",
        f"{tmp_path}/self.csv: is a link that leads nowhere; remove it.",
    ]
    assert found(tmp_path / "gone*").refused == new.refused[-2:-1]


@pytest.mark.parametrize(
    ("pattern", "closed", "mode"),
    [
        ("exports/*.csv", "exports", 0o311),
        ("exports/**/*.csv", "exports/old", 0o311),
        ("exports/**", "exports/old", 0o311),
        ("exports/*/a.csv", "exports/old", 0o644),
        ("exports/old/a.csv", "exports/old", 0o644),
    ],
)
def test_a_folder_without_permission_is_refused(
    open_folder: Path, pattern: str, closed: str, mode: int
) -> None:
    root = Path(mkdtemp(dir=open_folder))
    root.chmod(0o755)
    (root / "exports/old").mkdir(parents=True)
    (root / "exports/old/a.csv").write_bytes(b"a\n1\n")
    (root / closed).chmod(mode)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        refused = found(root / pattern).refused
    finally:
        os.seteuid(user)
        (root / closed).chmod(0o755)
    denied = f"{root}/{closed}/: permission denied; make the export readable for this user."
    assert refused == [denied]


@pytest.mark.parametrize("pattern", ["*.csv", "**/*", "**"])
def test_files_of_open_spreadsheets_and_of_links_to_a_folder_above_are_left_out(
    tmp_path: Path, pattern: str
) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "~$a.csv").write_bytes(b"a\n2\n")
    (tmp_path / ".~lock.a.csv#").write_bytes(b"a\n3\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    new = found(tmp_path / pattern)
    assert (list(new.contents), new.refused) == ([f"{tmp_path}/a.csv"], [])
    assert len(found(tmp_path / "~$*.csv").contents) == 1


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "pattern", ["relatórios/São *.csv", "relatórios/São 1.csv", "**/S*ão 1.csv"]
)
def test_a_file_is_found_whichever_way_the_accents_of_its_name_are_written(
    tmp_path: Path, pattern: str, form: Literal["NFC", "NFD"]
) -> None:
    folder = tmp_path / normalize("NFC", "relatórios")
    folder.mkdir()
    (folder / normalize("NFD", "São 1.csv")).write_bytes(b"a\n1\n")
    assert list(objects_of(tmp_path / normalize(form, pattern)).values()) == [b'{"a":"1"}\n']


@pytest.mark.parametrize("path", ["nothing*.csv", "nothing/a.csv", "."])
def test_a_path_without_a_file_is_rejected(tmp_path: Path, path: str) -> None:
    with pytest.raises(CapstoneError, match=r"sources\.export\.path: no file at .*; put the"):
        objects_of(tmp_path / path)


def test_a_declaration_without_a_path_is_rejected() -> None:
    declaration = {"type": "files", "format": "csv"}
    with pytest.raises(CapstoneError, match=r"sources\.export: path is missing"):
        new_objects("export", declaration, Calendar.of(SCHEDULE, "2026-01-31T20:05"), ())


def test_a_path_that_is_no_text_is_rejected() -> None:
    with pytest.raises(CapstoneError, match=r"sources\.export\.path: 1 must be text"):
        new_objects(
            "export",
            {"type": "files", "format": "csv", "path": 1},
            Calendar.of(SCHEDULE, "2026-01-31T20:05"),
            (),
        )


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("csv", "path", None),
        ("csv", "path", ["a.csv"]),
        ("csv", "path", True),
        ("csv", "schema_drift", []),
        ("csv", "other_fields", {}),
        ("csv", "counters", None),
        ("json", "envelope", [[]]),
    ],
)
def test_an_option_of_another_type_is_a_fault_of_its_source_alone(
    kind: str, option: str, value: object
) -> None:
    right = {"type": "files", "format": "csv", "path": "a.csv"}
    wrong = {**right, "format": kind, "records": ["a"], option: value}
    if kind == "csv":
        del wrong["records"]
    sources = {"wrong": wrong, "right": right}
    declared = Declarations.of(sources)
    assert (list(declared.valid), list(declared.errors)) == (["right"], ["wrong"])
    assert str(declared.errors["wrong"]).startswith(f"sources.wrong.{option}: ")
    warn_of_shared_files(sources)


def test_an_unknown_option_is_rejected_when_the_run_begins(tmp_path: Path) -> None:
    with pytest.raises(
        CapstoneError, match=r"sources\.export: 'delimeter' is not one of delimiter"
    ):
        objects_of(tmp_path / "none", delimeter=";")


def test_a_deleted_export_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for kind in ("csv", "json", "jsonl", "parquet", "xlsx"):
        path.write_bytes(b"a\n1\n")
        declaration = {"type": "files", "format": kind, "path": str(path)}
        calendar = Calendar.of(SCHEDULE, "2026-01-31T20:05")
        (chunks,) = new_objects("export", declaration, calendar, ()).objects.values()
        path.unlink()
        with pytest.raises(CapstoneError, match=r"(?i)a\.csv: .*no such file"):
            list(chunks())


@pytest.mark.parametrize(
    ("options", "other", "is_told"),
    [
        ({}, {}, True),
        ({}, {"delimiter": ";"}, True),
        ({"header": ["a"]}, {}, True),
        ({"only": {"a": "1"}}, {"only": {"a": "2"}}, False),
        ({"header": ["a"], "until": "blank"}, {"header": ["b"], "until": "blank"}, False),
        ({}, {"path": "b.csv"}, False),
        ({}, {"format": "jsonl", "path": "c.jsonl"}, False),
    ],
    ids=str,
)
def test_two_sources_that_read_the_same_records_are_named(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    other: dict[str, Any],
    is_told: bool,
) -> None:
    for name in ("a.csv", "b.csv", "c.jsonl"):
        (tmp_path / name).write_bytes(b"a\n1\n")
    sources: dict[str, Any] = {"three": {"type": "faker"}}
    for name, own in (("one", {"path": "a.csv"} | options), ("two", {"path": "*.csv"} | other)):
        path = str(tmp_path / own["path"])
        sources[name] = {"type": "files", "format": "csv"} | own | {"path": path}
    warn_of_shared_files(sources)
    told = f"sources.one and sources.two both read {tmp_path}/a.csv, so its records are in Bronze"
    assert (told in caplog.text) == is_told
    assert bool(caplog.text) == is_told
