"""What the command line shows: text for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lookalike.evaluation.scores import METRICS, TITLES

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from lookalike.evaluation.scores import Counts, Estimate, Evaluation
    from lookalike.indexing.metadata import Described
    from lookalike.indexing.run import Report
    from lookalike.maintenance.backup import BackupReport
    from lookalike.maintenance.check import CheckReport
    from lookalike.maintenance.optimize import OptimizeReport, SpaceIndex
    from lookalike.projection.map import Map
    from lookalike.sources import Scan
    from lookalike.types import Matches

__all__ = [
    "columns",
    "copying",
    "counting",
    "downloading",
    "print_checked",
    "print_copied",
    "print_error",
    "print_evaluation",
    "print_json",
    "print_map",
    "print_matches",
    "print_optimized",
    "print_report",
    "printable",
    "ranking",
    "reading",
    "say",
    "stepping",
    "tell_warnings",
    "waiting",
]

_MANY = 20
_FEW = 5
_MOST_CONFUSED = 5


def say(text: Text | str = "", *, error: bool = False) -> None:
    """Print one line, never wrapped or cut: what is piped on is whole."""
    Console(stderr=error, soft_wrap=True, highlight=False, markup=False, emoji=False).print(text)


def print_json(value: Any) -> None:
    """Print data as JSON, and nothing else."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def print_error(message: str) -> None:
    """Print an error's one paragraph to standard error."""
    say(Text.assemble(("Error: ", "bold red"), printable(message)), error=True)


def tell_warnings() -> None:
    """Print from now on what the library warns of, such as that it waits for another process, to standard error."""

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(Text(printable(record.getMessage()), "yellow"), error=True)

    logging.getLogger("lookalike").addHandler(Told(logging.WARNING))


