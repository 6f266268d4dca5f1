"""The decision memo: a comparison as sections, conclusion first, and as text in English or Chinese."""

from __future__ import annotations

from typing import Literal

from optimizer.comparison.comparison import NOT_MODELLED, Comparison
from optimizer.memo.by_hand import bridges, thumb_lines, thumbs
from optimizer.memo.choices import bill, choices, clusters
from optimizer.memo.conclusion import conclusion
from optimizer.memo.doubts import flips, moves, unmoved
from optimizer.memo.grounds import assumptions, regions
from optimizer.memo.markdown import markdown
from optimizer.memo.page import page
from optimizer.memo.parts import Section, Table
from optimizer.memo.wording import Language, name, quoted, say


def memo(comparison: Comparison, *, form: Literal["html", "md"], language: Language = "en") -> str:
    """The memo as text; the HTML needs no network and no script."""
    sections = memo_sections(comparison, language)
    title = f"{say('Decision memo', language)}: {comparison.now.job.model.name}"
    return page(title, sections, language) if form == "html" else markdown(title, sections)


def memo_sections(c: Comparison, language: Language = "en") -> list[Section]:
    """The memo's sections, conclusion first."""
    return [
        Section(say("Conclusion", language), conclusion(c, language), []),
        Section(say("Choices", language), [], [choices(c, language)]),
        Section(f"{say('Bill of each choice', language)} ({c.currency})", [], [bill(c, language)]),
        Section(say("Clusters", language), [], [clusters(c, language)]),
        Section(say("What would flip the decision", language), [], [flips(c, language)]),
        Section(say("What moves the cost", language), unmoved(c, language), [moves(c, language)]),
        Section(
            say("Sizing by hand, and why the plan differs", language),
            [say(line, language) for line in thumb_lines(c)],
            [thumbs(c, language), bridges(c, language)],
        ),
        Section(say("Energy and carbon by region", language), [], [regions(c, language)]),
        Section(
            say("Risks", language),
            [f"{name(one, language)}: {quoted(risk, language)}" for one in c.ranking for risk in c.risks(one)],
            [],
        ),
        Section(
            say("Not considered, and why", language),
            [],
            [
                Table(
                    [say("what", language), say("reason", language)],
                    [[say(one.what, language), quoted(one.reason, language)] for one in c.refused],
                )
            ],
        ),
        Section(
            say("Assumptions", language),
            [quoted(said, language) for said in c.now.job.assumptions],
            [assumptions(c, language)],
        ),
        Section(say("Not modelled", language), [say(said, language) for said in NOT_MODELLED], []),
    ]
