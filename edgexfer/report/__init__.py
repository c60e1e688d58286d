"""The report: one self-contained HTML page of runs, artifacts and benchmark results.

Reads files, never networks. ``gather`` finds and reads, ``lineage`` joins by SHA-256, one module a section turns the
values into tables and figures, ``page`` lays them out.
"""

from edgexfer.report.page import ReportSummary, write_report
from edgexfer.report.pictures import PictureReader, default_reader

__all__ = ["PictureReader", "ReportSummary", "default_reader", "write_report"]