def printable(text: str) -> str:
    """Return the text with control characters spelled out: a file's name must not steer the terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def columns(
    rows: Iterable[Sequence[str]], *, styles: Sequence[str] = (), right: Sequence[int] = ()
) -> None:
    """Print rows in columns as wide as their content; the last one is never cut."""
    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = Text()
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            last = index == len(row) - 1
            padded = cell.rjust(width) if index in right else cell if last else cell.ljust(width)
            line.append(
                padded if last else padded + "  ", styles[index] if index < len(styles) else ""
            )
        say(line)


def print_matches(matches: Matches) -> None:
    """Print an answer, one match a line."""
    rows = [[str(m.rank), f"{m.distance:.4f}", m.label or "-", m.uri] for m in matches]
    columns(rows, styles=("dim", "bold", "cyan", ""), right=(0, 1))
    if matches.recall is not None:
        say(
            f"Approximate, measured to find {matches.recall:.1%} of the nearest; --exact compares every picture."
        )


def print_report(report: Report, collection: str) -> None:
    """Print what an index run did, the failures included."""
    counts = report.to_dict()
    names = ("added", "updated", "moved", "removed", "unchanged", "failed")
    told = (
        ", ".join(f"{counts[name]:,} {name}" for name in names if counts[name]) or "nothing to do"
    )
    done = report.added + report.updated + report.moved
    rate = f" ({done / report.seconds:,.0f} images a second)" if done else ""
    say(
        Text.assemble(
            (f"{report.images:,} images", "bold"), f" in {printable(collection)}: {told}."
        )
    )
    say(f"Took {report.seconds:.1f} s{rate}.")
    if report.metadata is not None:
        _print_described(report.metadata)
    if report.failed:
        say(Text(f"{report.failed:,} files could not be indexed:", "yellow"))
        for uri, reason in report.failures[:_MANY]:
            say(f"  {printable(uri)}: {printable(reason)}")
        known = report.failed - len(report.failures)
        if known:
            say(
                f"  {known:,} failed before and have not changed; --retry-failures tries them again."
            )
        if len(report.failures) > _MANY:
            say(f"  and {len(report.failures) - _MANY:,} more")
        say("All of them, with reasons: lookalike info --failures")


def _print_described(described: Described) -> None:
    """Print what a file of metadata did, and which of its rows no image answers to."""
    told = "no image of the collection"
    if described.images:
        told = f"{described.images:,} images, {described.changed or 'none'} of them anew"
    columns = f": {', '.join(described.columns)}" if described.columns else ""
    say(printable(f"{described.file} describes {told}{columns}."))
    if described.unmatched:
        say(
            Text(f"{len(described.unmatched):,} of its rows name no image that is there:", "yellow")
        )
        for uri in described.unmatched[:_FEW]:
            say(f"  {printable(uri)}")
        if len(described.unmatched) > _FEW:
            say(f"  and {len(described.unmatched) - _FEW:,} more")


def print_optimized(report: OptimizeReport) -> None:
    """Print what was gathered, tuned and removed."""
    for done in report.spaces:
        say(
            Text.assemble(
                (printable(done.space), "bold"), f": {done.rows:,} rows, {_searched(done)}."
            )
        )
    if report.fragments != report.fragments_before:
        say(f"{report.fragments_before:,} fragments gathered into {report.fragments:,}.")
    say(f"{report.freed / 1e6:,.1f} MB freed. Took {report.seconds:.1f} s.")


def print_checked(report: CheckReport) -> None:
    """Print what a check found, each fault with what to do about it."""
    for fault in report.faults[:_MANY]:
        say(Text.assemble(("Fault: ", "bold red"), printable(str(fault))))
    if report.found > _MANY:
        say(
            f"  and {report.found - _MANY:,} more; --json lists {min(report.found, len(report.faults)):,} of them"
        )
    held = [f"{report.images:,} images", f"{report.failures:,} failures"]
    held += [f"{count:,} vectors in {printable(space)}" for space, count in report.spaces.items()]
    held += [f"the {kept['method']} map of {printable(kept['space'])}" for kept in report.maps]
    told = "Sound" if report.sound else f"{report.found:,} fault{'s' * (report.found > 1)}"
    say(
        Text.assemble(
            (told, "bold"),
            f": version {report.version} of {printable(report.collection)}: {', '.join(held)}.",
        )
    )
    for what in report.unchecked:
        say(f"Not checked: {printable(what)}.")
    if report.files is not None:
        say(
            "The pictures: "
            + ", ".join(f"{count:,} {found}" for found, count in report.files.items())
            + "."
        )
        for uri, found in report.differing[:_MANY]:
            say(f"  {found}: {printable(uri)}")
        if len(report.differing) > _MANY:
            say(f"  and {sum(report.files.values()) - report.files['same'] - _MANY:,} more")
        if report.differing:
            say(
                "That is no fault of the collection: indexing their folder again brings it up to date."
            )


def print_copied(copied: BackupReport, told: str) -> None:
    """Print what a backup or a restoration did."""
    there = f", {copied.kept / 1e6:,.1f} MB were there already" if copied.kept else ""
    say(
        Text.assemble(
            (f"{copied.images:,} images", "bold"), f" in {printable(copied.path)}: {told}."
        )
    )
    say(
        f"{copied.copied / 1e6:,.1f} MB copied{there}, all of it read through. Took {copied.seconds:.1f} s."
    )


def _searched(done: SpaceIndex) -> str:
    if done.index is None:
        return "searched exactly, without an index"
    told = f"index {done.did} ({done.index})"
    if done.recall is None:
        return f"{told}, but no setting reaches recall {done.target}: searched exactly"
    return f"{told}, recall {done.recall:.4f} with {done.probes} probed and {done.candidates} candidates compared"


def print_evaluation(evaluation: Evaluation) -> None:
    """Print every Space's scores side by side, then class by class, then what was taken for what."""
    say(_compared(evaluation))
    spaces = evaluation.spaces
    names = [scores.space for scores in spaces]
    difference = spaces[1].differences if len(spaces) == 2 else {}
    rows = [["", *names, *(["difference to the first"] if difference else [])]]
    for name in METRICS:
        cells = [_with_interval(scores.metrics[name], "") for scores in spaces]
        rows.append(
            [TITLES[name], *cells, *([_with_interval(difference[name], "+")] if difference else [])]
        )
    say()
    columns(rows, styles=("bold",))
    say(
        "In brackets: bootstrap 95 % intervals."
        + " *: the interval of the difference excludes 0." * bool(difference)
    )
    if len(spaces) > 2:
        others = spaces[1:]
        told = [
            [TITLES[name], *(_with_interval(s.differences[name], "+") for s in others)]
            for name in METRICS
        ]
        say()
        columns([[f"difference to {names[0]}", *names[1:]], *told], styles=("bold",))
        say("*: the interval of the difference excludes 0.")
    first = spaces[0].classes
    classes = sorted(first, key=lambda label: -first[label].map)
    scored = [
        [label, str(first[label].queries), *(f"{s.classes[label].map:.3f}" for s in spaces)]
        for label in classes
    ]
    say()
    columns(
        [["mAP by class", "queries", *names], *scored],
        styles=("bold",),
        right=range(1, len(names) + 2),
    )
    for scores in spaces:
        if scores.confused:
            say()
            say(f"Most confused in {printable(scores.space)} (share of the ten nearest)")
            pairs = scores.confused[:_MOST_CONFUSED]
            columns(
                [
                    [f"{pair.share:.1%}", f"{pair.label} taken for {pair.taken_for}"]
                    for pair in pairs
                ],
                right=(0,),
            )
    _print_not_compared(evaluation.counts)


