"""Each reader of strangers' files reads a spoilt one or refuses it in one sentence;
benchmarks/fuzz_readers.py tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spoilt import SEEDS, mutate, mutations

from zslkit.errors import DataError

CONTENTS = {reader: make() for reader, (_, make, _) in SEEDS.items()}


@pytest.mark.parametrize("reader", SEEDS)
def test_a_whole_file_is_read(tmp_path: Path, reader: str) -> None:
    name, _, read = SEEDS[reader]
    (tmp_path / name).write_bytes(CONTENTS[reader])
    read(tmp_path / name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", SEEDS)
def test_a_spoilt_file_is_read_or_refused_by_name(tmp_path: Path, reader: str) -> None:
    name, _, read = SEEDS[reader]
    file = tmp_path / name

    @settings(
        max_examples=6 if reader.startswith("hdf5") else 60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(data=st.data())
    def attempt(data: st.DataObject) -> None:
        file.write_bytes(mutate(CONTENTS[reader], data.draw(mutations(len(CONTENTS[reader])))))
        try:
            read(file)
        except DataError as error:
            assert str(file) in str(error)
            assert "\n" not in str(error)

    attempt()
