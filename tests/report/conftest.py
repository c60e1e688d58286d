"""What the tests of the report share."""

from __future__ import annotations

import pytest

from edgexfer.report import ReportSummary, write_report
from tests.report import makers, measurements, worlds
from tests.report.reading import Page, read


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> worlds.World:
    """A project folder that no test changes."""
    return worlds.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def written(world: worlds.World, tmp_path_factory: pytest.TempPathFactory) -> ReportSummary:
    """The page of that folder."""
    return write_report([world.root], tmp_path_factory.mktemp("written") / "report.html")


@pytest.fixture(scope="session")
def page(written: ReportSummary) -> Page:
    """That page, read."""
    return read(written.out)


class Makers:
    """The functions that make things, for tests that need something of their own."""

    run = staticmethod(makers.make_run)
    onnx = staticmethod(makers.make_onnx)
    photos = staticmethod(makers.make_photos)
    int8_proof = staticmethod(makers.make_int8_proof)
    config = staticmethod(measurements.make_config)
    result = staticmethod(measurements.make_result)
    judged = staticmethod(measurements.judged)
    profiled = staticmethod(measurements.profiled)
    sustained = staticmethod(measurements.sustained)
    world = staticmethod(worlds.make_world)
    many = staticmethod(worlds.make_many)


@pytest.fixture(scope="session")
def make() -> Makers:
    """Makes runs, ONNX files, results and pictures."""
    return Makers()