def _compared(evaluation: Evaluation) -> str:
    counts = evaluation.counts
    if evaluation.leave_one_out:
        return f"{counts.queries:,} queries, each among the other {counts.gallery - 1:,} images."
    return f"{counts.queries:,} test images as queries, among {counts.gallery:,} train images."


def _with_interval(estimate: Estimate, sign: str) -> str:
    """Write an estimate; one with a sign is a difference, marked if its interval excludes 0."""
    value, low, high = (f"{number:{sign}.3f}" for number in estimate)
    return f"{value} [{low}, {high}]" + " *" * bool(sign and estimate.low * estimate.high > 0)


def _print_not_compared(counts: Counts) -> None:
    notes = {
        "without another image of their class, so no queries": counts.skipped,
        "without a label": counts.unlabelled,
        "without a vector in every Space here": counts.left_out,
        "of the manifest that the collection does not hold": counts.absent,
    }
    if any(notes.values()):
        say()
        say(
            "Left aside: "
            + "; ".join(f"{count:,} {note}" for note, count in notes.items() if count)
            + "."
        )


def print_map(plane: Map, output: str) -> None:
    """Print how a map was made and how far it can be trusted, and where it was drawn."""
    facts = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in plane.parameters.items()
    )
    say(f"{len(plane):,} pictures of {plane.space} by {plane.method} ({facts}).")
    trust, kept = plane.fidelity["trustworthiness"], plane.fidelity["preservation"]
    if trust is not None:
        say(
            f"Trustworthiness {trust:.3f}; {kept:.0%} of the {plane.fidelity['k']} nearest are kept."
        )
    if plane.worn:
        say(f"{plane.placed_share:.0%} were placed after it was made: --fresh makes it anew.")
    if not plane.kept:
        say("Not kept: the collection may only be read. The next map of it is made anew.")
    say(f"Drawn into {printable(output)}")


@contextmanager
def downloading(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar of bytes on standard error, if that is a terminal."""
    from rich import progress

    with _bar(progress.DownloadColumn(), progress.TransferSpeedColumn()) as bar:
        task = bar.add_task(what, total=None, start=False, visible=False)

        def advance(done: int, total: int | None) -> None:
            bar.start_task(task)
            bar.update(task, completed=done, total=total, visible=True)

        yield advance


@contextmanager
def copying() -> Iterator[Callable[[int, int], None]]:
    """Show a bar of bytes on standard error, if that is a terminal; what follows the last is that they are read."""
    from rich import progress

    with _bar(progress.DownloadColumn(), progress.TransferSpeedColumn()) as bar:
        task = bar.add_task("Copying", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(
                task,
                completed=done,
                total=total,
                description="Reading" if done == total else "Copying",
            )

        yield advance


@contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """Show a bar of rows on standard error, if that is a terminal."""
    from rich import progress

    with _bar(progress.MofNCompleteColumn()) as bar:
        task = bar.add_task("Checking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def ranking(queries: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of queries on standard error, if that is a terminal."""
    from rich import progress

    with _bar(progress.MofNCompleteColumn()) as bar:
        task = bar.add_task("Ranking", total=queries)
        yield lambda count: bar.update(task, advance=count)


@contextmanager
def stepping(what: str) -> Iterator[Callable[[str], None]]:
    """Show the step that is being done on standard error, if that is a terminal."""
    with _bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda step: bar.update(task, description=step)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on standard error, if that is a terminal, that something takes its time."""
    with _bar() as bar:
        bar.add_task(what, total=None)
        yield


def _bar(*middle: ProgressColumn) -> Progress:
    from rich import progress

    console = Console(stderr=True)
    ends = progress.TextColumn("{task.description}"), progress.BarColumn()
    time = progress.TimeRemainingColumn(compact=True)
    return progress.Progress(
        *ends, *middle, time, console=console, transient=True, disable=not console.is_terminal
    )


@contextmanager
def counting(scan: Scan, what: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, if that is a terminal: images done, rate and time left.

    The total is counted beside the work, by a scan of its own, so that nothing waits for it.
    """
    from rich import progress

    with _bar(progress.MofNCompleteColumn(), progress.TextColumn("{task.fields[rate]}")) as bar:
        task = bar.add_task(what, total=None, rate="")
        if not bar.disable:
            threading.Thread(
                target=lambda: bar.update(task, total=scan.count()), daemon=True
            ).start()

        def advance(count: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=count, rate=f"{speed:,.0f}/s" if speed else "")
            if bar.tasks[0].finished:
                # What follows the last image: a sweep, and the index of a large collection, which takes its time.
                bar.update(task, description="Finishing")

        yield advance
