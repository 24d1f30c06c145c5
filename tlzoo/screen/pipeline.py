"""A whole screening: what is not done yet is done, then all is ranked and written."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tlzoo.crystals import with_unit
from tlzoo.data.sources.problems import tell
from tlzoo.graphs.workers import worker_count
from tlzoo.machine.files import make_folder
from tlzoo.machine.plural import counted
from tlzoo.machine.progress import bar
from tlzoo.screen import local, ranking_page, ray_shards
from tlzoo.screen.ranking import Ranking, rank, write, write_problems
from tlzoo.screen.screen_request import Options, Request
from tlzoo.screen.screening import Screening
from tlzoo.screen.shards import Shards
from tlzoo.screen.structure_types import structure_types


def screen(request: Request, options: Options) -> str:
    """Screen a pool, or go on with it; return what there is to say.

    Raises:
        UserError: A model, the pool or the condition is no such thing, the directory belongs to another
            screening, or something cannot be written.
    """
    jobs = worker_count(options.jobs)
    if options.engine == "ray":
        ray_shards.check()
    make_folder(options.output.parent)
    shards = Shards(options.folder or options.output.with_suffix(".shards"))
    screening = Screening(request, shards)
    manifest = screening.manifest()
    pool = screening.pool
    if pool.remarks:
        tell(pool.name, pool.remarks, len(pool))
    with shards.opened(manifest):
        done = shards.done()
        wanted = [number for number in range(screening.size) if number not in done]
        screening.open_domains()
        begun = time.monotonic()
        engine = ray_shards if options.engine == "ray" else local
        counts = engine.run(screening, wanted, jobs) if wanted else iter(())
        count = _watched(counts, screening, wanted)
        seconds = time.monotonic() - begun
        found = rank(
            shards,
            screening.size,
            screening.target,
            top=options.top,
            ascending=options.ascending,
            intervals=screening.uncertain,
        )
        tell(pool.name, found.remarks, found.read)
        found = found.with_unreadable(pool.unreadable)
        types = structure_types(found.table["row"].slice(0, ranking_page.SHOWN).to_pylist(), screening)
        found = found.with_types([one.prototype for one in types], [one.name for one in types])
        about = {"columns": screening.meaning, "request": asdict(request), "manifest": manifest}
        write(found, options.output, screening.target, screening.unit, about)
        problems = options.output.with_name(f"{options.output.stem}-problems.csv")
        write_problems(found, problems)
        html = options.output.with_suffix(".html")
        ranking_page.write(html, found, types, screening, ascending=options.ascending)
    return "\n".join(_said(found, screening, options, problems, html, count, seconds))


def _watched(counts: Iterator[int], screening: Screening, wanted: Sequence[int]) -> int:
    """Show how far it is, on a terminal; return how many crystals were computed."""
    total, size = len(screening.pool), screening.request.shard
    before = total - sum(min(size, total - number * size) for number in wanted)
    done = 0
    with bar(total, "screening", initial=before) as shown:
        for count in counts:
            shown.update(count)
            done += count
    return done


def _said(
    found: Ranking,
    screening: Screening,
    options: Options,
    problems: Path,
    html: Path,
    count: int,
    seconds: float,
) -> Iterator[str]:
    speed = f", {count:,} of them now, {count / seconds:.0f} crystals/s" if count else ", all done before"
    yield f"{counted(found.read, 'crystal')} of {screening.pool.name}{speed}"
    if screening.where:
        yield f"{found.left_out:,} do not meet the condition: {screening.where.text}"
    if found.problems:
        yield f"{len(found.problems):,} could not be predicted, see {problems}"
    for model, domain in zip(screening.predictors, screening.domains, strict=True):
        if domain.reason:
            yield f"{model.name}: its training crystals are not to be had: {domain.reason}"
    ranked = f"{len(found.values):,}, the first {len(found.table):,} in {options.output}"
    yield f"{with_unit(screening.target, screening.unit, '{} ({})')} of {ranked}"
    yield f"page: {html}"
