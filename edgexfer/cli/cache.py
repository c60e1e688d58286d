"""``edgexfer cache``."""

from __future__ import annotations

import click

from edgexfer.cli.common import common_options, emit
from edgexfer.words import people_size


@click.command("cache", epilog="Example: edgexfer cache clear --kind teachers --older-than 30")
@click.argument("action", type=click.Choice(["list", "size", "clear"]))
@click.option("--kind", "kinds", multiple=True, help="Only things of this kind (the first column of the list).")
@click.option("--older-than", type=click.FloatRange(0), default=0.0, help="Clear only what is older, in days.")
@common_options(seed=False, force=False)
def command(action: str, kinds: tuple[str, ...], older_than: float, as_json: bool) -> None:
    """List, measure or clear what is kept to save time: teachers' answers, embeddings, indexes.

    It lies in $EDGEXFER_CACHE, or ~/.cache/edgexfer. Nothing is lost by clearing it but time.
    """
    from edgexfer.data.index import cache_folder
    from edgexfer.workflows.cache import clear, kept

    if action == "clear":
        gone = clear(kinds, older_than)
        freed = sum(entry.size_bytes for entry in gone)
        result = {"cleared": len(gone), "bytes": freed}
        emit(result, as_json, f"{len(gone)} cleared, {people_size(freed)} freed")
        return
    entries = kept(kinds)
    total = sum(entry.size_bytes for entry in entries)
    if action == "size":
        by_kind: dict[str, int] = {}
        for entry in entries:
            by_kind[entry.kind] = by_kind.get(entry.kind, 0) + entry.size_bytes
        lines = [f"{kind:<10} {people_size(size):>12}" for kind, size in by_kind.items()]
        sizes = {"folder": str(cache_folder()), "bytes": total, **by_kind}
        emit(sizes, as_json, "\n".join([*lines, f"{'all':<10} {people_size(total):>12}  {cache_folder()}"]))
        return
    lines = [f"{e.kind:<10} {people_size(e.size_bytes):>12}  {e.path.name[:12]:<12}  {e.what}" for e in entries]
    emit([entry.to_dict() for entry in entries], as_json, "\n".join(lines) or f"nothing is kept in {cache_folder()}")
