"""The sentences of a memo hold in every language what one of them holds."""

from __future__ import annotations

from string import Formatter

import pytest

from optimizer.memo.conclusion import SENTENCES


@pytest.mark.parametrize("language", SENTENCES)
def test_every_language_has_every_sentence_with_no_unknown_fields(language: str) -> None:
    english, said = SENTENCES["en"], SENTENCES[language]  # type: ignore[index]
    assert said.keys() == english.keys()
    for name, sentence in said.items():
        used, known = (
            {field.lower() for _, field, _, _ in Formatter().parse(s) if field} for s in (sentence, english[name])
        )
        assert used <= known, name
