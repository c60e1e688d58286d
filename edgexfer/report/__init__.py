"""The report: one self-contained HTML page of runs, artifacts and benchmark results, or its tables as text.

Reads files, never networks. ``gather`` finds and reads, ``lineage`` joins by SHA-256, one module a section turns the
values into tables and figures, ``page`` lays them out; ``markdown`` and ``sheet`` write the tables alone.
"""

from edgexfer.report.pictures import PictureReader, default_reader
from edgexfer.report.writing import FORMATS, ReportSummary, write_report

__all__ = ["FORMATS", "PictureReader", "ReportSummary", "default_reader", "write_report"]
