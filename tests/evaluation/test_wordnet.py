"""WordNet from Debian's packages: what NLTK reads, or one clear line."""

import pytest
from mullama.evaluation.wordnet import FILES, LEXICOGRAPHER_FILES, build_wordnet


def test_nltk_reads_it(wordnet):
    from nltk.corpus.reader import WordNetCorpusReader

    reader = WordNetCorpusReader(str(wordnet / "corpora" / "wordnet"), None)
    names = {lemma for synset in reader.synsets("quick") for lemma in synset.lemma_names()}
    assert {"fast", "speedy"} <= names
    assert reader.synsets("music")[0].lexname() == "noun.communication"
    assert reader.synsets("sing", pos="v")[0].lexname() == "verb.creation"
    assert len(LEXICOGRAPHER_FILES) == 45
    before = (wordnet / "corpora" / "wordnet" / "data.noun").stat().st_mtime_ns
    build_wordnet(wordnet)  # is there already
    assert (wordnet / "corpora" / "wordnet" / "data.noun").stat().st_mtime_ns == before


def test_missing_packages_are_named(tmp_path):
    for name in FILES[1:]:
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=r"lacks adj.exc: on Debian, apt install wordnet-base wordnet-sense"):
        build_wordnet(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()
